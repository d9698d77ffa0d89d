"""`softmax_centered`: `softmax` minus its mean weight 1.

    w_i = N softmax(r/tau)_i - 1

It separates two effects of `softmax`: weight moves to the best samples, and every sample is pushed up. Only the first
one is left here. For 0/1 rewards the limit tau -> 0 is `maxrl`.
"""

import numpy as np

from softmax_rewards.weighting.schemes._groups import softmax_contrast


def weights(rewards: np.ndarray, correct: np.ndarray, *, tau: float) -> np.ndarray:
    """rewards, correct [Q, N], tau > 0 in units of reward -> mean-zero weights [Q, N] in [-1, N - 1]."""
    return softmax_contrast(rewards, tau)
