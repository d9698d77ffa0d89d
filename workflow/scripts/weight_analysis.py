"""The weights of every scheme for canonical and simulated groups of rewards."""

import argparse
import json
from pathlib import Path

from softmax_rewards.weighting.study import analysis

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--settings", type=json.loads, required=True, help="arguments of analysis.write, as JSON")
parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
arguments = parser.parse_args()

print(f"[weight analysis] {arguments.settings['samples']:,} groups per population", flush=True)
analysis.write(arguments.out, **arguments.settings)
