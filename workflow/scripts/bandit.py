"""The bandit: exact and sampled gradients of every scheme, simulated training, and the temperature rule."""

import argparse
import json
from pathlib import Path

from softmax_rewards.weighting.study import bandit_training

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--settings", type=json.loads, required=True, help="arguments of bandit_training.write, as JSON")
parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
arguments = parser.parse_args()

print(f"[bandit] groups of {arguments.settings['group_size']}", flush=True)
bandit_training.write(arguments.out, **arguments.settings)
