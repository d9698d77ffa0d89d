"""Group arithmetic that stays accurate for any finite rewards: shifted, scaled, standardized, exponentiated.

Every function works on rewards [Q, N], group by group along the last axis, in float64. Differences within a
group are taken first, so a large common offset costs no digits and an all-equal group gives exact zeros.
"""

import numpy as np


def below_best(rewards: np.ndarray) -> np.ndarray:
    """Half the distance below the best reward of the group, (r - max)/2 <= 0; [Q, N].

    Half, because the difference of two finite floats can overflow and half of it cannot.
    """
    half = rewards / 2
    return half - half.max(axis=-1, keepdims=True)


def exponents(rewards: np.ndarray, tau: float) -> np.ndarray:
    """(r - max)/tau <= 0; [Q, N]. Overflows, harmlessly, to -inf: its exponential is an exact 0."""
    with np.errstate(over="ignore"):
        return below_best(rewards) / tau * 2


def softmax_contrast(rewards: np.ndarray, tau: float) -> np.ndarray:
    """N * softmax(r/tau) - 1; [Q, N], without the cancellation that costs all digits when tau >> range.

    With e_i = exp(z_i) - 1:  N exp(z_i) / sum exp(z) - 1 = (e_i - mean(e)) / (1 + mean(e)).
    """
    e = np.expm1(exponents(rewards, tau))
    mean = e.mean(axis=-1, keepdims=True)
    return (e - mean) / (1.0 + mean)


def centered_units(rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((r - mean)/range, range/2) of each group; [Q, N] and [Q, 1]. Zeros in an all-equal group."""
    distance = below_best(rewards)
    half_range = np.abs(distance.min(axis=-1, keepdims=True))
    units = distance / np.where(half_range > 0, half_range, 1.0)
    # `units` lie in [-1, 0]: their mean and squares can neither overflow nor underflow.
    return units - units.mean(axis=-1, keepdims=True), half_range


def deviations(rewards: np.ndarray) -> np.ndarray:
    """r - mean of the group; [Q, N]."""
    units, half_range = centered_units(rewards)
    return units * half_range * 2
