"""The state of runs, read from the files that they write; nothing is locked, changed or waited for.

The files may be half written, or vanish between two looks: what cannot be read counts as not there yet. Whether a
run is going on is told by the lock of its folder, which the kernel drops when the process ends, however it ends. To try
that lock would make a trainer that starts at this moment fail, so it is looked up in Linux's table of locks. That table
is of this machine: a run on another one counts as interrupted.
"""

import csv
import json
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softmax_rewards.common.files import read_json
from softmax_rewards.common.terminal import tail
from softmax_rewards.training.progress import PLAN

STATES = ("running", "failed", "interrupted", "waiting", "finished")
EXPERIMENT = "experiment.json"
RECENT = 20  # steps that the pace of a run is taken from

_RUN = re.compile(r"runs/([^/]+)/seed-([0-9]+)")  # as `progress.write_plan` names a run


@dataclass(frozen=True)
class RunState:
    """What is known of one run; None where nothing is."""

    ablation: str
    seed: int
    state: str
    """One of `STATES`."""
    step: int = 0
    """Updates done: of a running run those written so far, of an interrupted one those of its checkpoint."""
    steps: int | None = None
    """Updates in all."""
    success: float | None = None
    """Fraction of held-out puzzles answered right at the last evaluation while training."""
    pace: float | None = None
    """Seconds a step, evaluations not counted."""
    left: float | None = None
    """Seconds until a running run is trained, evaluations not counted."""
    device: str | None = None
    note: str = ""


class Locks:
    """Who holds which file lock on this machine, at the moment of making this.

    `gpus` are the lock files of the devices by name, as `devices.devices()` gives them.
    """

    def __init__(self, gpus: Mapping[str, Path]) -> None:
        self.gpus = gpus
        self._held: set[tuple[int, int]] | None = None  # inode and process
        try:
            lines = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
        except OSError:  # not Linux
            return
        entries = (line.split() for line in lines)
        # "1: FLOCK ADVISORY WRITE 4711 fe:00:131 0 EOF"; a process that waits has "->" behind the number.
        self._held = {(int(one[5].split(":")[-1]), int(one[4])) for one in entries if one[1] == "FLOCK"}

    def holder(self, lock: Path) -> int | None:
        """The process that holds `lock` and has written its number there, before all else."""
        try:
            process, inode = int(lock.read_text(encoding="utf-8").split()[0]), lock.stat().st_ino
        except (OSError, ValueError, IndexError):
            return None
        if self._held is None:
            return process if _lives(process) else None
        return process if (inode, process) in self._held else None

    def device(self, process: int) -> str | None:
        """The GPUs that the process has leased, or who started it as one of several; "cpu" where there is none."""
        if not self.gpus:
            return "cpu"
        held = self._held or set()
        owners = (process, parent(process))
        locks = {name: lock.stat().st_ino for name, lock in self.gpus.items() if lock.exists()}
        return ",".join(name for name, inode in locks.items() if any((inode, own) in held for own in owners)) or None


