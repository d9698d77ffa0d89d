"""The folder of a run that several ranks train: all ranks make the same calls, and the main rank writes."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from softmax_rewards.models.decoder import Decoder
from softmax_rewards.policy.engine import Engine
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.world import World
from softmax_rewards.training.run_folder import Folder, RunFolder, go_on


def opened(
    out: Path, identity: str, world: World, plans: Mapping[str, str | None] | None = None
) -> AbstractContextManager[Folder]:
    """The folder `out` of a run: a plain `RunFolder` for one process, a `SharedFolder` for several."""
    folder = RunFolder(out, identity, plans)
    return folder if world.size == 1 else SharedFolder(folder, world)


class SharedFolder:
    """A `run_folder.Folder` that gives every rank the same results. Only the main rank opens its `RunFolder`."""

    def __init__(self, folder: RunFolder, world: World) -> None:
        self.out, self.world = folder.out, world
        self._folder = folder  # entered and used on the main rank only
        self._open = ExitStack()

    def __enter__(self) -> Self:
        if self.world.is_main:
            self._open.enter_context(self._folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def restore(self) -> bool:
        return self.world.from_main(self._folder.restore)

    def resume(self, engine: Engine, limits: Limits) -> tuple[int, int]:
        newest, facts = self.world.from_main(self._folder.newest_checkpoint)
        return go_on(newest, facts, engine, limits)

    def append(self, table: str, row: dict[str, Any]) -> None:
        if self.world.is_main:
            self._folder.append(table, row)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return self.world.from_main(lambda: self._folder.rows(table))

    def checkpoint(self, step: int, tokens: int, engine: Engine, limits: Limits) -> None:
        if self.world.is_main:
            self._folder.checkpoint(step, tokens, engine, limits)
        else:
            for _ in engine.state():  # every rank must contribute its share of the state
                pass
        self.world.gather(None)  # no rank ends before the checkpoint is written

    def finish(self, policy: Decoder, base: Path, record: dict[str, Any]) -> None:
        if self.world.is_main:
            self._folder.finish(policy, base, record)

    def on_disk(self, action: Callable[[], None]) -> None:
        if self.world.is_main:
            action()
