"""CUDA graphs: a GPU repeats a computation without the processor launching every kernel again.

A decoding step of a language model is hundreds of small kernels, and launching them takes longer than running them.
"""

from collections.abc import Callable

import torch
from torch import Tensor


class Replay:
    """Calls the same `step` again and again, on a GPU from the third call on by replaying what the second recorded.

    `step` reads and writes tensors whose memory stays the same, and waits for none of their values. The next call
    overwrites what it returns. It is passed with each call and not stored, because its owner holds this object: a
    reference cycle would keep the cache and the graph alive until Python's garbage collector runs.
    """

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.graph: torch.cuda.CUDAGraph | None = None
        self.warm = False  # a first call loads kernels and allocates workspaces, which cannot be recorded

    def __call__(self, step: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        if not self.on_gpu or not self.warm:
            self.warm = True
            return step()
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.result = step()
        self.graph.replay()
        return self.result
