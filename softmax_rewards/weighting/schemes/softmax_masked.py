"""`softmax_masked`: `softmax`, but 0 in groups of equal rewards.

    w_i = N softmax(r/tau)_i   if max(r) > min(r), else 0

In a group of equal rewards `softmax` gives every sample the weight 1, so the policy imitates itself. Here such groups
have no weight.

Limit: as `softmax`, in groups whose rewards differ.
"""

import numpy as np

from softmax_rewards.weighting.number import Temperature
from softmax_rewards.weighting.schemes import softmax


def weights(rewards: np.ndarray, correct: np.ndarray, *, tau: Temperature) -> np.ndarray:
    """rewards, correct [Q, N], tau > 0 in units of reward -> weights [Q, N] in [0, N]."""
    # The comparison is exact because rewards come from a small set of values. Any difference counts.
    contrast = rewards.max(axis=-1, keepdims=True) > rewards.min(axis=-1, keepdims=True)
    return np.where(contrast, softmax.weights(rewards, correct, tau=tau), 0.0)
