"""`softmax_matched`: `softmax` with the size of `linear`, to remove "bigger gradient" as an explanation.

    w = s * N softmax(r/tau),   s such that the RMS over the batch's Q*N weights equals that of `linear`

If all groups of the batch are all-equal, `linear` is zero everywhere, and so are these weights.
"""

import numpy as np

from softmax_rewards.weighting.schemes import linear, softmax

COUPLES_GROUPS = True


def weights(rewards: np.ndarray, correct: np.ndarray, *, tau: float) -> np.ndarray:
    """rewards, correct [Q, N], tau > 0 in units of reward -> non-negative weights [Q, N]."""
    w = softmax.weights(rewards, correct, tau=tau)
    if not w.size:
        return w
    target = np.sqrt(np.mean(linear.weights(rewards, correct) ** 2))
    # The RMS of `softmax` is at least its mean, 1: the division is safe.
    return w * (target / np.sqrt(np.mean(w**2)))
