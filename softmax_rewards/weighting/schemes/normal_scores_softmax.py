"""`normal_scores_softmax`: a softmax of the group's normal scores.

    w_i = N softmax(z/T)_i,   z_i: the weight of `normal_scores`

From a public fork of GRPO-Zero, by the author of the notes that this project tests; no paper reports it. Weights are
positive and have mean 1.

Limit: any increasing map of the rewards changes nothing. T -> infinity: T (w - 1) is `normal_scores` minus its mean.
T -> 0: `best_of_n`.
"""

import numpy as np

from softmax_rewards.weighting.number import UnitTemperature
from softmax_rewards.weighting.schemes import normal_scores, softmax


def weights(rewards: np.ndarray, correct: np.ndarray, *, temperature: UnitTemperature = 0.5) -> np.ndarray:
    """rewards, correct [Q, N], temperature > 0 -> weights [Q, N] in [0, N]."""
    return softmax.weights(normal_scores.weights(rewards, correct), correct, tau=temperature)
