"""`maxrl`: maximum likelihood of success. It divides by the success rate where GRPO divides by sigma.

    w_i = (c_i - mean(c)) / mean(c),   0 if no sample is right

"Maximum Likelihood Reinforcement Learning", arXiv 2602.02710.

Limit: for 0/1 rewards `softmax_centered` for tau -> 0. `power` with q = 1.
"""

import numpy as np


def weights(rewards: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """rewards (unused), correct [Q, N] -> mean-zero weights [Q, N] in [-1, N - 1]."""
    rate = correct.mean(axis=-1, keepdims=True)
    return (correct - rate) / np.where(rate > 0, rate, 1.0)
