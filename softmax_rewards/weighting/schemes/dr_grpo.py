"""`dr_grpo`: the centered reward, without GRPO's division by the standard deviation.

    w_i = r_i - mu

Liu et al., "Understanding R1-Zero-Like Training", arXiv 2503.20783.

Limit: `softmax_scaled` for tau -> infinity. For 0/1 rewards `power` with q = 0.
"""

import numpy as np

from softmax_rewards.weighting.schemes._groups import deviations


def weights(rewards: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """rewards, correct [Q, N] -> mean-zero weights [Q, N] in units of reward."""
    return deviations(rewards)
