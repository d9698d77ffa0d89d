"""`softmax_matched`: `softmax` scaled to the size of `linear`. It rules out "bigger gradients" as an explanation.

    w = s * N softmax(r/tau),   s makes the RMS of the batch's Q*N weights equal to that of `linear`

If every group of the batch has equal rewards, `linear` is zero everywhere, and so are these weights.

Limit: as `softmax`, times one factor for the whole batch.
"""

import numpy as np

from softmax_rewards.weighting.number import Temperature
from softmax_rewards.weighting.schemes import linear, softmax

COUPLES_GROUPS = True


def weights(rewards: np.ndarray, correct: np.ndarray, *, tau: Temperature) -> np.ndarray:
    """rewards, correct [Q, N], tau > 0 in units of reward -> non-negative weights [Q, N]."""
    w = softmax.weights(rewards, correct, tau=tau)
    if not w.size:
        return w
    target = np.sqrt(np.mean(linear.weights(rewards, correct) ** 2))
    # The RMS of `softmax` is at least its mean, 1. So this never divides by 0.
    return w * (target / np.sqrt(np.mean(w**2)))
