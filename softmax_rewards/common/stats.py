"""Statistics of an experiment: pure functions of arrays; the unit is the seed, never the puzzle or the step.

Every interval is two-sided with the stated confidence. With a single seed an interval is NaN: nothing is
known about the results of other seeds.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

CONFIDENCE = 0.95
POWER = 0.8
MOST_FREEDOM = 1e9  # degrees of freedom at which Student's t is normal


class Interval(NamedTuple):
    """An estimate with its confidence limits. `p` tests "the true value is 0"; `n` units went into it, and
    `deviation` is the standard deviation between them."""

    estimate: float
    low: float
    high: float
    p: float
    n: int
    deviation: float


def mean_interval(
    values: ArrayLike, confidence: float = CONFIDENCE, floor: float = 0.0, shared: float = 0.0
) -> Interval:
    """Student's t interval of a mean. `values` [S], one per seed.

    For a paired comparison pass the differences. S = 0 or 1 gives NaN limits and p.

    floor   standard deviation that sampling the answers alone gives a single value. Few values may agree by chance and
            show a smaller one, so the interval is at least as wide as the normal interval from `floor`.
    shared  standard error that all values have in common, such as that of a base model's success. It is known, so it
            adds degrees of freedom (Satterthwaite 1946, Biometrics Bulletin 2:110).
    Without both, values that are all equal give an interval of width 0.
    """
    values = np.asarray(values, dtype=float)
    n = len(values)
    if n < 2:
        return Interval(float(values[0]) if n else math.nan, math.nan, math.nan, math.nan, n, math.nan)
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    own, least = deviation / math.sqrt(n), floor / math.sqrt(n)
    both = math.hypot(own, shared)
    freedom = min((n - 1) * (both / own) ** 4, MOST_FREEDOM) if own > 0 else MOST_FREEDOM
    # Standard errors with their degrees of freedom. The one that knows least decides.
    errors = [(own, n - 1), (both, freedom), (math.hypot(least, shared), MOST_FREEDOM)]
    level = (1 + confidence) / 2
    half = max(float(special.stdtrit(degrees, level)) * error for error, degrees in errors)
    p = max(2 * float(special.stdtr(degrees, -_ratio(abs(mean), error))) for error, degrees in errors)
    return Interval(mean, mean - half, mean + half, p, n, max(deviation, floor))


def _ratio(size: float, error: float) -> float:
    """`size` in standard errors; infinite without an error, and 0 for a size of 0."""
    if error > 0:
        return size / error
    return math.inf if size else 0.0


def ratio_interval(
    first: ArrayLike,
    second: ArrayLike,
    confidence: float = CONFIDENCE,
    floors: tuple[float, float] = (0.0, 0.0),
) -> Interval:
    """Ratio of two means, mean(first)/mean(second), with Fieller's limits. `first` and `second` [S], paired by seed.

    The limits are every ratio ρ for which the test of "first − ρ·second has mean 0" does not reject (Fieller 1954,
    JRSS B 16:175). The test is that of `mean_interval`: Student's t, and the normal test from the standard deviations
    `floors` that sampling the answers alone gives a single value of each side. The limits are NaN if the mean of
    `second` cannot be told from 0, because every large ratio is possible then. `p` tests "the ratio is 1".
    `deviation` is NaN.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    n = len(first)
    ratio = float(first.mean() / second.mean()) if n and second.mean() else math.nan
    if n < 2:
        return Interval(ratio, math.nan, math.nan, math.nan, n, math.nan)
    level, means = (1 + confidence) / 2, (float(first.mean()), float(second.mean()))
    seen = float(special.stdtrit(n - 1, level)) ** 2 / n * np.cov(first, second)
    least = float(special.ndtri(level)) ** 2 / n * np.diag(np.square(floors))
    limits = [_fieller(*means, covariance) for covariance in (seen, least)]
    low, high = min(limits[0][0], limits[1][0]), max(limits[0][1], limits[1][1])
    if any(math.isnan(limit[0]) for limit in limits):
        low = high = math.nan
    return Interval(ratio, low, high, mean_interval(first - second, floor=math.hypot(*floors)).p, n, math.nan)


def _fieller(first: float, second: float, covariance: np.ndarray) -> tuple[float, float]:
    """The solutions ρ of (first − ρ·second)² = c₁₁ − 2ρ·c₁₂ + ρ²·c₂₂; NaN if the ratios between them are unbounded."""
    square = second**2 - float(covariance[1, 1])
    if square <= 0:
        return math.nan, math.nan
    linear = first * second - float(covariance[0, 1])
    constant = first**2 - float(covariance[0, 0])
    # Only rounding can make the root's argument negative, because the ratio of the means satisfies the inequality.
    width = math.sqrt(max(0.0, linear**2 - square * constant)) / square
    return linear / square - width, linear / square + width


