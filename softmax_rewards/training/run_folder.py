"""The folder of a training run: lock, growing logs, checkpoints, finished tables.

state.json                how far the run is, or how it ended (`state_file.py`)
state/                    while the run is under way: logs and the newest two checkpoints
metrics.csv … model/      written when the run has finished, `run.json` last
finished/                 second names of these files, without the weights, with checksums
timing.json               seconds of the phases other than steps (`timing.py`)
evaluation/               the final evaluation, until it is taken over (`final_evaluation.py`)

The trainer uses a `Folder`. For a run of one process it is a `RunFolder`. For several processes, `shared_folder.py` has
one that lets the main process write.
"""

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from softmax_rewards.common import locks
from softmax_rewards.common.files import NotWritten, writing
from softmax_rewards.common.terminal import log
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.policy.engine import Engine
from softmax_rewards.policy.limits import Limits
from softmax_rewards.training import checkpoints, final_evaluation, finished_run
from softmax_rewards.training.run_log import RunLog

CHECKPOINTS = 2  # the newest may turn out to be damaged


class Folder(Protocol):
    """What a run keeps on disk."""

    out: Path

    def restore(self) -> bool:
        """Restore the files of a run that has finished here; False unless it was this run and is whole."""
        ...

    def resume(self, engine: Engine, limits: Limits) -> tuple[int, int]:
        """Load the newest whole checkpoint: (updates done, tokens generated), or (0, 0) without one."""
        ...

    def append(self, table: str, row: dict[str, Any]) -> None:
        """Add a row to one of the run's logs."""
        ...

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of one of the run's logs so far."""
        ...

    def checkpoint(self, step: int, tokens: int, engine: Engine, limits: Limits) -> None:
        """Save everything the run needs to continue after `step` updates; delete all older checkpoints but one."""
        ...

    def finish(self, policy: Decoder, base: Path, record: dict[str, Any]) -> None:
        """Write the final weights and tables; `run.json`, which marks the run as finished, comes last."""
        ...

    def on_disk(self, action: Callable[[], None]) -> None:
        """Call `action`, which writes or prints, in one process only."""
        ...


class RunFolder:
    """The files of one run in `out`. While it is open, no other process can open it.

    `identity` names what the run depends on. A checkpoint with another identity is not resumed. `plans` are keys of
    `run.json` that say which plan the run started under. A run that continues keeps those of its first start.

    Entering raises RuntimeError while another process trains the run.
    """

    def __init__(self, out: Path, identity: str, plans: Mapping[str, str | None] | None = None) -> None:
        self.out, self.state, self.identity, self.plans = out, out / "state", identity, dict(plans or {})

    def __enter__(self) -> Self:
        with writing(self.out), ExitStack() as undo:
            self._lock = locks.hold(self.out, "training")
            undo.callback(self._lock.release)
            # If this run is cut short, files of an earlier run here must not be taken for its own.
            for name in finished_run.MARKS:
                (self.out / name).unlink(missing_ok=True)
            self.log = RunLog(self.state)
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, NotWritten):
            newest = checkpoints.newest_first(self.state)[:1]
            start = f"goes on from step {checkpoints.steps(newest[0])}" if newest else "begins again"
            error.then = f": the run {start}"
        try:
            self.log.close()
        except NotWritten:
            if error is None:  # otherwise this error would hide the first one
                raise
        finally:
            self._lock.release()

    def restore(self) -> bool:
        restored = finished_run.restore(self.out, self.identity)
        if not restored:
            final_evaluation.discard(self.out)  # it is of an earlier training
        return restored

    def resume(self, engine: Engine, limits: Limits) -> tuple[int, int]:
        newest, facts = self.newest_checkpoint()
        return go_on(newest, facts, engine, limits)

    def newest_checkpoint(self) -> tuple[Path | None, dict[str, Any]]:
        """Cut the logs back to the newest whole checkpoint and return it with its facts; damaged ones are deleted."""
        problems: dict[Path, ValueError] = {}
        newest: Path | None = None
        facts: dict[str, Any] = {"step": 0, "tokens": 0}
        for folder in checkpoints.newest_first(self.state):
            try:
                candidate = checkpoints.read(folder)
                checkpoints.expect(candidate, self.identity, folder)
                self.log.truncate(candidate["log"])
            except ValueError as error:
                problems[folder] = error
            else:
                newest, facts = folder, candidate
                break
        for folder, problem in problems.items():
            log("train", f"{problem}; {f'going on from {newest.name}' if newest else 'starting from the beginning'}")
            checkpoints.discard(folder)
        if newest:
            self.plans = facts.get("plans", {})  # a checkpoint of earlier code has none
        else:
            self.log.clear()
        return newest, facts

    def append(self, table: str, row: dict[str, Any]) -> None:
        self.log.append(table, row)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return self.log.rows(table)

    def checkpoint(self, step: int, tokens: int, engine: Engine, limits: Limits) -> None:
        facts = {"step": step, "tokens": tokens, "identity": self.identity, "plans": self.plans}
        facts |= {"log": self.log.marks(), "limits": dataclasses.asdict(limits)}
        checkpoints.write(self.state, step, engine, facts)
        for folder in checkpoints.newest_first(self.state)[CHECKPOINTS:]:
            checkpoints.discard(folder)

    def finish(self, policy: Decoder, base: Path, record: dict[str, Any]) -> None:
        finished_run.write(self.out, self.log, policy, base, record | self.plans, self.identity)

    def on_disk(self, action: Callable[[], None]) -> None:
        action()


def go_on(newest: Path | None, facts: dict[str, Any], engine: Engine, limits: Limits) -> tuple[int, int]:
    """Load the checkpoint `newest`, if there is one; returns (updates done, tokens generated)."""
    if newest:
        checkpoints.load(newest, engine)
        for name, value in facts["limits"].items():
            setattr(limits, name, value)
    return facts["step"], facts["tokens"]
