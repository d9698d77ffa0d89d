"""Processes forked from one that has imported PyTorch and Snakemake, so that starting one takes no time."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

from softmax_rewards.config.run import Run

TRAIN = Path(__file__).parents[1] / "workflow/scripts/train.py"
PLAN = Path(__file__).parents[1] / "docs/analysis-plan.md"
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["snakemake.cli", "softmax_rewards.training.trainer"])


def start(function: Callable[..., None], *arguments: object, stdout: Path, stderr: Path) -> BaseProcess:
    """Start a function of a module in a process of its own."""
    process = CONTEXT.Process(target=_redirected, args=(stdout, stderr, function, *arguments))
    process.start()
    return process


def _redirected(stdout: Path, stderr: Path, function: Callable[..., None], *arguments: object) -> None:
    for stream, path in ((sys.stdout, stdout), (sys.stderr, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
    function(*arguments)


def start_training(run: Run, data: Path, base: Path, out: Path, output: Path = Path(os.devnull)) -> BaseProcess:
    """Start the script that trains a run, with its results in `out`; what it prints is written to `output`."""
    inputs = ["--data", data / "manifest.json", "--base", base / "manifest.json", "--record", out / "run.json"]
    inputs += ["--plan", PLAN, "--predictions", PLAN.with_name("predictions.json")]
    return start(_script, TRAIN, ["--run", run.to_json(), *map(str, inputs)], stdout=output, stderr=output)


def _script(path: Path, arguments: list[str]) -> None:
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name="__main__")


def snakemake(folder: Path, arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `snakemake` in a copy of the repository, and wait for its end."""
    with tempfile.TemporaryDirectory() as temporary:
        stdout, stderr = Path(temporary, "stdout"), Path(temporary, "stderr")
        process = start(_snakemake, folder, arguments, environment, stdout=stdout, stderr=stderr)
        process.join()
        return subprocess.CompletedProcess(arguments, process.exitcode or 0, stdout.read_text(), stderr.read_text())


def _snakemake(folder: Path, arguments: list[str], environment: Mapping[str, str]) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    # The copy's own library is to be imported.
    for name in [name for name in sys.modules if name.split(".")[0] == "softmax_rewards"]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    sys.argv = ["snakemake", *arguments]
    from snakemake.cli import main

    main()
