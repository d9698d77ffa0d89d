"""Ranks: the processes that train one run together, one on each of its GPUs (`training.gpus`).

Every rank goes through the same steps. Groups are shared out whole, and what comes of them is gathered, so that every
rank knows the whole batch: weights are those of one process, whatever a scheme makes them of.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed
from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from softmax_rewards.models.checkpoint import pick_device

Value = TypeVar("Value")

CAUSE_FIRST = 2  # seconds by which a rank that misses another ends later than that one
PR_SET_PDEATHSIG = 1  # of Linux's prctl


@dataclass(frozen=True)
class Ranks:
    """This process among `count`; alone, nothing is ever sent."""

    index: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files and speaks."""
        return self.index == 0

    def share(self, total: int) -> range:
        """Which of `total` things in a row are this rank's."""
        return range(total * self.index // self.count, total * (self.index + 1) // self.count)

    def gather(self, value: Value) -> list[Value]:
        """`value` of every rank, in their order; tensors must lie on the host."""
        if self.count == 1:
            return [value]
        values: list[Value] = [value] * self.count
        distributed.all_gather_object(values, value)
        return values

    def sum(self, value: float) -> float:
        """The sum over the ranks, the same to the bit on each."""
        return sum(self.gather(value))

    def any(self, value: bool) -> bool:
        """Whether it is so on any rank."""
        return any(self.gather(value))


ALONE = Ranks()


def expected() -> int:
    """How many ranks this process is one of, as `launch.py` tells it."""
    return int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def opened(wanted: str) -> Iterator[Ranks]:
    """Within the block, this process's place among the ranks and its device; `wanted` is `training.device`."""
    device = torch.device(pick_device(wanted))
    if expected() == 1:
        yield Ranks(device=device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    _end_with_launcher()
    try:
        # Objects go by gloo, over the host; only tensors of the sharded policy go from GPU to GPU. The others may wait
        # long, while the first writes a checkpoint or a verifier takes its time: `launch.py` notices who is gone.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=timedelta(days=1))
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), device)
    except Exception as error:
        get_error_handler().record_exception(error)  # for `launch.py`, which says it again
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            time.sleep(CAUSE_FIRST)
        raise
    distributed.destroy_process_group()  # not after an error: it would wait for the others


def _end_with_launcher() -> None:
    """Have SIGTERM sent to this process when the one that started it ends, and with it the lease of its GPU."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
