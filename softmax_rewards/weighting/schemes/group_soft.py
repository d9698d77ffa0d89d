"""`group_soft`: one weight for all samples of a group, the softmax mean of its rewards.

    w_i = sum_j softmax(z/T)_j r_j,   z_j = (r_j - mu) / (sigma + 1e-4)

SR-GRPO as its authors publish it (https://github.com/KAIST-AILab/SR-GRPO). All samples of a group have the same weight.
So the contrast within a group is 0, and only the choice of groups can teach: right samples are more frequent in groups
with a large weight.

Limit: T -> 0: the best reward of the group. T -> infinity: its mean reward.
"""

import numpy as np

from softmax_rewards.weighting.number import UnitTemperature
from softmax_rewards.weighting.schemes import softmax_z


def weights(rewards: np.ndarray, correct: np.ndarray, *, temperature: UnitTemperature = 0.5) -> np.ndarray:
    """rewards, correct [Q, N], temperature > 0 -> weights [Q, N] in units of reward, equal within a group."""
    share = softmax_z.weights(rewards, correct, temperature=temperature) / rewards.shape[-1]
    low, high = (pick(rewards, axis=-1, keepdims=True) for pick in (np.min, np.max))
    # Rounding could carry the mean of huge rewards beyond the largest float, so it is kept between its ends.
    with np.errstate(over="ignore"):
        mean = np.clip(np.sum(share * rewards, axis=-1, keepdims=True), low, high)
    return np.repeat(mean, rewards.shape[-1], axis=-1)
