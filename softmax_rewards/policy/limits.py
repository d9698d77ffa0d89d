"""Limits on how much is computed at once: as configured, and lower after the device ran out of memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from softmax_rewards.common.terminal import log
from softmax_rewards.config.run import Training


@dataclass
class Limits:
    """The limits of a run. Running out of memory halves one of them for the rest of the run, also if it is resumed."""

    rollout_batch_size: int  # sequences decoded at once
    max_microbatch_tokens: int  # in one forward pass of the update, with padding, without prompts

    @classmethod
    def of(cls, settings: Training) -> "Limits":
        """The limits in `settings`."""
        return cls(settings.rollout_batch_size, settings.max_microbatch_tokens)

    def lower(self, name: str, value: int) -> None:
        """Set one limit and log it."""
        setattr(self, name, value)
        log("memory", f"the device is out of memory: going on with training.{name} {value}")


@contextmanager
def exhausted(settings: Training, alone: bool) -> Iterator[None]:
    """Within the block, an out-of-memory error says in one line which settings to lower.

    `alone` means one process, whose limits are already as low as possible. Several ranks do not lower their limits.
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
