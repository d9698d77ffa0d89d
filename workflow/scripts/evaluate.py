"""Evaluate the final model of a finished run, unless its training job has done so."""

import argparse
import json
from pathlib import Path

from softmax_rewards.common import devices
from softmax_rewards.common.terminal import log
from softmax_rewards.training import final_evaluation, state_file, timing

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--record", type=Path, required=True, help="run.json of the run; results lie beside it")
parser.add_argument("--data", type=Path, required=True, help="manifest of the task's data")
arguments = parser.parse_args()

out, data = arguments.record.parent, arguments.data.parent
record = json.loads(arguments.record.read_text(encoding="utf-8"))
run = record["config"]
log("evaluate", f"{run['ablation']} seed-{run['seed']}")
with state_file.evaluating(out, record):
    if not final_evaluation.take_over(out):
        devices.lease(run["training"]["device"])
        from softmax_rewards.training import evaluate  # torch must not be imported before the lease

        with timing.measured(out, "final_evaluation_s"):
            evaluate.final(out, data)
