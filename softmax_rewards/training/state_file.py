"""State file: how training and evaluation keep a run's `state.json` up to date."""

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from softmax_rewards.common import provenance
from softmax_rewards.common.devices import VISIBLE
from softmax_rewards.common.terminal import log
from softmax_rewards.config.run import Run
from softmax_rewards.training import plan
from softmax_rewards.training.state import RunState, start_of

RECENT = 20  # steps whose mean is the pace of a run
PAUSE = 1.0  # seconds; a new step alone is not written more often
SHARE = 0.01  # of the time at most is spent writing: a shared disk can be slow
LINE = 500  # characters of an error message that are kept


class StateFile:
    """The `state.json` of a run that this process trains: entering writes "running", leaving writes how it ended.

    A write that fails is skipped, because training itself reports a full disk.

    Args:
        out: the run's folder.
        run: the run.
        fingerprint: `provenance.run_fingerprint` of the run.
        device: the name of the device.
        is_main: whether this process writes the file, if several processes train the run.
    """

    def __init__(self, out: Path, run: Run, fingerprint: str, device: str, is_main: bool = True) -> None:
        gpus = None if device == "cpu" else os.environ.get(VISIBLE)
        self.out, self._is_main = out, is_main
        begun = _begun(out, run, fingerprint)
        self._now = replace(begun, state="running", seconds_left=None, device=device, gpus=gpus)
        self._seconds: deque[float] = deque(maxlen=RECENT)
        self._due = 0.0

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._write(state="finished", step=self._now.steps, seconds_left=None)
        else:
            self._write(seconds_left=None, **_ending(error))

    def begins(self, step: int) -> None:
        """Training begins, or continues from a checkpoint after `step` updates."""
        self._write(step=step, saved=step)

    def stepped(self, step: int, seconds: float) -> None:
        """`step` updates are done; the last one took `seconds`. Writes the file unless it was just written."""
        self._seconds.append(seconds)
        pace = sum(self._seconds) / len(self._seconds)
        left = pace * ((self._now.steps or step) - step)
        self._now = replace(self._now, step=step, seconds_per_step=pace, seconds_left=left)
        if time.monotonic() >= self._due:
            self._write()

    def evaluated(self, step: int, success: float) -> None:
        """The policy after `step` updates has the `success` rate (0..1). Also prints a line of progress."""
        self._write(step=step, success=success)
        if self._is_main:
            log("train", plan.progress(self.out, self._now))

    def saved(self, step: int) -> None:
        """A checkpoint after `step` updates was written."""
        self._write(step=step, saved=step)

    def _write(self, **changes: Any) -> None:
        self._now = replace(self._now, **changes)
        if not self._is_main:
            return
        began = time.monotonic()
        with suppress(OSError):
            self._now.write(self.out)
        ended = time.monotonic()
        self._due = ended + max(PAUSE, (ended - began) / SHARE)


@contextmanager
def starting(out: Path, run: Run) -> Iterator[None]:
    """Record a failure within the block, also one before training begins.

    Nothing is written if the `StateFile` of this process has already recorded it, or if another process is at work.
    """
    try:
        yield
    except BaseException as error:
        # Ranks leave it to their launcher, because only it knows which rank failed first.
        if _ending(error)["state"] == "failed" and "LOCAL_RANK" not in os.environ:
            before = RunState.read(out)
            me = (os.getpid(), start_of(os.getpid()))
            is_mine = before is not None and before.here and (before.process, before.started) == me
            if before is None or not (is_mine or (before.at_work and before.alive)):
                with suppress(OSError):
                    replace(_begun(out, run, provenance.run_fingerprint(run.to_dict())), **_ending(error)).write(out)
        raise


@contextmanager
def evaluating(out: Path, record: Mapping[str, Any]) -> Iterator[None]:
    """Keep the state of a finished run while this process evaluates its final model; `record` is its `run.json`."""
    run, fingerprint = Run.from_dict(record["config"]), record["fingerprint"]
    begun = replace(_begun(out, run, fingerprint), device=record.get("device"))
    state = replace(begun, state="finished", step=run.training.steps, seconds_left=None, evaluation="running")
    with suppress(OSError):
        state.write(out)
    try:
        yield
    except BaseException as error:
        ending = _ending(error)
        state = replace(state, evaluation="failed" if ending["state"] == "failed" else None, note=ending["note"])
        raise
    else:
        state = replace(state, evaluation="done")
    finally:
        with suppress(OSError):
            state.write(out)


def _begun(out: Path, run: Run, fingerprint: str) -> RunState:
    """The state in the file if it is of this run, else that of a run that has not begun."""
    fresh = RunState(run.ablation, run.seed, steps=run.training.steps, fingerprint=fingerprint)
    before = RunState.read(out)
    if before is None or before.fingerprint != fingerprint:
        return fresh
    return replace(before, ablation=run.ablation, seed=run.seed, steps=run.training.steps, evaluation=None, note="")


def _ending(error: BaseException) -> dict[str, Any]:
    """How a process ends with `error`: "interrupted" if it was asked to end, else "failed" with a note of one line."""
    if isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and isinstance(error.code, int | None)):
        return {"state": "interrupted", "note": ""}
    name = "" if isinstance(error, SystemExit) else f"{type(error).__name__}: "
    return {"state": "failed", "note": f"{name}{str(error).strip().partition(chr(10))[0]}"[:LINE]}
