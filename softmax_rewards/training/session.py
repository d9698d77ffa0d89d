"""A session of the workflow: its checks and files before the first job, and its messages when it cannot continue.

The rules pass plain values; this module does not know Snakemake's objects.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

from softmax_rewards.common import provenance
from softmax_rewards.config import cost, processor_cost
from softmax_rewards.config.experiments import Experiment
from softmax_rewards.config.run import ConfigError, Run
from softmax_rewards.training import holders, plan, samplers, trial


def check_gpus(experiments: Iterable[Experiment], gpus: int | None) -> None:
    """Raise ConfigError if a run needs more than `gpus` GPUs; None means that there is no limit."""
    # Snakemake lowers each job's request to the limit. With a limit of 0 it would start all jobs at once.
    for experiment in experiments:
        needed = max((run.training.gpus for run in experiment.runs() if run.training.device != "cpu"), default=0)
        if gpus is not None and gpus < needed:
            raise ConfigError(
                f"--resources gpu={gpus}: a run of {experiment.name} may use {needed} GPU{'s' * (needed > 1)}; "
                f"allowed: a number from {needed} on, or no such option, or training.device: cpu in the experiment"
            )


def check_samplers(runs: Iterable[Run]) -> None:
    """Raise ConfigError if one of the `runs` to train names a sampler that is not installed."""
    for run in runs:
        samplers.check(run.training)


def begin(results: Path, inputs: Iterable[str]) -> None:
    """Before the first job: reserve `results` for this process, and let SIGTERM also end its jobs.

    `inputs` are the files that the jobs read. Raises RuntimeError, one line, while others are at work in `results`.
    """
    holders.hold(results)
    # On SIGTERM Snakemake only waits for its jobs, which may take hours. So the jobs get the signal as well.
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        holders.stop(results)
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    date_future_inputs(inputs)


def date_future_inputs(inputs: Iterable[str]) -> None:
    """Set the time of files from the future to now."""
    # Snakemake would take all that is made from them for out of date, and discard it.
    now = time.time()
    for file in set(inputs):
        if os.path.exists(file) and os.path.getmtime(file) > now:
            os.utime(file)


def write_plan(results: Path, experiment: Experiment, runs: Iterable[Run], at_once: int) -> None:
    """Write the plan of an experiment, which the progress lines and the status page need.

    Args:
        results: the folder of all results.
        experiment: the experiment.
        runs: its runs that will be trained, without the archived ones.
        at_once: how many runs are trained at the same time.
    """
    folder = results / experiment.name
    codes = {f"runs/{run.name}": provenance.run_fingerprint(run.to_dict()) for run in runs}
    plan.write(folder, codes, at_once, experiment.to_json())


def explain_lock(results: Path, locks: Path) -> None:
    """If Snakemake's folder `locks` has a lock, print who is at work in `results`, or that nobody is."""
    # Snakemake will refuse to start because of that lock. It does not know whether its owner still exists.
    if any(locks.glob("*.lock")):
        print(f"[workflow] {holders.explanation(results)}", file=sys.stderr)


def explain_full_disk(results: Path) -> None:
    """Print one line if the disk is full."""
    # The failed jobs could not say so, because there is no room for their logs either.
    if shutil.disk_usage(results).free < 2**20:
        text = "the disk is full; make room and start again: what is finished stays"
        print(f"[workflow] {results}: {text}", file=sys.stderr)


def print_estimates(experiments: Iterable[Experiment], cores: int, trials: Path) -> None:
    """Say what experiments cost on a GPU and on this machine's processor.

    `cores` is how many cores the workflow may use. The folder `trials` keeps what was measured.
    """
    for experiment in experiments:
        lines = [cost.estimate(experiment)]
        if processor_cost.wanted(experiment):
            lines.append(_processor_estimate(experiment, cores, trials))
        for line in filter(None, lines):
            print(f"[estimate] {line}", file=sys.stderr)


def _processor_estimate(experiment: Experiment, cores: int, trials: Path) -> str:
    try:
        speed = trial.measure(experiment.run(experiment.baseline, experiment.runs()[0].seed), trials)
    except (RuntimeError, ValueError) as error:  # the trial failed, or the file of an earlier one is damaged
        return f"{experiment.name}: no estimate for this machine's processor, {error}"
    return processor_cost.estimate(experiment, speed, cores)
