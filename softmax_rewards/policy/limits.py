"""How much is computed at once: what the configuration allows, less once the device's memory has run out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from softmax_rewards.common.terminal import log
from softmax_rewards.config.run import Training


@dataclass
class Limits:
    """Halved for the rest of the run when the device's memory does not suffice; a resumed run begins with them."""

    rollout_batch_size: int  # sequences decoded at once
    max_microbatch_tokens: int  # of one forward pass of the update, padding included, prompts not

    @classmethod
    def of(cls, settings: Training) -> "Limits":
        return cls(settings.rollout_batch_size, settings.max_microbatch_tokens)

    def lower(self, name: str, value: int) -> None:
        """Set one of them, and say so."""
        setattr(self, name, value)
        log("memory", f"the device is out of memory: going on with training.{name} {value}")


@contextmanager
def exhausted(settings: Training, alone: bool) -> Iterator[None]:
    """Say in one line which settings to lower where memory does not suffice even for the least at once.

    A run of several ranks, not `alone`, computes as much of an update at once as its settings allow.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        names = (
            ["max_new_tokens", "group_size", "prompts_per_step"]
            if alone
            else ["max_microbatch_tokens", "max_new_tokens"]
        )
        switches = {"gradient_checkpointing": True, "optimizer_state": "host", "precision": "bfloat16"}
        if not alone:
            del switches["optimizer_state"]
        sizes = ", ".join(f"{name} ({getattr(settings, name)})" for name in names)
        others = ", ".join(
            f"{name}: {str(value).lower()}" for name, value in switches.items() if getattr(settings, name) != value
        )
        raise torch.OutOfMemoryError(
            f"the device is out of memory{' even for the least at once' if alone else ''}; of training, lower "
            f"{sizes}{f', or set {others}' if others else ''} ({str(error).partition(chr(10))[0]})"
        ) from error
