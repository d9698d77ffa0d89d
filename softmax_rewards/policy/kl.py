"""The KL penalty: what holds the policy near its frozen base model, π_ref.

The reference's weights stay on the training `device`, or on the `host`, whose memory caches the files that they are
read from again for each pass.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from softmax_rewards.config.run import Training
from softmax_rewards.models import checkpoint
from softmax_rewards.policy.gradients import log_probs
from softmax_rewards.policy.micro_batches import MicroBatch, Samples
from softmax_rewards.policy.objective import kl_penalty

Reference = Callable[[Samples, int], Tensor]
"""Samples and a token budget -> log-probabilities of their tokens, as `gradients.log_probs`."""


def reference_model(settings: Training, base: Path, device: torch.device) -> Reference:
    """The frozen model in `base`, where `settings.kl_reference` wants its weights."""
    dtype = getattr(torch, settings.precision)
    resident = checkpoint.load(base, device, dtype) if settings.kl_reference == "device" else None

    def reference(samples: Samples, token_budget: int) -> Tensor:
        # Before the update there are neither activations nor gradients, so that a copy finds room.
        return log_probs(resident or checkpoint.load(base, device, dtype), samples, token_budget)

    return reference


class KLPenalty:
    """A term of the loss: coefficient · Σ scale · k3 over the tokens of a step."""

    def __init__(self, coefficient: float, reference: Reference) -> None:
        self.coefficient, self.reference = coefficient, reference

    def prepare(self, samples: Samples, share: range, sampled: Tensor, token_budget: int) -> float:
        """Compute π_ref of the step's samples of the prompts `share`; returns the sum of their penalties (nats).

        `sampled[Q·N, T]` are the log-probabilities under the policy that sampled, 0 behind the ends.
        """
        self._log_probs = torch.zeros_like(sampled)
        rows = samples.rows_of(share)
        self._log_probs[rows] = self.reference(samples.of(share), token_budget)
        # Behind the ends both are 0, and so is the penalty.
        return float(kl_penalty(sampled[rows], self._log_probs[rows]).sum())

    def __call__(self, batch: MicroBatch, log_probs: Tensor, entropies: Tensor, scales: Tensor) -> Tensor:
        return self.coefficient * (scales * kl_penalty(log_probs, batch.gather(self._log_probs))).sum()
