"""`softmax_z`: a softmax of the group's z-scores.

    w_i = N softmax(z/T)_i,   z_i = (r_i - mu) / (sigma + 1e-4)

The target of "Target Policy Optimization", arXiv 2604.06159, without its anchor, the old policy's probabilities.
Like `linear`, it does not see the size of the rewards. Weights are positive and have mean 1.

Limit: T -> infinity: T (w - 1) is `linear`. T -> 0: `best_of_n`.
"""

import numpy as np

from softmax_rewards.weighting.number import UnitTemperature
from softmax_rewards.weighting.schemes import linear, softmax


def weights(rewards: np.ndarray, correct: np.ndarray, *, temperature: UnitTemperature = 0.5) -> np.ndarray:
    """rewards, correct [Q, N], temperature > 0 -> weights [Q, N] in [0, N]."""
    return softmax.weights(linear.weights(rewards, correct), correct, tau=temperature)
