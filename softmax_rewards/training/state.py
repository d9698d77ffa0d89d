"""State: how far a run is, in its `state.json`. Training and evaluation write the file, `status` reads it.

A process that is killed cannot write that it ended. So the file names the process and its host, and a reader on that
host checks whether the process still exists.
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
    """What is known about one run; None stands for unknown."""

    ablation: str
    seed: int
    state: str = "waiting"
    """One of `STATES`. A run that has not begun is "waiting", and has no file."""
    evaluation: str | None = None
    """One of `EVALUATIONS`: how far the evaluation of the final model is."""
    step: int = 0
    """Updates done."""
    steps: int | None = None
    """Updates in all."""
    saved: int = 0
    """Updates done at the newest checkpoint, 0 without one."""
    success: float | None = None
    """Fraction of held-out puzzles that were answered right at the last evaluation during training."""
    seconds_per_step: float | None = None
    """Mean over the last steps, without evaluations."""
    seconds_left: float | None = None
    """Seconds until a running run is trained, without evaluations, counted from `written`."""
    device: str | None = None
    """The name of the device's model, or "cpu"."""
    gpus: str | None = None
    """The GPUs of the run, as CUDA_VISIBLE_DEVICES names them."""
    fingerprint: str | None = None
    """`provenance.run_fingerprint` of the run, as in the workflow's plan."""
    note: str = ""
    """What went wrong, or what else a reader should know, in one line."""
    host: str = ""
    process: int = 0
    """Number of the process that trains or evaluates, or did so last."""
    started: int | None = None
    """When that process began, see `start_of`."""
    written: float = 0.0
    """Time of writing, in seconds since 1970."""

    def write(self, folder: Path) -> None:
        """Write `folder/state.json` with this process as its writer; raises NotWritten."""
        writer = {"host": socket.gethostname(), "process": os.getpid(), "started": start_of(os.getpid())}
        write_json(asdict(self) | writer | {"written": time.time()}, folder / FILE)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read `folder/state.json`; None if it is missing or not such a file."""
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
        """Whether a process trains or evaluates the run, according to the file."""
        return "running" in (self.state, self.evaluation)

    @property
    def here(self) -> bool:
        """Whether the run's process is on this machine."""
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether the run's process still exists; on another machine it is assumed to exist."""
        return not self.here or exists(self.process, self.started)

    def seen(self, fingerprint: str | None = None) -> Self:
        """The state as it is now, with a note for the reader.

        Args:
            fingerprint: of the planned run. If the file is of a run with another one, the planned run is "waiting",
                unless the other run is still at work.
        """
        state = self
        if self.at_work and not self.alive:  # it was killed
            state = replace(self, state="interrupted") if self.state == "running" else replace(self, evaluation=None)
        if not state.at_work and fingerprint not in (None, self.fingerprint):
            note = f"{state.state} with other code or settings"
            return replace(self, state="waiting", evaluation=None, step=0, success=None, seconds_left=None, note=note)
        return state._with_note()

    def _with_note(self) -> Self:
        # The clock may have been set back, and another machine's clock may be wrong.
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
    """When a process of this machine began, in clock ticks since the machine's start; None if unknown."""
    # A new process may get the number of an ended one. Only its start tells them apart.
    entry = proc_stat(process)
    return int(entry[19]) if entry else None


def exists(process: int, started: int | None) -> bool:
    """Whether the process that began at `started` still exists on this machine."""
    try:
        os.kill(process, 0)
    except PermissionError:  # it exists and belongs to another user
        pass
    except (ProcessLookupError, OverflowError):
        return False
    entry = proc_stat(process)
    if entry is None:  # not Linux
        return process > 0
    # "Z": it has ended, and its parent has not noticed yet.
    return entry[0] != "Z" and started in (None, int(entry[19]))


def proc_stat(process: int) -> list[str] | None:
    """The fields of Linux's /proc/<process>/stat from the third on; None where there is none."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()  # "4711 (a name with spaces) S 4242 …"
