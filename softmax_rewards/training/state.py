"""State: what a run's `state.json` says of it. Training and evaluation write the file; `status` reads it.

The file appears whole or not at all. A process that is killed cannot write that it ended, so the file names the process
and its host, and a reader on that host looks whether the process still exists.
"""

import math
import os
import socket
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self, get_type_hints

from softmax_rewards.common.files import read_json, write_json
from softmax_rewards.common.terminal import clock

FILE = "state.json"
STATES = ("running", "failed", "interrupted", "waiting", "finished")
EVALUATIONS = (None, "running", "failed", "done")


@dataclass(frozen=True)
class RunState:
    """What is known of one run; None where something is not known."""

    ablation: str
    seed: int
    state: str = "waiting"
    """One of `STATES`. No file says "waiting": a run that has not begun has none."""
    evaluation: str | None = None
    """One of `EVALUATIONS`: what became of the evaluation of the final model."""
    step: int = 0
    """Updates done."""
    steps: int | None = None
    """Updates in all."""
    saved: int = 0
    """Updates done at the newest checkpoint, 0 without one."""
    success: float | None = None
    """Fraction of held-out puzzles answered right at the last evaluation while training."""
    seconds_per_step: float | None = None
    """Mean of the last steps, without evaluations."""
    seconds_left: float | None = None
    """Seconds until a running run is trained, without evaluations, counted from `written`."""
    device: str | None = None
    """The name of the device's model, or "cpu"."""
    gpus: str | None = None
    """The devices that the run may see, as CUDA_VISIBLE_DEVICES names them."""
    fingerprint: str | None = None
    """Settings and code of the run, as the workflow's plan has it."""
    note: str = ""
    """What went wrong, or what else a reader should know: one line."""
    host: str = ""
    process: int = 0
    """Number of the process that trains or evaluates, or did so last."""
    started: int | None = None
    """When that process began, as `start_of` tells it."""
    written: float = 0.0
    """Time of writing, in seconds since 1970."""

    def write(self, folder: Path) -> None:
        """Write `folder/state.json` in the name of this process; raises NotWritten."""
        writer = {"host": socket.gethostname(), "process": os.getpid(), "started": start_of(os.getpid())}
        write_json(asdict(self) | writer | {"written": time.time()}, folder / FILE)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """What `folder/state.json` says; None if it is missing or not such a file."""
        try:
            values = read_json(folder / FILE)
        except ValueError:
            return None
        known = {key: value for key, value in values.items() if key in _HINTS}
        if not {"ablation", "seed"} <= known.keys() or not all(_fits(key, value) for key, value in known.items()):
            return None
        return cls(**known) if known.get("state") in STATES and known.get("evaluation") in EVALUATIONS else None

    @property
    def at_work(self) -> bool:
        """Whether a process trains or evaluates the run, by the file."""
        return "running" in (self.state, self.evaluation)

    @property
    def here(self) -> bool:
        """Whether the run's process belongs to this machine."""
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether the run's process still exists; one on another machine is assumed to exist."""
        return not self.here or exists(self.process, self.started)

    def seen(self, fingerprint: str | None = None) -> Self:
        """The state as a reader should know it now, with a note in words.

        Args:
            fingerprint: of the planned run. The state of another run does not count, unless that run is at work.
        """
        state = self
        if self.at_work and not self.alive:  # it was killed
            state = replace(self, state="interrupted") if self.state == "running" else replace(self, evaluation=None)
        if not state.at_work and fingerprint not in (None, self.fingerprint):
            note = f"{state.state} with other code or settings"
            return replace(self, state="waiting", evaluation=None, step=0, success=None, seconds_left=None, note=note)
        return state._told()

    def _told(self) -> Self:
        # A clock that was set back, or a machine whose clock is wrong, must not make times absurd.
        age = max(time.time() - self.written, 0.0)
        process = f"process {self.process}" if self.here else f"on {self.host}, written {clock(age)} ago"
        if self.state == "running":
            left = None if self.seconds_left is None else max(self.seconds_left - age, 0.0)
            return replace(self, seconds_left=left, note=process)
        if self.state == "finished":
            if self.evaluation == "failed":
                return replace(self, state="failed", note=f"evaluation: {self.note}")
            notes = {None: "not evaluated yet", "running": f"being evaluated, {process}", "done": ""}
            return replace(self, note=notes[self.evaluation])
        resumption = f"goes on from step {self.saved}" if self.saved else "starts over: no checkpoint yet"
        note = f"{self.note} ({resumption})" if self.note else resumption
        return replace(self, step=self.saved, seconds_left=None, note=note)


_HINTS = get_type_hints(RunState)


def _fits(key: str, value: Any) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    # JSON may write 2.0 as 2.
    return isinstance(value, _HINTS[key]) or (type(value) is int and isinstance(0.0, _HINTS[key]))


def start_of(process: int) -> int | None:
    """When a process of this machine began, in clock ticks since the machine's start; None if it is unknown.

    A new process may get the number of an ended one. Their times of beginning tell them apart.
    """
    entry = proc_stat(process)
    return int(entry[19]) if entry else None


def exists(process: int, started: int | None) -> bool:
    """Whether the process that began at `started` still exists on this machine."""
    try:
        os.kill(process, 0)
    except PermissionError:  # somebody else's
        pass
    except (ProcessLookupError, OverflowError):
        return False
    entry = proc_stat(process)
    if entry is None:  # not Linux
        return process > 0
    # "Z": killed, and not yet waited for by the process that started it.
    return entry[0] != "Z" and started in (None, int(entry[19]))


def proc_stat(process: int) -> list[str] | None:
    """The fields of Linux's /proc/<process>/stat from the third on; None where there is none."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()  # "4711 (a name, which may have spaces) S 4242 …"
