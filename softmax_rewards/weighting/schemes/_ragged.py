"""Arithmetic on a batch of groups of several sizes, accurate for any finite rewards.

Values [B] have the samples of a group side by side; `sizes` [Q] has the size of each group.
"""

import numpy as np


def center(values: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """((v - group mean)/range [B], (group mean - batch maximum)/range [Q], range/2); range of the whole batch.

    Differences within a group are taken first, so a group of equal values has exact zeros. If all values are equal, the
    range is 0 and all differences are 0.
    """
    # The difference of two finite floats can overflow. Half of it cannot.
    half = values / 2
    half_range = float(half.max() - half.min())
    unit = half_range or 1.0
    top = np.maximum.reduceat(half, starts(sizes))
    below = (half - np.repeat(top, sizes)) / unit
    mean = add(below, sizes) / sizes
    return below - np.repeat(mean, sizes), mean + (top - half.max()) / unit, half_range


def starts(sizes: np.ndarray) -> np.ndarray:
    """Position of the first sample of each group, [Q]."""
    return np.cumsum(sizes) - sizes


def add(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Sum over each group, [Q]."""
    return np.add.reduceat(values, starts(sizes))