def parent(process: int) -> int | None:
    """The process that started another one of this machine; None if that has ended."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(status.rpartition(")")[2].split()[1])  # "4711 (python) S 4242 …": state, then parent


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:  # somebody else's
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def experiments(results: Path) -> list[Path]:
    """The folders of the experiments that were ever started, `results/<experiment>`."""
    return sorted(folder for folder in results.glob("*") if (folder / PLAN).exists() or (folder / "runs").is_dir())


def runs(experiment: Path) -> dict[Path, str | None]:
    """Run folder → fingerprint, by ablation and seed: those of the plan, or without one all that exist."""
    planned = _json(experiment / PLAN).get("runs")
    if planned is None:
        planned = dict.fromkeys(
            f"runs/{ablation}/{seed}"
            for ablation in _names(experiment / "runs")
            for seed in _names(experiment / "runs" / ablation)
        )
    found = {match.groups(): code for name, code in planned.items() if (match := _RUN.fullmatch(name))}
    ordered = sorted(found.items(), key=lambda item: (item[0][0], int(item[0][1])))
    return {experiment / f"runs/{ablation}/seed-{seed}": code for (ablation, seed), code in ordered}


def at_once(experiment: Path) -> int:
    """How many runs the workflow keeps going side by side."""
    return _json(experiment / PLAN).get("at_once", 1)


def read(experiment: Path, locks: Locks) -> list[RunState]:
    """The state of every run of `results/<experiment>`."""
    ablations = _json(experiment / EXPERIMENT).get("ablations", {})
    steps = {name: ablation["training"]["steps"] for name, ablation in ablations.items()}
    return [_state(experiment, folder, code, steps, locks) for folder, code in runs(experiment).items()]


def _state(experiment: Path, folder: Path, code: str | None, steps: Mapping[str, int], locks: Locks) -> RunState:
    ablation, seed = folder.parent.name, int(folder.name.removeprefix("seed-"))
    log = f"{ablation}-seed-{seed}.log"
    curve, timing = rows(folder, "evaluations"), rows(folder, "timing")
    seconds = [row["seconds"] for row in timing[-RECENT:] if "seconds" in row]
    facts: dict[str, Any] = {
        "steps": steps.get(ablation),
        "success": curve[-1].get("success") if curve else None,
        "pace": sum(seconds) / len(seconds) if seconds else None,
    }
    record = _json(folder / "run.json")
    saved = _checkpoint(folder / "state")
    process = locks.holder(folder / ".lock")
    failure = _failure(experiment / "logs/train" / log)

    if process is not None:
        step = max(int(timing[-1].get("step", 0)) if timing else 0, saved)
        facts |= {"left": _left(folder, facts["steps"], step, facts["pace"]), "device": locks.device(process)}
        return RunState(ablation, seed, "running", step, **facts, note=f"process {process}")
    if record and code in (None, record.get("fingerprint")):
        facts |= {"steps": record["config"]["training"]["steps"], "device": record.get("device")}
        failure = _failure(experiment / "logs/evaluate" / log)
        if (folder / "evaluation.json").exists():
            return RunState(ablation, seed, "finished", facts["steps"], **facts)
        if failure:
            return RunState(ablation, seed, "failed", facts["steps"], **facts, note=f"evaluation: {failure}")
        return RunState(ablation, seed, "finished", facts["steps"], **facts, note="not evaluated yet")
    if failure:
        more = f" (goes on from step {saved})" if saved else ""
        return RunState(ablation, seed, "failed", saved, **facts, note=f"{failure}{more}")
    if record:
        return RunState(
            ablation, seed, "waiting", steps=steps.get(ablation), note="finished with other code or settings"
        )
    if (folder / "state").is_dir():
        return RunState(ablation, seed, "interrupted", saved, **facts, note=_resumption(folder / "state", saved, code))
    return RunState(ablation, seed, "waiting", steps=steps.get(ablation))


def _checkpoint(state: Path) -> int:
    """Updates in the newest checkpoint, 0 without one."""
    return max(
        (int(name.removeprefix("checkpoint-")) for name in _names(state) if name[:11] == "checkpoint-"), default=0
    )


def _resumption(state: Path, saved: int, code: str | None) -> str:
    if not saved:
        return "starts anew: no checkpoint yet"
    identity = _json(state / f"checkpoint-{saved:08d}" / "state.json").get("identity", "")
    if code is not None and identity.split(" ")[0] != code:
        return "starts anew: its checkpoint is of other code or settings"
    return f"resumable from step {saved}"


def _left(folder: Path, steps: int | None, step: int, pace: float | None) -> float | None:
    if steps is None or pace is None:
        return None
    try:
        since = time.time() - (folder / "state/timing.jsonl").stat().st_mtime  # rows are written in blocks
    except OSError:
        since = 0.0
    return max(pace * (steps - step) - max(since, 0.0), 0.0)  # a clock set back makes it negative


def _failure(log: Path) -> str | None:
    """The last line of a job's standard error, None if that tells no failure: nothing, warnings, Control-C."""
    try:
        text = tail(log)
    except OSError:
        return None
    said = [line for line in text.split("\n") if line.strip() and not line[0].isspace() and "Warning:" not in line]
    if not said or said[-1] == "KeyboardInterrupt":
        return None
    return said[-1]


def rows(folder: Path, table: str) -> list[dict[str, float]]:
    """The rows of a run's table that are whole, their finite numbers: the finished table, else the one that grows."""
    finished = (folder / "run.json").exists()
    file = folder / f"{table}.csv" if finished else folder / "state" / f"{table}.jsonl"
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = text.splitlines()[: None if text.endswith("\n") else -1]
    read = csv.DictReader(lines) if finished else _objects(lines)
    return [{key: number for key, value in row.items() if (number := _number(value)) is not None} for row in read]


def _objects(lines: list[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # a block that is not all on disk yet
            return
        if isinstance(row, dict):
            yield row


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


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
