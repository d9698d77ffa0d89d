"""`linear`: the z-score of GRPO. It is the baseline of every experiment.

    w_i = (r_i - mu) / (sigma + 1e-4),   mu, sigma: mean and population standard deviation of the group

Shao et al., "DeepSeekMath", arXiv 2402.03300. A group of equal rewards gets exact zeros.

Limit: T (w - 1) of `softmax_z` for T -> infinity. For 0/1 rewards `passk` with k = 1, but for the 1e-4.
"""

import numpy as np

from softmax_rewards.weighting.schemes._groups import centered_units

EPSILON = 1e-4  # units of reward, as in the common implementations


def weights(rewards: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """rewards, correct [Q, N] -> mean-zero weights [Q, N]; finite for all finite rewards."""
    units, half_range = centered_units(rewards)
    sigma = np.sqrt(np.mean(units**2, axis=-1, keepdims=True))
    # Numerator and denominator are divided by the range. Otherwise sigma**2 would overflow for huge rewards.
    with np.errstate(over="ignore"):
        epsilon = EPSILON / np.where(half_range > 0, half_range, 1.0) / 2
    return units / (sigma + epsilon)
