"""`linear_plus_one`: the z-score with the constant of `softmax` added.

    w_i = (r_i - mu) / (sigma + 1e-4) + 1

A control. With `linear`, `softmax_centered` and `softmax` it separates two effects: z-score or softmax, and with or
without the constant 1.

Limit: T (w - 1) + 1 of `softmax_z` for T -> infinity.
"""

import numpy as np

from softmax_rewards.weighting.schemes import linear


def weights(rewards: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """rewards, correct [Q, N] -> weights [Q, N] with mean 1."""
    return linear.weights(rewards, correct) + 1.0
