"""Ranks: the processes that train one run together, one on each of its GPUs (`training.gpus`).

Every rank goes through the same steps. Groups are shared out whole, and what comes of them is gathered, so that every
rank knows the whole batch: weights are those of one process, whatever a scheme makes them of.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import distributed
from torch.distributed.elastic.multiprocessing.errors import get_error_handler

from softmax_rewards.models.checkpoint import pick_device

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """This process among `count`; alone, nothing is ever sent."""

    index: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    launcher: int | None = None  # the process that started the ranks

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

    def deserted(self) -> bool:
        """Whether whoever started this rank, and holds the lease of its GPU, is gone."""
        return self.launcher is not None and os.getppid() != self.launcher


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
    # Objects go by gloo, over the host; only tensors of the sharded policy go from GPU to GPU.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), device, os.getppid())
    except Exception as error:
        get_error_handler().record_exception(error)  # for `launch.py`, which says it again
        raise
    distributed.destroy_process_group()  # not after an error: it would wait for the others
