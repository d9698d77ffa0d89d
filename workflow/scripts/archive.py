"""Add an experiment's finished runs to its archive: `archive.py results/<experiment> results/archive/<experiment>`."""

import argparse
import sys
from pathlib import Path

from softmax_rewards.verdicts import archive

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("results", type=Path, help="results/<experiment>")
parser.add_argument("archive", type=Path, help="folder of the archive; runs that it already has stay as they are")
arguments = parser.parse_args()

try:
    for name in archive.keep(arguments.results, arguments.archive):
        print(f"[archive] {name}")
except ValueError as error:
    sys.exit(str(error))
