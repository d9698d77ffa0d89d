"""Judge the final model of a finished run."""

import argparse
import json
from pathlib import Path

from softmax_rewards.common import devices

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--record", type=Path, required=True, help="run.json of the run; results lie beside it")
parser.add_argument("--data", type=Path, required=True, help="manifest of the task's data")
arguments = parser.parse_args()

run = json.loads(arguments.record.read_text(encoding="utf-8"))["config"]
print(f"[evaluate] {run['ablation']} seed-{run['seed']}", flush=True)
devices.lease(run["training"]["device"])
from softmax_rewards.training import evaluate  # noqa: E402 -- torch must not be imported before the lease

evaluate.final(arguments.record.parent, arguments.data.parent)
