"""The world: the processes (ranks) that train one run together, one on each of its GPUs (`training.gpus`).

Every rank goes through the same steps. Groups are shared out whole and their results gathered, so that every rank knows
the whole batch: weights are those of one process, whichever scheme computes them.
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
from typing import TypeVar

import torch
from torch import distributed
from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from softmax_rewards.models.checkpoint import pick_device

Value = TypeVar("Value")

CAUSE_FIRST = 2  # seconds by which a rank that misses another one ends later, so that the cause is reported first
PR_SET_PDEATHSIG = 1  # of Linux's prctl


@dataclass(frozen=True)
class World:
    """This process, `rank`, among `size` of them. By default it is alone, and nothing is ever sent."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this is the rank that writes files and prints."""
        return self.rank == 0

    def share(self, total: int) -> range:
        """Which of `total` things in a row are this rank's."""
        return range(total * self.rank // self.size, total * (self.rank + 1) // self.size)

    def gather(self, value: Value) -> list[Value]:
        """`value` of every rank, in their order; tensors must lie on the host."""
        if self.size == 1:
            return [value]
        values: list[Value] = [value] * self.size
        distributed.all_gather_object(values, value)
        return values

    def from_main(self, compute: Callable[[], Value]) -> Value:
        """What `compute` returns on the main rank; the other ranks do not call it."""
        return self.gather(compute() if self.is_main else None)[0]

    def sum(self, value: float) -> float:
        """The sum over the ranks, the same to the bit on each."""
        return sum(self.gather(value))

    def any(self, value: bool) -> bool:
        """Whether `value` is true on any rank."""
        return any(self.gather(value))


ALONE = World()


def expected_size() -> int:
    """How many ranks this process is one of, as `training/launch.py` tells it."""
    return int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def opened(device_setting: str) -> Iterator[World]:
    """Within the block, this process's world; `device_setting` is `training.device`."""
    device = torch.device(pick_device(device_setting))
    if expected_size() == 1:
        yield World(device=device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    _end_with_launcher()
    try:
        # Objects go by gloo, over the host; only tensors of the sharded policy go from GPU to GPU. Ranks may wait for
        # long while the main one writes a checkpoint or a verifier takes its time: `launch.py` notices who is gone.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=timedelta(days=1))
        yield World(distributed.get_rank(), distributed.get_world_size(), device)
    except Exception as error:
        get_error_handler().record_exception(error)  # for `launch.py`, which repeats it
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            time.sleep(CAUSE_FIRST)
        raise
    distributed.destroy_process_group()  # not after an error: it would wait for the others


def _end_with_launcher() -> None:
    """Have SIGTERM sent to this process when the one that started it ends, and with it the lease of its GPU."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
