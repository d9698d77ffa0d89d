"""Measure the signal-to-noise of a batch's gradient for every scheme, on the base model."""

import argparse
from pathlib import Path

from softmax_rewards.common import devices
from softmax_rewards.config.run import Run

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--run", type=Run.from_json, required=True, help="a resolved run of the baseline, as JSON")
parser.add_argument("--batches", type=int, required=True, help="number of batches")
parser.add_argument("--data", type=Path, required=True, help="manifest of the task's data")
parser.add_argument("--base", type=Path, required=True, help="manifest of the base model")
parser.add_argument("--table", type=Path, required=True, help="table of the schemes; base.json lies beside it")
arguments = parser.parse_args()

print(f"[signal] {arguments.batches} batches", flush=True)
devices.lease(arguments.run.training.device)
from softmax_rewards.training import signal_study  # noqa: E402  torch must not be imported before the lease

folders = (arguments.data.parent, arguments.base.parent, arguments.table.parent)
signal_study.write(arguments.run, arguments.batches, *folders)
