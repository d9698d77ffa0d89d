"""Train one ablation with one seed."""

import argparse
import dataclasses
import os
import sys
from pathlib import Path

from softmax_rewards.common import devices, provenance
from softmax_rewards.config.run import Run
from softmax_rewards.training import final_evaluation, state_file

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
out, data = arguments.record.parent, arguments.data.parent
with state_file.starting(out, run):
    if "LOCAL_RANK" not in os.environ:  # torchrun sets it in the processes that it starts
        devices.lease(training.device, count=arguments.gpus)
        if arguments.gpus > 1:
            from softmax_rewards.training import launch

            sys.exit(launch.again(arguments.gpus))
    from softmax_rewards.training import evaluate, trainer  # torch must not be imported before the lease

    code = provenance.evaluation_fingerprint(run.to_dict())  # before training, because sources may change meanwhile
    plans = provenance.plan_hashes(arguments.plan, arguments.predictions)
    policy = trainer.train(run, data, arguments.base.parent, out, plans)
    if policy is not None:
        final_evaluation.leave(lambda folder: evaluate.final(out, data, folder, policy), out, code)
