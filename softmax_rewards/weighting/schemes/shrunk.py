"""`shrunk`: REINFORCE whose baseline mixes the group's other samples with the other groups.

    w_i = (r_i - b_i) p_i^-alpha
    b_i = lambda mean(r of the group without i) + (1 - lambda) mean(r of the other groups)

p_i is the same mixture of the verdicts c instead of r, with its own lambda and a floor of 0.001. lambda is the weight
of a group's own n - 1 samples in Bühlmann's credibility theory,

    lambda = (n - 1) V / ((n - 1) V + S),   S: variance within groups, V: variance between the means of groups

and S and V are estimated from the other groups too. lambda is 1 with fewer than three groups, and if the means of the
other groups do not differ. An estimate V <= 0 although they differ means that chance explains the difference; then
lambda is 0. Groups of several sizes count by their size.

The scheme is this project's own. Sample i has no part in b_i and p_i. So alpha = 0 is an unbiased gradient of the
expected reward, and alpha > 0 an unbiased gradient with hard prompts weighted up. Nothing is divided by a standard
deviation, and a group whose samples are all wrong is still pushed away from them. With a larger alpha the weights of
rare right samples get large (76 and more at alpha = 1), so they can be clipped.

Limit: alpha = 0 and lambda = 1 (fewer than three groups, or no noise within groups): `rloo`.
"""

from typing import Annotated

import numpy as np

from softmax_rewards.weighting.number import Number
from softmax_rewards.weighting.schemes._ragged import add, center

COUPLES_GROUPS = True
FLOOR = 1e-3  # lowest success rate in the divisor
ROUNDING = 1e-12  # a smaller spread of group means, as a share of the batch's range, is a rounding error

Alpha = Annotated[float, Number("Power of the prompt's success rate in the divisor.", low=0, high=10)]
Clip = Annotated[
    float | None, Number("Largest size of a weight; larger ones are cut to it.", above=0, optional=True)
]  # fmt: skip


def weights(rewards: np.ndarray, correct: np.ndarray, *, alpha: Alpha = 0.0, clip: Clip = None) -> np.ndarray:
    """rewards, correct [Q, N] -> weights [Q, N] in units of reward."""
    sizes = np.full(len(rewards), rewards.shape[1])
    return unequal(rewards.ravel(), correct.ravel(), sizes, alpha=alpha, clip=clip).reshape(rewards.shape)


def unequal(
    rewards: np.ndarray, correct: np.ndarray, sizes: np.ndarray, *, alpha: Alpha = 0.0, clip: Clip = None
) -> np.ndarray:
    """rewards, correct [B] of groups of `sizes` [Q] -> weights [B]."""
    right = correct.astype(np.float64)
    success = np.maximum(right - _above_baseline(right, sizes), FLOOR)
    w = _above_baseline(rewards, sizes) * success**-alpha
    return w if clip is None else np.clip(w, -clip, clip)


def _above_baseline(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """v_i - b_i, [B]."""
    if not values.size:
        return np.zeros(0)
    deviation, means, half_range = center(values, sizes)
    own = np.repeat(credibility(deviation, means, sizes), sizes)
    others = (sizes @ means - sizes * means) / np.maximum(sizes.sum() - sizes, 1)
    from_own = deviation * np.repeat(sizes / (sizes - 1), sizes)
    from_others = deviation + np.repeat(means - others, sizes)
    return (own * from_own + (1 - own) * from_others) * half_range * 2


def credibility(deviation: np.ndarray, means: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """lambda of each group [Q], estimated from the other groups (Bühlmann and Straub's estimators).

    deviation [B] of each sample from its group's mean; means [Q] of the groups; both in units of the batch's range.
    """
    if len(sizes) < 3:
        return np.ones(len(sizes))
    # Each sum over the other groups is the sum over all groups minus the group's own part.
    total = sizes.sum()
    samples = total - sizes
    squares = add(deviation**2, sizes)
    within = np.maximum(squares.sum() - squares, 0.0) / (samples - (len(sizes) - 1))
    apart = (means - sizes @ means / total) ** 2 * sizes
    spread = np.maximum(apart.sum() - apart * total / samples, 0.0)
    degrees = samples - (np.sum(sizes**2) - sizes**2) / samples
    between = np.maximum(spread - (len(sizes) - 2) * within, 0.0) / degrees
    signal = (sizes - 1) * between
    share = signal / np.where(signal + within > 0, signal + within, 1.0)
    equal = spread <= ROUNDING * apart.sum() + ROUNDING**2 * total
    return np.where(equal, 1.0, share)
