"""Concentration: how few samples of a group carry most of its weight.

Every function takes weights [..., N] and returns [...]. Signed weights count by their size, so a sample's share is
|w|/sum|w|. All figures are 0 for a group whose weights are all zero.
"""

import numpy as np


def shares(weights: np.ndarray) -> np.ndarray:
    """|w|/sum|w|; [..., N]."""
    size = np.abs(weights)
    largest = size.max(axis=-1, keepdims=True)
    # Without this division, the sum of huge weights would overflow and that of tiny ones would lose digits.
    size = size / np.where(largest > 0, largest, 1.0)
    return size / np.maximum(size.sum(axis=-1, keepdims=True), 1.0)


def effective_n(weights: np.ndarray) -> np.ndarray:
    """Kish's effective sample size (sum|w|)^2 / sum w^2, between 1 and N; [...]."""
    squares = np.sum(shares(weights) ** 2, axis=-1)
    return np.where(squares > 0, 1.0 / np.where(squares > 0, squares, 1.0), 0.0)


def entropy(weights: np.ndarray) -> np.ndarray:
    """Entropy of the shares in nats, between 0 and log N; [...]."""
    share = shares(weights)
    # Adding 0.0 turns −0.0 into 0.0.
    return -np.sum(share * np.log(np.where(share > 0, share, 1.0)), axis=-1) + 0.0


def max_share(weights: np.ndarray) -> np.ndarray:
    """The largest share; 1 when a single sample has all the weight; [...]."""
    return shares(weights).max(axis=-1)
