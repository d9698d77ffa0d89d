"""Make or fetch the base model that every run starts from."""

import argparse
import json
from pathlib import Path

from softmax_rewards.common import devices
from softmax_rewards.training import base_model

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", type=json.loads, required=True, help="source and all its options, as JSON")
parser.add_argument("--task", type=json.loads, required=True, help="name and options, as JSON")
parser.add_argument("--data", type=Path, required=True, help="manifest of the task's data")
parser.add_argument("--manifest", type=Path, required=True, help="written last; the model lies beside it")
arguments = parser.parse_args()

print(f"[base model] {arguments.model['source']}", flush=True)
if arguments.model["warm_start"]["steps"]:
    devices.lease(arguments.model["warm_start"]["device"])  # before torch is imported
base_model.build(arguments.model, arguments.task, arguments.data.parent, arguments.manifest.parent)
