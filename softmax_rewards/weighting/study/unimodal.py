"""Tests of the shape of a curve that was measured at M ordered points: does it rise, does it fall, where is its peak?

A curve with one peak rises up to it and falls after it; plateaus are allowed. For k = 0 … M the hypothesis H_k says
that the first k points rise and the others fall, so the peak is between the points k and k + 1. H_0 says that the curve
nowhere rises. H_M says that it nowhere falls. No other assumption about the shape is made.

The test statistic of H_k is the distance of the means from the nearest such curve, divided by the noise. Adding a curve
of H_k to the noise can only shorten this distance, because these curves form a convex cone. So the flat curve is the
least favorable case, and one simulation of it makes the test exact for every curve of H_k (Robertson, Wright & Dykstra
1988, *Order Restricted Statistical Inference*, ch. 2).
"""

import functools
import math
from itertools import product

import numpy as np

from softmax_rewards.weighting.study.seed_effects import ROUNDING, Layout

DRAWS = 10_000


def p_values(layout: Layout) -> np.ndarray:
    """p [M + 1] of H_0 … H_M."""
    distance = distances(layout.means[None] - layout.means.mean(), layout.runs)[0]
    distance[distance < (ROUNDING * np.abs(layout.means).max()) ** 2] = 0.0
    if layout.variance == 0:
        return np.where(distance > 0, 0.0, 1.0)
    null = _null(layout.covariance.tobytes(), tuple(layout.runs.tolist()), layout.freedom)
    # The observed curve counts as one more draw, so that p is never 0.
    beyond = (null >= distance / layout.variance).sum(axis=0)
    return (beyond + 1) / (len(null) + 1)


def distances(means: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted squared distance [B, M + 1] of B curves, means [B, M], from the nearest curve of H_0 … H_M."""
    falling = _rising(means[:, ::-1], weights[::-1])[:, ::-1]
    return _rising(means, weights) + falling


def _rising(means: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Squared distance [B, M + 1] of the first 0 … M points from the nearest curve that never falls."""
    curves, points = means.shape
    total = np.concatenate([[0.0], np.cumsum(weights)])
    sums = np.concatenate([np.zeros((curves, 1)), np.cumsum(weights * means, axis=1)], axis=1)
    # `average[s, t]`: mean of the points s … t
    average = {
        (s, t): (sums[:, t + 1] - sums[:, s]) / (total[t + 1] - total[s])
        for s, t in product(range(points), repeat=2)
        if s <= t
    }
    result = np.zeros((curves, points + 1))
    for k in range(2, points + 1):
        # The isotonic regression at i is the maximum over s ≤ i of the minimum over t ≥ i of average[s, t].
        fitted = np.full((curves, k), -math.inf)
        for s in range(k):
            lowest = np.full(curves, math.inf)
            for t in range(k - 1, s - 1, -1):
                lowest = np.minimum(lowest, average[s, t])
                fitted[:, t] = np.maximum(fitted[:, t], lowest)
        result[:, k] = (means[:, :k] - fitted) ** 2 @ weights[:k]
    return result


@functools.lru_cache(maxsize=64)
def _null(covariance: bytes, runs: tuple[int, ...], freedom: int) -> np.ndarray:
    """Test statistics [DRAWS, M + 1] of flat curves. The fixed seed makes results repeatable."""
    rng = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(np.frombuffer(covariance).reshape(len(runs), len(runs)))
    draws = rng.standard_normal((DRAWS, len(runs)))
    noise = (draws * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    variance = rng.chisquare(freedom, (DRAWS, 1)) / freedom
    return distances(noise, np.array(runs)) / variance
