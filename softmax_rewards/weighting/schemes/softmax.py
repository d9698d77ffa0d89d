"""`softmax`: a softmax of the group's rewards. It is the proposal that this project studies.

    w_i = N exp(r_i/tau) / sum_j exp(r_j/tau)

Weights are positive and have mean 1 in every group. In a group of equal rewards every sample gets 1. The weights depend
on r/tau only.

Limit: tau -> 0: `best_of_n`. tau -> infinity: `uniform`.
"""

import numpy as np

from softmax_rewards.weighting.number import Temperature
from softmax_rewards.weighting.schemes._groups import exponents


def weights(rewards: np.ndarray, correct: np.ndarray, *, tau: Temperature) -> np.ndarray:
    """rewards, correct [Q, N], tau > 0 in units of reward -> weights [Q, N] in [0, N]."""
    e = np.exp(exponents(rewards, tau))
    return e / e.mean(axis=-1, keepdims=True)
