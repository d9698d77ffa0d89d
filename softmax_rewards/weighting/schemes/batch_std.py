"""`batch_std`: the z-score with the group's mean and the standard deviation of the whole batch.

    w_i = (r_i - mu) / (sigma_batch + 1e-4),   sigma_batch: population standard deviation of all rewards of the batch

"Tricks or Traps? A Deep Dive into RL for LLM Reasoning", arXiv 2508.08221. All groups have the same divisor, so with
Adam it should train like `dr_grpo`. A group of equal rewards gets exact zeros.

Limit: a batch of one group is `linear`.
"""

import numpy as np

from softmax_rewards.weighting.schemes._groups import centered_units
from softmax_rewards.weighting.schemes._ragged import center
from softmax_rewards.weighting.schemes.linear import EPSILON

COUPLES_GROUPS = True


def weights(rewards: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """rewards, correct (unused) [Q, N] -> mean-zero weights [Q, N]; finite for all finite rewards."""
    sizes = np.full(len(rewards), rewards.shape[1])
    return unequal(rewards.ravel(), correct.ravel(), sizes).reshape(rewards.shape)


def unequal(rewards: np.ndarray, correct: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """rewards, correct (unused) [B] of groups of `sizes` [Q] -> weights [B]."""
    if not rewards.size:
        return np.zeros(0)
    units, half_range = centered_units(rewards[None])
    sigma = np.sqrt(np.mean(units**2))
    deviation, _, scale = center(rewards, sizes)
    with np.errstate(over="ignore"):
        epsilon = EPSILON / (half_range[0, 0] or 1.0) / 2
    return deviation / (sigma + epsilon) if scale else np.zeros(len(rewards))
