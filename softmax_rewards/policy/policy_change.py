"""How far an update moves the policy, and how far sampling and training disagree, measured on a few samples of a step.

The samples are the first ones of the first groups, about one of 32. They are passed before and after the update, so the
two passes differ in nothing but the weights.
"""

import math

import numpy as np
import torch
from torch import Tensor

from softmax_rewards.policy.micro_batches import Samples
from softmax_rewards.policy.objective import kl_penalty
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.update import Facts, Updater

SHARE = 32  # one sample of so many is measured; more would cost more than a hundredth of a step


class PolicyChange:
    """The change of a policy by the update that follows the construction."""

    def __init__(self, updater: Updater, rollouts: Rollouts) -> None:
        self.updater, completions = updater, rollouts.completions
        groups, size = len(rollouts.prompts), rollouts.group_size
        count = min(groups, math.ceil(groups * size / SHARE))
        rows = slice(0, count * size, size)
        self.samples = Samples(rollouts.prompts[:count], completions.tokens[rows], completions.lengths[rows].tolist())
        self.sampled = completions.log_probs[rows]
        self.share = updater.engine.share(count)  # one sample per prompt, so these are rows too
        self.before = self._log_probs()

    def facts(self) -> Facts:
        """The facts for the step's row, after the update. Both are means over tokens, in nats.

        approx_kl                 the k3 estimate of KL(old policy‖new policy)
        sampling_logp_difference  |log π while sampling − log π in a pass of training before the update|
        """
        after, own = self._log_probs(), slice(self.share.start, self.share.stop)
        # After the ends all log-probabilities are 0, so these tokens add nothing.
        drift = kl_penalty(self.before[own], after[own]).sum(dtype=torch.float64)
        difference = (self.sampled[own] - self.before[own]).abs().sum(dtype=torch.float64)
        sums = self.updater.engine.sum_tensor(torch.stack((drift, difference)).cpu())
        means = (sums / sum(self.samples.lengths)).tolist()
        return dict(zip(("approx_kl", "sampling_logp_difference"), means, strict=True))

    def _log_probs(self) -> Tensor:
        engine, rows = self.updater.engine, np.array(self.share, dtype=int)
        return self.updater.within_memory(
            self.samples, rows, lambda budget: engine.log_probs(self.samples, rows.tolist(), budget)
        )
