"""Plan: which runs an experiment has, how many run at once, and how far they all are.

The workflow writes `results/<experiment>/plan.json` and `experiment.json` when it starts. They are no input of a job,
so that a new plan makes nothing run again.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from softmax_rewards.common.files import read_json, write_json, write_text
from softmax_rewards.common.terminal import clock
from softmax_rewards.training.state import RunState

PLAN = "plan.json"
EXPERIMENT = "experiment.json"

_RUN = re.compile(r"runs/([^/]+)/seed-([0-9]+)")  # as the plan names a run


def write(experiment: Path, fingerprints: Mapping[str, str], at_once: int, settings: str) -> None:
    """Write the plan of `results/<experiment>`.

    Args:
        experiment: the folder.
        fingerprints: run folder (relative to it) → the run's fingerprint.
        at_once: how many of them run side by side.
        settings: the resolved experiment, as JSON.
    """
    write_json({"runs": dict(fingerprints), "at_once": at_once}, experiment / PLAN)
    write_text(settings, experiment / EXPERIMENT)


def experiments(results: Path) -> list[Path]:
    """The folders `results/<experiment>` of all experiments that were started."""
    return sorted(folder for folder in results.glob("*") if (folder / PLAN).exists() or (folder / "runs").is_dir())


def runs(experiment: Path) -> dict[Path, str | None]:
    """Run folder → fingerprint, sorted by ablation and seed: the planned runs, or without a plan all that exist."""
    planned = _json(experiment / PLAN).get("runs")
    if planned is None:
        planned = dict.fromkeys(
            f"runs/{ablation}/{seed}"
            for ablation in _names(experiment / "runs")
            for seed in _names(experiment / "runs" / ablation)
        )
    matches = {match.groups(): code for name, code in planned.items() if (match := _RUN.fullmatch(name))}
    ordered = sorted(matches.items(), key=lambda item: (item[0][0], int(item[0][1])))
    return {experiment / f"runs/{ablation}/seed-{seed}": code for (ablation, seed), code in ordered}


def at_once(experiment: Path) -> int:
    """How many runs the workflow keeps going side by side."""
    return _json(experiment / PLAN).get("at_once", 1)


def is_empty(experiment: Path) -> bool:
    """Whether the workflow planned no run, because all of them are archived."""
    return _json(experiment / PLAN).get("runs") == {}


def states(experiment: Path, read: Callable[[Path], RunState | None] = RunState.read) -> list[RunState]:
    """The state of every run of `results/<experiment>`, as it is now; `read` gets what a run's folder says."""
    ablations = _json(experiment / EXPERIMENT).get("ablations", {})
    steps = {name: ablation["training"]["steps"] for name, ablation in ablations.items()}
    return [_state(folder, code, steps, read) for folder, code in runs(experiment).items()]


def _state(
    folder: Path, code: str | None, steps: Mapping[str, int], read: Callable[[Path], RunState | None]
) -> RunState:
    ablation, seed = folder.parent.name, int(folder.name.removeprefix("seed-"))
    state = read(folder)
    state = RunState(ablation, seed) if state is None else state.seen(code)
    # The file may be of other settings, with another number of steps.
    return replace(state, steps=steps.get(ablation)) if state.state == "waiting" else state


def time_left(runs: Sequence[RunState], at_once: int) -> float | None:
    """Seconds until all runs are trained, without evaluations; None if all are trained, or if no pace is known yet.

    A run that has not begun is assumed to be as fast as the others on average. Failed runs are not trained again.
    """
    paces = [run.seconds_per_step for run in runs if run.seconds_per_step is not None]
    pending = [run for run in runs if run.state in ("running", "interrupted", "waiting")]
    if not pending or not paces or any(run.steps is None for run in pending):
        return None
    usual = sum(paces) / len(paces)
    each = [
        (run.seconds_per_step or usual) * (run.steps - run.step) if run.seconds_left is None else run.seconds_left
        for run in pending
        if run.steps
    ]
    return max(sum(each) / at_once, *each)


def progress(out: Path, run: RunState) -> str:
    """The line of a run at an evaluation: runs done of all, step, success, time left.

    Args:
        out: the run's folder, `results/<experiment>/runs/<ablation>/seed-<n>`.
        run: its state. Outside the workflow there is no plan, and it counts as the only run.
    """
    experiment = out.absolute().parents[2]
    others = states(experiment) if (experiment / PLAN).exists() else [run]
    done = min(sum(other.state == "finished" for other in others), len(others) - 1)
    line = f"run {done + 1} of {len(others)}  {out.parent.name} {out.name}  step {run.step}/{run.steps}"
    line += f"  success {100 * (run.success or 0.0):.1f} %"
    if run.seconds_left is not None:
        line += f"  left {clock(run.seconds_left)}"
        everything = time_left(others, at_once(experiment))
        line += "" if everything is None else f", all runs {clock(everything)}"
    return line


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _json(file: Path) -> dict[str, Any]:
    try:
        return read_json(file)
    except ValueError:
        return {}
