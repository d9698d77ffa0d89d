"""Means of several conditions over seeds, if some seeds lack some conditions.

The model is success = condition + seed + noise, with equal noise everywhere (a two-way layout without interaction). A
seed that lacks a condition still says how the conditions it has differ. Plain means would compare different seeds.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from softmax_rewards.common.stats import CONFIDENCE, Interval

# Differences smaller than this share of the largest value are rounding errors of the least squares.
ROUNDING = 1e-10


@dataclass(frozen=True, eq=False)
class Layout:
    """Least-squares estimates of M conditions. Only differences between the means are certain."""

    means: np.ndarray  # [M], each for the average seed
    covariance: np.ndarray  # [M, M] of the means, up to an equal shift, in units of `variance`
    runs: np.ndarray  # [M], number of runs of each condition
    variance: float  # of a run around condition + seed; 0 if there is no more than rounding error
    freedom: int  # degrees of freedom of `variance`
    seeds: int  # that have two or more conditions

    def contrast(self, weights: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
        """Student's t interval of Σ weights · means. `weights` [M] add up to 0."""
        estimate = float(weights @ self.means)
        error = math.sqrt(self.variance * max(0.0, float(weights @ self.covariance @ weights)))
        half = float(special.stdtrit(self.freedom, (1 + confidence) / 2)) * error
        t = abs(estimate) / error if error > 0 else math.inf if estimate else 0.0
        p = 2 * float(special.stdtr(self.freedom, -t))
        return Interval(estimate, estimate - half, estimate + half, p, self.seeds, error * math.sqrt(self.seeds))


def estimate(values: np.ndarray) -> Layout:
    """The layout of values [S, M] (seeds × conditions, NaN where a run is missing).

    ValueError, one line, if the differences between all conditions, or their errors, cannot be estimated.
    """
    values = values[np.isfinite(values).sum(axis=1) >= 2]  # a seed with one condition compares nothing
    seeds, conditions = values.shape
    if seeds < 2:
        raise ValueError(f"{seeds} seed(s) with two or more temperatures, 2 are needed")
    present = np.isfinite(values)
    seed, condition = np.nonzero(present)
    runs = present.sum(axis=0)
    # Information about the conditions after the seeds are removed. Its null space must be the equal shift alone.
    shared = present / present.sum(axis=1, keepdims=True)
    information = np.diag(runs) - present.T @ shared
    freedom = len(seed) - seeds - conditions + 1
    if np.linalg.matrix_rank(information) < conditions - 1 or freedom < 1:
        raise ValueError("too few seeds have the same temperatures, so the temperatures cannot be compared")
    covariance = np.linalg.pinv(information, hermitian=True)
    filled = np.where(present, values, 0.0)
    of_seeds = filled.sum(axis=1) / present.sum(axis=1)
    effects = covariance @ (filled.sum(axis=0) - present.T @ of_seeds)
    shifts = of_seeds - shared @ effects  # what each seed adds
    residuals = values[seed, condition] - shifts[seed] - effects[condition]
    variance = float(residuals @ residuals) / freedom
    if variance < (ROUNDING * np.abs(filled).max()) ** 2:
        variance = 0.0
    return Layout(shifts.mean() + effects, covariance, runs, variance, freedom, seeds)
