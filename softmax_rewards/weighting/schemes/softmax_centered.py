"""`softmax_centered`: `softmax` minus its mean weight 1.

    w_i = N softmax(r/tau)_i - 1

It separates two effects of `softmax`: weight moves to the best samples, and every sample is pushed up. Only the first
one is left here.

SoftmaxGRPO, arXiv 2608.09271 (COLM 2026). It was tried there on GSM8K and Countdown with Qwen2.5-1.5B and 3B, one seed
each: tau <= 0.3 was best, tau >= 1 ruinous.

Limit: tau -> 0: `best_of_n` - 1, which for 0/1 rewards is `maxrl` in groups with a right sample. tau -> infinity:
`dr_grpo` / tau.
"""

import numpy as np

from softmax_rewards.weighting.number import Temperature
from softmax_rewards.weighting.schemes._groups import softmax_contrast


def weights(rewards: np.ndarray, correct: np.ndarray, *, tau: Temperature) -> np.ndarray:
    """rewards, correct [Q, N], tau > 0 in units of reward -> mean-zero weights [Q, N] in [-1, N - 1]."""
    return softmax_contrast(rewards, tau)