def count_interval(
    first: int, first_trials: int, second: int, second_trials: int, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """Limits and p of a difference of two small rates, first/first_trials − second/second_trials, from exact tests.

    Given their sum, the first of two rare counts is binomial: at equal rates with the share of its trials (Przyborowski
    and Wilenski 1940, Biometrika 31:313). The limits are those of Clopper and Pearson for that share, times the total.
    Without a single success nothing is known of the share, so the limits are those of the rates themselves.
    """
    from scipy.stats import binomtest  # takes longer to import than everything else that needs this module

    total = first + second
    if total == 0:
        most, other = (
            float(binomtest(0, trials).proportion_ci(confidence).high) for trials in (first_trials, second_trials)
        )
        return -other, most, 1.0
    equal = first_trials / (first_trials + second_trials)
    shares = binomtest(first, total).proportion_ci(confidence, method="exact")
    low, high = (total * (share / first_trials - (1 - share) / second_trials) for share in (shares.low, shares.high))
    # Twice the smaller tail, as the limits have it. Other two-sided p values may disagree with the limits.
    tails = [float(binomtest(first, total, equal, alternative=side).pvalue) for side in ("less", "greater")]
    return low, high, min(1.0, 2 * min(tails))


def false_discovery(p: ArrayLike) -> np.ndarray:
    """Adjusted p values [M] of Benjamini and Hochberg (1995, JRSS B 57:289); NaN stays NaN and is no member."""
    p = np.asarray(p, dtype=float)
    known = ~np.isnan(p)
    adjusted = np.full(len(p), math.nan)
    if known.any():
        from scipy.stats import false_discovery_control  # as above

        adjusted[known] = false_discovery_control(p[known])
    return adjusted


def equivalent(interval: Interval, margin: float) -> bool:
    """Whether the whole interval lies within ±margin; False for NaN limits or a NaN margin."""
    return -margin < interval.low and interval.high < margin


def holm(p: ArrayLike) -> np.ndarray:
    """Holm's step-down adjusted p values [M] of p values [M] (Holm 1979, Scand. J. Stat. 6:65).

    NaN stays NaN but still counts as a member: the family was fixed before its results were known.
    """
    p = np.asarray(p, dtype=float)
    adjusted = np.full(len(p), math.nan)
    running = 0.0
    for rank, index in enumerate(np.argsort(p)):  # argsort puts NaN last
        if np.isnan(p[index]):
            break
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = running
    return adjusted


def minimum_detectable_effect(
    deviation: float, seeds: int, power: float = POWER, confidence: float = CONFIDENCE
) -> float:
    """Smallest true mean that a two-sided t test over `seeds` values finds with the given power.

    `deviation` is the standard deviation between seeds, in the unit of the answer. From the noncentral t
    distribution; the far tail (a significant result of the wrong sign) is neglected. NaN below two seeds.
    """
    if seeds < 2:
        return math.nan
    critical = float(special.stdtrit(seeds - 1, (1 + confidence) / 2))
    noncentrality = float(special.nctdtrinc(seeds - 1, 1 - power, critical))
    return noncentrality * deviation / math.sqrt(seeds)


def wilson(successes: float, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a binomial proportion (Wilson 1927); `successes` may be a rounded report's
    fraction times `trials` and need not be whole."""
    z = float(special.ndtri((1 + confidence) / 2))
    rate = successes / trials
    center = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(rate * (1 - rate) / trials + (z / (2 * trials)) ** 2)
    return max(0.0, center - half), min(1.0, center + half)


def two_proportion_z(first: float, first_trials: int, second: float, second_trials: int) -> float:
    """z score of the difference of two independent proportions, unpooled (Wald); inf if both have no variance
    and differ."""
    difference = first - second
    variance = first * (1 - first) / first_trials + second * (1 - second) / second_trials
    if variance == 0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / math.sqrt(variance)


def area(x: ArrayLike, y: ArrayLike, until: float | None = None) -> float:
    """Area under y(x) by trapezoids, divided by the span of x: the mean height, in the unit of y.

    x [T] strictly increasing (optimizer steps, or tokens generated), y [T]. With `until` the curve is cut
    there, y interpolated linearly. ValueError if fewer than two points are left or x does not increase.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(x) < 2 or (np.diff(x) <= 0).any():
        raise ValueError(f"area: x needs two or more strictly increasing values, got {x.tolist()}")
    if until is not None:
        if not x[0] < until <= x[-1]:
            raise ValueError(f"area: until = {until:g} is not in ({x[0]:g}, {x[-1]:g}]")
        before = x < until
        y = np.append(y[before], np.interp(until, x, y))
        x = np.append(x[before], until)
    return float(np.diff(x) @ (y[1:] + y[:-1]) / 2 / (x[-1] - x[0]))


def puzzle_bootstrap(values: ArrayLike, seed: int, draws: int = 4000, confidence: float = CONFIDENCE) -> Interval:
    """Percentile bootstrap of a mean over puzzles. `values` [P], e.g. paired differences of 0/1 results.

    It holds for *one trained model* on more puzzles of this kind, not for another training seed. `p` is NaN.
    """
    values = np.asarray(values, dtype=float)
    # Drawing P puzzles with replacement is drawing multinomial counts of the distinct values.
    distinct, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=draws)
    low, high = np.quantile(drawn @ distinct / len(values), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high), math.nan, len(values), float(values.std()))


def strictest_confidence(members: int) -> float:
    """Confidence 1 − 0.05/m of one comparison among m = `members`: Bonferroni's, and the first step of Holm's.

    Use it where a comparison's place in Holm's order is not known: for the minimum detectable effect, and for the best
    of several. 0 members count as 1.
    """
    return 1 - (1 - CONFIDENCE) / max(members, 1)
