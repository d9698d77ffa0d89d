"""Train one ablation with one seed."""

import argparse
import dataclasses
from pathlib import Path

from softmax_rewards.config.run import Run
from softmax_rewards.training import job

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--run", type=Run.from_json, required=True, help="the resolved run, as JSON")
parser.add_argument("--data", type=Path, required=True, help="manifest of the task's data")
parser.add_argument("--base", type=Path, required=True, help="manifest of the base model")
parser.add_argument("--plan", type=Path, required=True, help="the analysis plan; its sha256 goes into run.json")
parser.add_argument("--predictions", type=Path, required=True, help="the predictions, likewise; may be missing")
parser.add_argument("--gpus", type=int, default=1, help="number of GPUs for the run; without GPUs, of processes")
parser.add_argument("--record", type=Path, required=True, help="run.json, written last; all other files go beside it")
arguments = parser.parse_args()

training = dataclasses.replace(arguments.run.training, gpus=arguments.gpus)
run = dataclasses.replace(arguments.run, training=training)
folders = (arguments.data.parent, arguments.base.parent, arguments.record.parent)
job.train(run, *folders, arguments.plan, arguments.predictions)
