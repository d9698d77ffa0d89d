"""Robust statistics of few runs: the interquartile mean and the probability of improvement, as in rliable.

Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", arXiv 2108.13264.
Scores are arrays [S, M] for S runs (seeds) of M tasks. Intervals are percentile bootstraps stratified by task: the runs
of each task are drawn with replacement, the tasks are fixed. With few runs such an interval is too narrow: with 3 seeds
a 95 % interval of a mean covers about 74 %. So these figures are shown beside the paired t intervals of `stats` and
decide nothing.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from softmax_rewards.common.stats import CONFIDENCE

DRAWS = 2000  # enough that the Monte Carlo error of a limit is small beside the uncertainty of few seeds
CUT = 0.25  # share of the sorted scores that is left out at each end


class Bounds(NamedTuple):
    """An estimate with its bootstrap limits; the limits are NaN for a single run."""

    estimate: float
    low: float
    high: float


def interquartile_mean(scores: ArrayLike) -> np.ndarray:
    """Mean of the middle half of all scores, [..., S, M] → [...] (section 4.3 of the paper).

    ⌊S·M/4⌋ scores are left out at each end. With fewer than four scores it is the plain mean.
    """
    scores = np.asarray(scores, dtype=float)
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = int(CUT * flat.shape[-1])
    return flat[..., cut : flat.shape[-1] - cut].mean(axis=-1)


def probability_of_improvement(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Probability that a run of `first` [..., S, M] beats a run of `second` [..., R, M], averaged over tasks; [...].

    P(X > Y) + P(X = Y)/2 over all S·R pairs of runs, which is Mann and Whitney's U divided by S·R (section 4.3 of the
    paper). Runs are not paired by seed.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    # [..., S, R, M]: every run of one side against every run of the other.
    difference = first[..., :, None, :] - second[..., None, :, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean(axis=(-3, -2, -1))


def stratified_bootstrap(
    statistic: Callable[..., np.ndarray], *samples: ArrayLike, seed: int = 0, draws: int = DRAWS
) -> Bounds:
    """`statistic` of `samples`, each [S, M], with its 95 % percentile interval.

    Each draw resamples the runs of every sample and of every task independently. `statistic` takes arrays
    [..., S, M] and returns [...]. The limits are NaN if a sample has a single run. Raises ValueError unless every
    sample is [S, M] with S ≥ 1.
    """
    arrays = [np.asarray(sample, dtype=float) for sample in samples]
    for array in arrays:
        if array.ndim != 2 or not len(array):
            raise ValueError(f"scores: shape {array.shape}; allowed: [runs, tasks] with one run or more")
    estimate = float(statistic(*arrays))
    if min(map(len, arrays)) < 2:
        return Bounds(estimate, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    drawn = [
        np.take_along_axis(array[None], rng.integers(len(array), size=(draws, *array.shape)), axis=1)
        for array in arrays
    ]
    low, high = np.quantile(statistic(*drawn), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Bounds(estimate, float(low), float(high))
