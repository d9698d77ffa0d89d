"""The world: the processes (ranks) that train one run together, one process per GPU (`training.gpus`).

Every rank runs the same steps. A group is never split between ranks. The results of all groups are gathered, so every
rank has the whole batch and computes the same weights as a single process, for every scheme.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from softmax_rewards.models.checkpoint import pick_device

Value = TypeVar("Value")

CAUSE_FIRST = 2  # seconds that a rank waits before it reports a lost rank, so that the cause is reported first
PR_SET_PDEATHSIG = 1  # an option of Linux's prctl


@dataclass(frozen=True)
class World:
    """This process (`rank`) among all processes (`size`). By default it is alone and nothing is sent."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this is the rank that writes files and prints."""
        return self.rank == 0

    def share(self, total: int) -> range:
        """The range of this rank's items among `total`. Shares differ by one item at most."""
        return range(total * self.rank // self.size, total * (self.rank + 1) // self.size)

    def gather(self, value: Value) -> list[Value]:
        """The `value` of every rank, in order. Tensors must be on the host."""
        if self.size == 1:
            return [value]
        values: list[Value] = [value] * self.size
        distributed.all_gather_object(values, value)
        return values

    def from_main(self, compute: Callable[[], Value]) -> Value:
        """The result of `compute` on the main rank. The other ranks do not call it."""
        values: list[Any] = self.gather(compute() if self.is_main else None)
        return values[0]

    def sum(self, value: float) -> float:
        """The sum over the ranks, which is the same to the last bit on each of them."""
        return sum(self.gather(value))

    def any(self, value: bool) -> bool:
        """Whether `value` is true on any rank."""
        return any(self.gather(value))


ALONE = World()


def expected_size() -> int:
    """The number of ranks, which `training/launch.py` sets in the environment."""
    return int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def opened(device_setting: str) -> Iterator[World]:
    """Within the block, the world of this process. `device_setting` is `training.device`."""
    device = torch.device(pick_device(device_setting))
    if expected_size() == 1:
        yield World(device=device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    _end_with_launcher()
    try:
        # Python objects are sent over the host with gloo. Only tensors of the sharded policy go from GPU to GPU. The
        # time limit is long, because ranks wait while the main rank writes a checkpoint or a verifier is slow.
        # `launch.py` notices a rank that has ended.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=timedelta(days=1))
        yield World(distributed.get_rank(), distributed.get_world_size(), device)
    except Exception as error:
        # Imported here, because only ranks need it and it takes a tenth of a second.
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)  # `launch.py` shows it
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            time.sleep(CAUSE_FIRST)
        raise
    distributed.destroy_process_group()  # not after an error, when it would wait for the other ranks


def _end_with_launcher() -> None:
    """Have Linux send SIGTERM to this process when its launcher ends, because the launcher holds the GPU's lease."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
