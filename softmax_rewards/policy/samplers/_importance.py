"""What an update does if another engine sampled the answers: it compares log-probabilities, and may correct for them.

The engine's kernels round otherwise than those of training, so its policy μ differs a little from the policy π that the
gradient belongs to. Truncated importance sampling multiplies the loss of each token by min(π/μ, cap), where π is that
of the first update's pass. Source: F. Yao et al., "Your efficient RL framework secretly brings you off-policy RL
training" (2025). verl and TRL have the same correction.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from softmax_rewards.policy.loss import ClippedLoss, PolicyLoss, StepLoss
from softmax_rewards.policy.micro_batches import MicroBatch, Samples
from softmax_rewards.policy.update import Facts, Updater


class CorrectedLoss(PolicyLoss):
    """`PolicyLoss` with truncated importance sampling. `sampled` are the log-probabilities of the engine, log μ."""

    def __init__(self, cap: float, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.cap = cap

    def __call__(self, batch: MicroBatch, log_probs: Tensor, factors: Tensor) -> Tensor:
        # The correction is that of the policy before the batch's updates. PPO's ratio has what changes after that.
        before = log_probs.detach() if self.is_first else batch.gather(self.old)
        ratio = (before - batch.gather(self.sampled)).exp()
        return super().__call__(batch, log_probs, factors * ratio.clamp(max=self.cap))


class CorrectedClippedLoss(CorrectedLoss, ClippedLoss):
    """`ClippedLoss` with the same correction."""


class ComparingUpdater(Updater):
    """An updater that logs how much sampling and training differ, and corrects with `settings.importance_cap`."""

    def _policy_loss(self, sampled: Tensor) -> PolicyLoss:
        settings = self.settings
        if settings.importance_cap is None:
            return super()._policy_loss(sampled)
        if settings.updates_per_batch == 1:
            return CorrectedLoss(settings.importance_cap, sampled)
        return CorrectedClippedLoss(settings.importance_cap, settings.epsilon_low, settings.epsilon_high, sampled)

    def _change(self, loss: StepLoss, samples: Samples, passed: np.ndarray) -> Facts:
        facts = super()._change(loss, samples, passed)
        if self.settings.injection is not None or self.settings.imitation is not None:
            passed = passed[passed % samples.per_prompt < samples.per_prompt - 1]  # reference answers were not sampled
        return facts | comparison(samples, passed, loss.policy.sampled, loss.policy.old, self.settings.importance_cap)


def comparison(samples: Samples, rows: np.ndarray, sampled: Tensor, old: Tensor, cap: float | None) -> Facts:
    """How log μ while sampling and log π in the first pass of training differ, over the tokens of `rows`.

    sampling_logp_largest   the largest |log μ − log π|, in nats
    importance_ratio        mean of π/μ, which is 1 if μ is a distribution over the same tokens; only with a `cap`
    importance_capped       share of tokens whose ratio is above the cap; only with a `cap`

    `sampled` and `old` are `[Q·N, T]`. All facts are None if there are no `rows`.
    """
    lengths = torch.tensor([samples.lengths[row] for row in rows], device=old.device)
    inside = torch.arange(old.shape[1], device=old.device) < lengths[:, None]
    differences = (old[rows] - sampled[rows])[inside].double()
    empty = not len(differences)
    facts: Facts = {"sampling_logp_largest": None if empty else float(differences.abs().max())}
    if cap is not None:
        ratios = differences.exp()
        facts["importance_ratio"] = None if empty else float(ratios.mean())
        facts["importance_capped"] = None if empty else float((ratios > cap).double().mean())
    return facts
