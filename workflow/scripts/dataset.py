"""Make a task's puzzles."""

import argparse
import json
from pathlib import Path

from softmax_rewards.common import hub
from softmax_rewards.data import dataset

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--task", type=json.loads, required=True, help="name and options, as JSON")
parser.add_argument("--public", type=Path, required=True, help="folder for the task's public data, fetched if missing")
parser.add_argument("--manifest", type=Path, required=True, help="written last; the tables lie beside it")
arguments = parser.parse_args()

print(f"[dataset] {arguments.task['name']}", flush=True)
dataset.write(arguments.task, arguments.manifest.parent, arguments.public, hub.fetch)
