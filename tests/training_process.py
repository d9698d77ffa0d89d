"""Training in processes that can be killed.

They run `workflow/scripts/train.py`, forked from a process that has imported PyTorch: starting one takes no time.
"""

import multiprocessing
import os
import runpy
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

from softmax_rewards.config.run import Run

SCRIPT = Path(__file__).parents[1] / "workflow/scripts/train.py"
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["softmax_rewards.training.trainer", "torch._dynamo"])  # the optimizer imports the latter


def start(run: Run, data: Path, base: Path, out: Path, output: Path = Path(os.devnull)) -> BaseProcess:
    """Start a run's training in `out`; what it prints is written to `output`."""
    inputs = ["--data", data / "manifest.json", "--base", base / "manifest.json", "--record", out / "run.json"]
    process = FORKS.Process(target=train, args=(["--run", run.to_json(), *map(str, inputs)], output))
    process.start()
    return process


def train(arguments: list[str], output: Path) -> None:
    """Run the script in this process."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(file, stream.fileno())
    sys.argv = [str(SCRIPT), *arguments]
    runpy.run_path(str(SCRIPT), run_name="__main__")
