"""CUDA graphs: a GPU repeats a computation without the processor launching every kernel again.

A decoding step of a language model is hundreds of small kernels, and launching them takes longer than running them.
"""

from collections.abc import Callable

import torch
from torch import Tensor


class Replay:
    """Calls `step`, on a GPU from the third call on by replaying the kernels recorded at the second.

    `step` reads and writes tensors that stay where they are, and waits for none of their values. What it returns is
    overwritten by the next call.
    """

    def __init__(self, step: Callable[[], tuple[Tensor, ...]], device: torch.device) -> None:
        self.step, self.on_gpu = step, device.type == "cuda"
        self.graph: torch.cuda.CUDAGraph | None = None
        self.warm = False  # a first call loads kernels and allocates workspaces, which cannot be recorded

    def __call__(self) -> tuple[Tensor, ...]:
        if not self.on_gpu or not self.warm:
            self.warm = True
            return self.step()
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.result = self.step()
        self.graph.replay()
        return self.result
