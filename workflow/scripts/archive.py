"""Keep the tables of an experiment's finished runs in the archive."""

import argparse
from pathlib import Path

from softmax_rewards.verdicts import archive

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("results", type=Path, help="results/<experiment>")
parser.add_argument("archive", type=Path, help="folder to keep them in, such as docs/report/data")
arguments = parser.parse_args()

for folder in archive.keep(arguments.results, arguments.archive):
    print(f"[archive] {folder}")
