"""Snapshot: what the status page shows of an experiment at one moment, read from files that others are writing."""

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from softmax_rewards.common.terminal import tail
from softmax_rewards.training import plan
from softmax_rewards.training.state import FILE, RunState


@dataclass(frozen=True)
class Snapshot:
    """The runs of one experiment."""

    name: str
    runs: Sequence[RunState]
    at_once: int = 1
    """How many runs are trained side by side."""
    courses: Mapping[tuple[str, int], Sequence[float]] = field(default_factory=dict)
    """(ablation, seed) of each run at work → its success at every evaluation so far."""
    remark: str = "no runs yet"
    """What is said instead if there are no runs."""


class Reader:
    """Reads snapshots. A `state.json` that has not changed since the last snapshot is not read again."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, ...], RunState | None]] = {}

    def read(self, experiment: Path) -> Snapshot:
        """The snapshot of `results/<experiment>`; a file that is missing or incomplete counts as not there."""
        runs = plan.states(experiment, self._state)
        courses = {(run.ablation, run.seed): course(experiment, run) for run in runs if run.at_work}
        return Snapshot(experiment.name, runs, plan.at_once(experiment), courses, _remark(experiment))

    def _state(self, folder: Path) -> RunState | None:
        try:
            facts = os.stat(folder / FILE)
        except OSError:
            return None
        # Taken before the file is read: if it is replaced in between, it is read once more next time.
        mark = (facts.st_mtime_ns, facts.st_ino, facts.st_size)
        if folder not in self._known or self._known[folder][0] != mark:
            self._known[folder] = mark, RunState.read(folder)
        state = self._known[folder][1]
        # A process that was killed could not record why. What it had printed may tell.
        if state and not state.note and _stopped(state) and (line := last_line(folder)):
            return replace(state, note=f"log: {line}")
        return state


def _stopped(state: RunState) -> bool:
    return state.state in ("failed", "interrupted") or (state.state == "running" and not state.alive)


def last_line(folder: Path) -> str:
    """The last line in the training log of the run in `folder`; "" if the log is missing or empty."""
    log = folder.parents[2] / "logs" / "train" / f"{folder.parent.name}-{folder.name}.log"
    try:
        lines = [line.strip() for line in tail(log).split("\n") if line.strip()]
    except OSError:
        return ""
    return lines[-1] if lines else ""


def course(experiment: Path, run: RunState) -> list[float]:
    """The success of a run at each evaluation during training, the latest last."""
    folder = experiment / "runs" / run.ablation / f"seed-{run.seed}"
    rates = _logged(folder / "state" / "evaluations.jsonl") or _tabulated(folder / "evaluations.csv")
    # The log is flushed at checkpoints only, so the newest evaluation may not be in it yet.
    if run.success is not None and rates[-1:] != [run.success]:
        rates.append(run.success)
    return rates


def _logged(file: Path) -> list[float]:
    rows = []
    for line in _text(file).split("\n"):
        with suppress(ValueError):  # the last line may be half-written
            rows.append(json.loads(line))
    return _rates(row for row in rows if isinstance(row, dict))


def _tabulated(file: Path) -> list[float]:
    return _rates(csv.DictReader(_text(file).split("\n")))


def _rates(rows: Iterable[Mapping[str, Any]]) -> list[float]:
    rates = []
    for row in rows:
        with suppress(KeyError, TypeError, ValueError):
            rates.append(float(row["success"]))
    return [rate for rate in rates if 0 <= rate <= 1]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return ""


def _remark(experiment: Path) -> str:
    if (experiment / "runs.parquet").exists():
        return "an archive of finished runs; nothing is trained here"
    # The plan leaves archived runs out.
    return "nothing to train: all runs are archived" if plan.is_empty(experiment) else Snapshot.remark
