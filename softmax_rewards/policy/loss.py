"""The loss of a step, computed per micro-batch: the policy loss and the terms that the settings add to it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from softmax_rewards.policy.micro_batches import MicroBatch
from softmax_rewards.policy.objective import is_clipped, policy_loss


class Term(Protocol):
    """A term that is added to the policy loss."""

    def __call__(self, batch: MicroBatch, log_probs: Tensor, entropies: Tensor, scales: Tensor) -> Tensor:
        """The term's part for a micro-batch. The other arguments are `[tokens]`; `scales` are the s_i of the loss."""
        ...


class PolicyLoss:
    """−Σ factor·log π, for one update per batch. The policy has not changed since sampling, so there is no ratio.

    `sampled[Q·N, T]` are the log-probabilities while sampling. `old[Q·N, T]` are those in the pass of the first update.
    """

    def __init__(self, sampled: Tensor) -> None:
        self.sampled, self.old = sampled, torch.zeros_like(sampled)
        self.is_first = True

    def __call__(self, batch: MicroBatch, log_probs: Tensor, factors: Tensor) -> Tensor:
        self._record(batch, log_probs)
        return policy_loss(log_probs, log_probs, factors, None)

    def _record(self, batch: MicroBatch, log_probs: Tensor) -> None:
        if self.is_first:
            self.old[batch.samples, batch.token_index] = log_probs.detach()

    def update_done(self) -> None:
        """Called after each update of the batch."""
        self.is_first = False


class ClippedLoss(PolicyLoss):
    """PPO's clipped surrogate (arXiv 1707.06347) for several updates per batch."""

    def __init__(self, epsilon_low: float, epsilon_high: float, sampled: Tensor) -> None:
        super().__init__(sampled)
        self.clip = (epsilon_low, epsilon_high)
        self.clipped = torch.zeros_like(sampled, dtype=torch.bool)  # [Q·N, T], of the present update
        self.counts: list[Tensor] = []  # of clipped tokens, in each update after the first

    def __call__(self, batch: MicroBatch, log_probs: Tensor, factors: Tensor) -> Tensor:
        # The denominator of the ratio comes from the first update's own pass and not from sampling. In float32 both
        # agree. In bfloat16 they differ so much that some tokens would be clipped before any update.
        self._record(batch, log_probs)
        old = batch.gather(self.old)
        if not (self.is_first or batch.spare):  # a spare micro-batch repeats samples that are counted elsewhere
            # Marked and not counted, because the pass may be repeated after memory has run out.
            self.clipped[batch.samples, batch.token_index] = is_clipped(log_probs.detach(), old, factors, self.clip)
        return policy_loss(log_probs, old, factors, self.clip)

    def update_done(self) -> None:
        if not self.is_first:
            self.counts.append(self.clipped.sum())
        super().update_done()

    def clipped_tokens(self) -> int:
        """The number of clipped tokens in this process, summed over the updates."""
        return sum(int(count) for count in self.counts)


class EntropyBonus:
    """−coefficient · Σ scale · entropy, which rewards a policy that stays undecided."""

    def __init__(self, coefficient: float) -> None:
        self.coefficient = coefficient

    def __call__(self, batch: MicroBatch, log_probs: Tensor, entropies: Tensor, scales: Tensor) -> Tensor:
        return -self.coefficient * (scales * entropies).sum()


class StepLoss:
    """The loss of a step: a callable that gives the part of one micro-batch.

    `scales[Q·N]` are the s_i, and `factors[Q·N]` multiply log π of a sample's tokens (s_i·w_i); both are float64.
    """

    def __init__(
        self, policy: PolicyLoss, scales: np.ndarray, factors: np.ndarray, device: torch.device, terms: Sequence[Term]
    ) -> None:
        self.policy, self.terms = policy, terms
        # Computed in float64 on the host, then rounded once to the float32 of the log-probabilities.
        self.scales = torch.tensor(scales).float().to(device)
        self.factors = torch.tensor(factors).float().to(device)

    def __call__(self, batch: MicroBatch, log_probs: Tensor, entropies: Tensor) -> Tensor:
        loss = self.policy(batch, log_probs, self.factors[batch.samples])
        for term in self.terms:
            loss = loss + term(batch, log_probs, entropies, self.scales[batch.samples])
        return loss
