"""Robust statistics of few runs: the interquartile mean and the probability of improvement, as in rliable.

Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", arXiv 2108.13264.
Scores are arrays [S, M], S runs (seeds) of M tasks. The intervals are percentile bootstraps stratified by task: the
runs of each task are drawn with replacement, the tasks stay. Few runs make such an interval too narrow (over
3 seeds a 95 % interval of a mean covers about 74 %), so that these figures stand beside the paired t intervals of
`stats` and decide nothing.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from softmax_rewards.common.stats import CONFIDENCE

DRAWS = 2000  # at which the Monte Carlo error of a limit is small beside what few seeds leave open
CUT = 0.25  # of the sorted scores, at each end


class Bounds(NamedTuple):
    """An estimate with its bootstrap limits; NaN limits for a single run."""

    estimate: float
    low: float
    high: float


def interquartile_mean(scores: ArrayLike) -> np.ndarray:
    """Mean of the middle half of all scores [..., S, M] → [...], ⌊S·M/4⌋ of them left out at each end (section 4.3).

    Fewer than four scores leave none out: it is their mean.
    """
    scores = np.asarray(scores, dtype=float)
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = int(CUT * flat.shape[-1])
    return flat[..., cut : flat.shape[-1] - cut].mean(axis=-1)


def probability_of_improvement(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Probability that a run of `first` [..., S, M] beats one of `second` [..., R, M] → [...], averaged over tasks.

    P(X > Y) + P(X = Y)/2 over all S·R pairs of runs: Mann and Whitney's U divided by S·R (section 4.3). Runs are not
    paired by seed.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    difference = first[..., :, None, :] - second[..., None, :, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean(axis=(-3, -2, -1))


def stratified_bootstrap(
    statistic: Callable[..., np.ndarray], *samples: ArrayLike, seed: int = 0, draws: int = DRAWS
) -> Bounds:
    """`statistic` of `samples`, each [S, M], with its percentile interval at 95 %.

    Each draw resamples the runs of every sample and of every task independently. `statistic` takes arrays
    [..., S, M] and gives [...]. A sample of a single run gives NaN limits. ValueError for anything but [S, M], S ≥ 1.
    """
    arrays = [np.asarray(sample, dtype=float) for sample in samples]
    for array in arrays:
        if array.ndim != 2 or not len(array):
            raise ValueError(f"scores: shape {array.shape}; wanted: [runs, tasks] with one run or more")
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
