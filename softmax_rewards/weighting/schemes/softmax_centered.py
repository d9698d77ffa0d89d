"""`softmax_centered`: the contrast of `softmax` without its constant.

    w_i = N softmax(r/tau)_i - 1

Separates "concentrates on the best" from "pushes every sample up". For 0/1 rewards its limit
tau -> 0 is `maxrl`.
"""

import numpy as np

from softmax_rewards.weighting.schemes._groups import softmax_contrast


def weights(rewards: np.ndarray, correct: np.ndarray, *, tau: float) -> np.ndarray:
    """rewards, correct [Q, N], tau > 0 in units of reward -> mean-zero weights [Q, N] in [-1, N - 1]."""
    return softmax_contrast(rewards, tau)
