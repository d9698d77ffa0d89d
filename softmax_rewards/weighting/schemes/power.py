"""`power`: the centered verdict, divided by a power of the group's success rate.

    w_i = (c_i - p) / p^q,   p = mean(c),   0 if no sample is right

arXiv 2604.25907. A larger q counts groups with few right samples more.

Limit: q = 1: `maxrl`. q = 0: `dr_grpo` for 0/1 rewards.
"""

from typing import Annotated

import numpy as np

from softmax_rewards.weighting.number import Number


def weights(
    rewards: np.ndarray,
    correct: np.ndarray,
    *,
    q: Annotated[float, Number("Power of the group's success rate in the divisor.", low=0, high=10)] = 0.5,
) -> np.ndarray:
    """rewards (unused), correct [Q, N], 0 <= q <= 10 -> mean-zero weights [Q, N]."""
    rate = correct.mean(axis=-1, keepdims=True)
    return (correct - rate) / np.where(rate > 0, rate, 1.0) ** q
