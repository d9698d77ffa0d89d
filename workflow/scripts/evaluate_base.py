"""Evaluate a base model, once for all runs that start from it."""

import argparse
import json
from pathlib import Path

from softmax_rewards.common import devices

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--settings", type=json.loads, required=True, help="settings of the evaluation, as JSON")
parser.add_argument("--data", type=Path, required=True, help="manifest of the task's data")
parser.add_argument("--base", type=Path, required=True, help="manifest of the base model")
parser.add_argument("--threads", type=int, default=1, help="processor threads")
parser.add_argument("--summary", type=Path, required=True, help="written last; the table of puzzles lies beside it")
arguments = parser.parse_args()

print(f"[base evaluation] {arguments.summary.parent.name}", flush=True)
devices.lease(arguments.settings["device"])
from softmax_rewards.training import base_evaluation  # noqa: E402  torch must not be imported before the lease

folders = (arguments.data.parent, arguments.base.parent, arguments.summary.parent)
base_evaluation.write(arguments.settings, *folders, arguments.threads)
