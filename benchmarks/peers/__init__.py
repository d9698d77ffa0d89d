"""The trainers that are compared, one module each.

A module offers `trainers(work, place)`: its rows of the table by name, each a `Trainer`. `place` is what the command
line gives behind the module's name (a checkout's path), None without. What is not installed or not there is a
ValueError in one line.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from work import Fixed


@dataclass(frozen=True)
class Step:
    """One step: seconds of its halves, and what was computed."""

    rollout: float
    update: float
    lengths: np.ndarray  # [Q, N] tokens generated, the end token included
    trained: np.ndarray  # [Q, N] bool, whose tokens the loss was computed of
    positions: int  # that the forward passes of the update ran over, padding included


class Trainer(Protocol):
    """A trainer that takes single steps, each from the base weights and with a fresh optimizer."""

    choices: list[int]  # sizes of a micro-batch that may be the fastest, in its own unit
    unit: str

    def step(self, seed: int, microbatch: int) -> Step:
        """A rollout and an update."""

    def learn(self, batch: Fixed) -> tuple[float, float]:
        """Loss and gradient norm of an update on fixed answers, in float32."""


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block, no progress lines and no warnings: what a peer says of itself is not this benchmark's."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def counting(embedding: nn.Module) -> Iterator[list[int]]:
    """Within the block, the tokens that pass through `embedding` with gradients on, one entry a forward pass."""
    passed: list[int] = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor], output: Any) -> None:
        if torch.is_grad_enabled():
            passed.append(inputs[0].numel())

    handle = embedding.register_forward_hook(note)
    try:
        yield passed
    finally:
        handle.remove()
