"""`softmax_ess`: `softmax_centered` whose temperature gives each group the same effective sample size.

    w_i = N softmax(r/tau)_i - 1,   tau such that 1 / sum_j softmax(r/tau)_j^2 = nu

SoftmaxGRPO, arXiv 2608.09271, proposes this rule without a test. For 0/1 rewards with K of N samples right and nu > K
it is tau = 1/ln(c) with c = (K (N-K) + sqrt(K (N-K) nu (N-nu))) / (K (nu-K)), the weight of a right sample over that of
a wrong one.

For all rewards tau is found by bisection, because the effective sample size grows with tau, from the number of best
samples (tau = 0) to N (tau = infinity). So the weights do not change if the group's rewards are shifted or scaled. If
nu is not above the number of best samples, they are the limit tau -> 0, which is `best_of_n` - 1. If nu >= N, and in a
group of equal rewards, they are 0.

The mean square of a group's weights is N/nu - 1 in every group whose rewards allow nu. So, like `linear`, the scheme
gives a group that differs only in the format as much weight as a group with a right sample.

Limit: nu -> N: `linear` times sqrt(N/nu - 1). nu = 1: `best_of_n` - 1.
"""

from typing import Annotated

import numpy as np

from softmax_rewards.weighting.number import Number
from softmax_rewards.weighting.schemes._groups import below_best, contrast

FLATTEST, SHARPEST = 1e-9, 1e308  # range/tau between which the bisection looks
HALVINGS = 64  # of log(range/tau); more do not change a float64


def weights(
    rewards: np.ndarray,
    correct: np.ndarray,
    *,
    nu: Annotated[float, Number("Effective sample size that the softmax weights of a group get.", low=1)] = 4.0,
) -> np.ndarray:
    """rewards, correct (unused) [Q, N], nu >= 1 -> mean-zero weights [Q, N] in [-1, N - 1]."""
    distance = below_best(rewards)
    half_range = np.abs(distance.min(axis=-1, keepdims=True))
    units = distance / np.where(half_range > 0, half_range, 1.0)
    if nu >= rewards.shape[-1]:
        return np.zeros(rewards.shape)
    return contrast(units * _sharpness(units, nu))


def _sharpness(units: np.ndarray, nu: float) -> np.ndarray:
    """range/tau of each group [Q, 1] at which its effective sample size is nu. `units` [Q, N] in [-1, 0]."""
    low, high = (np.full((len(units), 1), np.log(end)) for end in (FLATTEST, SHARPEST))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        e = np.exp(units * np.exp(middle))
        too_flat = e.sum(axis=-1, keepdims=True) ** 2 > nu * np.sum(e**2, axis=-1, keepdims=True)
        low, high = np.where(too_flat, middle, low), np.where(too_flat, high, middle)
    return np.exp(low)
