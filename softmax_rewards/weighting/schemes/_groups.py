"""Arithmetic within groups of rewards, accurate for any finite rewards.

Every function takes rewards [Q, N] in float64 and works along the last axis. Differences within a group are taken
first. So a large common offset costs no digits, and a group of equal rewards gives exact zeros.
"""

import numpy as np


def below_best(rewards: np.ndarray) -> np.ndarray:
    """Half the distance to the best reward of the group, (r - max)/2 <= 0; [Q, N]."""
    # The difference of two finite floats can overflow. Half of it cannot.
    half = rewards / 2
    return half - half.max(axis=-1, keepdims=True)


def exponents(rewards: np.ndarray, tau: float) -> np.ndarray:
    """(r - max)/tau <= 0; [Q, N]. It may be -inf."""
    # Overflow to -inf does no harm, because exp(-inf) is exactly 0.
    with np.errstate(over="ignore"):
        return below_best(rewards) / tau * 2


def softmax_contrast(rewards: np.ndarray, tau: float) -> np.ndarray:
    """N * softmax(r/tau) - 1; [Q, N]."""
    return contrast(exponents(rewards, tau))


def contrast(z: np.ndarray) -> np.ndarray:
    """N * softmax(z) - 1 for exponents z <= 0 whose maximum in each group is 0; [Q, N]."""
    # With e_i = exp(z_i) - 1, N exp(z_i) / sum exp(z) - 1 = (e_i - mean(e)) / (1 + mean(e)). The left side loses all
    # digits when the exponents are close to 0. The right side does not.
    e = np.expm1(z)
    mean = e.mean(axis=-1, keepdims=True)
    return (e - mean) / (1.0 + mean)


def centered_units(rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((r - mean)/range, range/2) of each group; [Q, N] and [Q, 1]. Both are 0 in a group of equal rewards."""
    distance = below_best(rewards)
    half_range = np.abs(distance.min(axis=-1, keepdims=True))
    units = distance / np.where(half_range > 0, half_range, 1.0)
    # `units` lie in [-1, 0], so their mean and squares cannot overflow.
    return units - units.mean(axis=-1, keepdims=True), half_range


def deviations(rewards: np.ndarray) -> np.ndarray:
    """r - mean of the group; [Q, N]."""
    units, half_range = centered_units(rewards)
    return units * half_range * 2
