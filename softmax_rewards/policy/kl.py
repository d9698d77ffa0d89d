"""The KL penalty, which keeps the policy near its frozen base model π_ref.

With `kl_reference: device` the weights of π_ref stay on the training device. With `host` they are loaded from their
files again for each step, which the host's memory usually caches.
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
"""(samples, token budget) → log-probabilities of their tokens under π_ref, like `gradients.log_probs`."""


def reference_model(settings: Training, base: Path, device: torch.device) -> Reference:
    """π_ref, the frozen model in `base`, with its weights where `settings.kl_reference` says."""
    dtype = getattr(torch, settings.precision)
    resident = checkpoint.load(base, device, dtype) if settings.kl_reference == "device" else None

    def reference(samples: Samples, token_budget: int) -> Tensor:
        # This runs before the update. Activations and gradients do not exist yet, so there is room for a loaded copy,
        # which is freed when this function ends.
        model = resident or checkpoint.load(base, device, dtype)
        return log_probs(model, samples, token_budget, settings.temperature)

    return reference


class KLPenalty:
    """A term of the loss: coefficient · Σ scale · k3 over all tokens of a step (see `objective.kl_penalty`)."""

    def __init__(self, coefficient: float, reference: Reference) -> None:
        self.coefficient, self.reference = coefficient, reference

    def prepare(self, samples: Samples, share: range, sampled: Tensor, token_budget: int) -> float:
        """Compute log π_ref of the samples of the prompts `share`; return the sum of their penalties (nats).

        `sampled[Q·N, T]` are the log-probabilities under the policy that sampled; 0 after the ends.
        """
        # π_ref does not change, so one pass serves all updates of the batch.
        self._log_probs = torch.zeros_like(sampled)
        rows = samples.rows_of(share)
        self._log_probs[rows] = self.reference(samples.of(share), token_budget)
        # After the ends both log-probabilities are 0, so the penalty is 0 as well.
        return float(kl_penalty(sampled[rows], self._log_probs[rows]).sum())

    def __call__(self, batch: MicroBatch, log_probs: Tensor, entropies: Tensor, scales: Tensor) -> Tensor:
        return self.coefficient * (scales * kl_penalty(log_probs, batch.gather(self._log_probs))).sum()
