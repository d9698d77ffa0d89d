"""The temperature rule: where success peaks along log(τ / reward range), and how certain that is.

Each seed's success is fitted by a parabola a + b·x + c·x² in x = log(τ/range). The peak solves E[b + 2·c·x] = 0 over
seeds. Its interval is Fieller's: every x at which the t test of "b + 2·c·x has mean 0 over seeds" does not reject. A
single seed need not have a peak. The interval does not include the error that success may not be a parabola. A peak
outside the grid is never reported.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from softmax_rewards.common import stats
from softmax_rewards.common.stats import CONFIDENCE, Interval, mean_interval

SMALLEST_GRID = 4
CLAIMED_RATIO = 0.5


@dataclass(frozen=True)
class Fit:
    """Success along a grid of temperatures. Ratios are τ/range, or NaN if unknown."""

    taus: tuple[float, ...]
    seeds: int
    coefficients: tuple[float, float, float]  # a, b, c of the mean parabola
    interior: bool  # a maximum inside the grid, with its whole interval
    ratio: float
    low: float
    high: float
    slope: Interval  # of a straight line through success over log(τ/range)
    best: float  # the τ of the grid with the highest mean
    bracket: tuple[float, float]  # ratios of the neighbors of `best` in the grid; an edge is its own neighbor
    lead: Interval  # success at `best` − success at the τ nearest to range/2
    reason: str  # why there is no interior maximum, else ""


def fit(taus: ArrayLike, success: ArrayLike, reward_range: float) -> Fit:
    """Fit success [S, M] (seeds × temperatures) on the distinct `taus` [M]. Too little data gives NaN and a reason."""
    taus, success = np.asarray(taus, dtype=float), np.asarray(success, dtype=float)
    order = np.argsort(taus)
    taus, success = taus[order], success[:, order]
    seeds, grid = success.shape
    if grid < SMALLEST_GRID:
        return _no_fit(taus, seeds, f"the grid is too small: {grid} temperatures, {SMALLEST_GRID} are needed")
    if seeds < 2:
        return _no_fit(taus, seeds, f"{seeds} seed(s) with every temperature, 2 are needed")
    ratios = taus / reward_range
    x = np.log(ratios)
    c, b, a = np.polyfit(x, success.T, 2)  # each [S]
    # The peak is where the derivative b + 2cx is 0.
    peak, low, high = _fieller(b, 2 * c)
    best = int(success.mean(axis=0).argmax())
    near = int(np.abs(x - math.log(CLAIMED_RATIO)).argmin())
    # Fieller's limits are NaN where the curvature cannot be distinguished from 0. The spread of the seeds' own peaks
    # would look small there, or be absurd.
    if best in (0, grid - 1):
        reason = f"the best τ, {taus[best]:g}, is at the edge of the grid"
    elif not c.mean() < 0 or math.isnan(low):
        reason = "the curvature cannot be distinguished from 0, so the fit has no clear maximum"
    elif not x[0] < low <= high < x[-1]:
        reason = "the interval of the fitted maximum reaches beyond the grid"
    else:
        reason = ""
    ratio, low, high = (math.nan,) * 3 if reason else (math.exp(v) for v in (peak, low, high))
    return Fit(
        taus=tuple(taus.tolist()),
        seeds=seeds,
        coefficients=(float(a.mean()), float(b.mean()), float(c.mean())),
        interior=not reason,
        ratio=ratio,
        low=low,
        high=high,
        slope=mean_interval(np.polyfit(x, success.T, 1)[0]),
        best=float(taus[best]),
        bracket=(float(ratios[max(best - 1, 0)]), float(ratios[min(best + 1, grid - 1)])),
        # `best` was chosen among M temperatures by its success, so its lead needs Bonferroni's confidence.
        lead=mean_interval(success[:, best] - success[:, near], stats.strictest_confidence(grid - 1)),
        reason=reason,
    )


def _no_fit(taus: np.ndarray, seeds: int, reason: str) -> Fit:
    """The result if there is too little data for a parabola."""
    nan = math.nan
    unknown = Interval(nan, nan, nan, nan, seeds, nan)
    return Fit(
        taus=tuple(taus.tolist()),
        seeds=seeds,
        coefficients=(nan, nan, nan),
        interior=False,
        ratio=nan,
        low=nan,
        high=nan,
        slope=unknown,
        best=nan,
        bracket=(nan, nan),
        lead=unknown,
        reason=reason,
    )


def _fieller(b: np.ndarray, d: np.ndarray) -> tuple[float, float, float]:
    """Root of mean(b) + mean(d)·x = 0 and Fieller's limits over the paired b, d [S]; NaN if unbounded.

    The limits solve (b̄ + d̄x)² = t²·(s_bb + 2x·s_bd + x²·s_dd)/S (Fieller 1954, JRSS B 16:175).
    """
    seeds = len(b)
    scale = float(special.stdtrit(seeds - 1, (1 + CONFIDENCE) / 2)) ** 2 / seeds
    (s_bb, s_bd), (_, s_dd) = np.cov(b, d)
    square = float(d.mean() ** 2 - scale * s_dd)
    if square <= 0:
        return math.nan, math.nan, math.nan
    linear = float(b.mean() * d.mean() - scale * s_bd)
    constant = float(b.mean() ** 2 - scale * s_bb)
    # Only rounding can make this negative, because the root of the means satisfies the inequality if `square` > 0.
    width = math.sqrt(max(0.0, linear**2 - square * constant)) / square
    return float(-b.mean() / d.mean()), -linear / square - width, -linear / square + width
