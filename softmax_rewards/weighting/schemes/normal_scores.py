"""`normal_scores`: the normal quantile of the reward's rank within the group.

    w_i = Phi^-1((rank_i - 1/2) / N),   rank 1: lowest reward; equal rewards share their mean rank

From a public fork of GRPO-Zero; no paper reports it. Only the order of the rewards counts, so a small reward for the
format counts as much as a large one for success. In a group of equal rewards all weights are 0. With other ties the
mean weight of a group is not 0.

Limit: any increasing map of the rewards changes nothing.
"""

import numpy as np
from scipy.special import ndtri


def weights(rewards: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """rewards, correct (unused) [Q, N] -> weights [Q, N]."""
    return ndtri((ranks(rewards) - 0.5) / rewards.shape[-1])


def ranks(rewards: np.ndarray) -> np.ndarray:
    """Rank of each reward in its group, from 1 (lowest) to N; equal rewards have their mean rank; [Q, N]."""
    below = np.sum(rewards[:, :, None] > rewards[:, None, :], axis=-1)
    equal = np.sum(rewards[:, :, None] == rewards[:, None, :], axis=-1)
    return below + (equal + 1) / 2
