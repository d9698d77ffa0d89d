"""CUDA graphs: a GPU repeats a computation, and the CPU need not launch every kernel again.

One decoding step of a language model has hundreds of small kernels. Launching them takes longer than running them.
"""

from collections.abc import Callable

import torch
from torch import Tensor


class Replay:
    """Calls the same `step` again and again. On a GPU the second call is recorded, and later calls replay it.

    `step` must read and write tensors at the same addresses in every call, and must not wait for their values. The next
    call overwrites the tensors that this one returns.
    """

    # `step` is an argument of each call and not an attribute, because its owner holds this object. A reference cycle
    # would keep the cache and the graph in memory until Python's garbage collector runs.

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.graph: torch.cuda.CUDAGraph | None = None
        self.warm = False  # the first call loads kernels and allocates workspaces, which cannot be recorded

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
