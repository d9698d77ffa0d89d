"""`linear_plus_one`: the z-score with the constant of `softmax` added.

    w_i = (r_i - mu) / (sigma + 1e-4) + 1

Control: completes the square {z-score, softmax contrast} x {without, with the constant}.
"""

import numpy as np

from softmax_rewards.weighting.schemes import linear


def weights(rewards: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """rewards, correct [Q, N] -> weights [Q, N] with mean 1."""
    return linear.weights(rewards, correct) + 1.0
