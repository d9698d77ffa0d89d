"""`best_of_n`: imitate only the best samples of the group.

    w_i = N / (number of best samples)   if r_i = max(r), else 0

In a group of equal rewards every sample gets 1.

Limit: `softmax` for tau -> 0.
"""

import numpy as np


def weights(rewards: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """rewards, correct [Q, N] -> weights [Q, N] in [0, N] with mean 1."""
    best = (rewards == rewards.max(axis=-1, keepdims=True)).astype(np.float64)
    return best / best.mean(axis=-1, keepdims=True)
