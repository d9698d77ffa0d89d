"""Mixed model: paired differences of an experiment with several base models, and an interval that speaks of bases.

Seeds that start from one base model share its puzzles and its luck, so they are no independent units. The model is

    d[b, s] = μ + u[b] + e[b, s],  u[b] ~ N(0, between²), e[b, s] ~ N(0, within²),

with a difference d for seed s of base model b: one ablation minus another one, or minus the base. REML estimates the
two variances (`statsmodels.MixedLM`). The estimate of μ is the mean of the bases' means m[b], each weighted by
w[b] = 1/(between² + within²/seeds of b). Its standard error is that of Hartung and Knapp (2001, Stat. Med. 20:3875),

    error² = Σ w[b] (m[b] − μ)² / ((bases − 1) Σ w[b]),

and the limits come from Student's t with bases − 1 degrees of freedom, because few bases say little about their spread.
If every base has as many seeds, all weights are equal. The interval is then exactly the t interval of the bases' means,
whatever the variances are, and so are the limits by Satterthwaite's degrees of freedom.

Special cases:

* REML may find `between` = 0, when bases differ less than their seeds let expect. The weights are then the numbers of
  seeds. The error still comes from the bases' means, so the interval stays valid.
* One base with a single seed needs no care, as long as another one has several.
* If no base has two seeds, the two variances cannot be told apart. `between` is then the standard deviation of the
  differences, `within` is NaN, and all weights are equal.
* If all seeds of a base agree in every base, `within` is 0 and all weights are equal.
* With one base nothing is known of other bases: limits, p and `between` are NaN.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from softmax_rewards.common.stats import CONFIDENCE, Interval
from softmax_rewards.verdicts.finished import FinishedRun

ENDPOINTS = ("auc", "final")
COLUMNS = ["ablation", "endpoint", "delta", "low", "high", "p", "between", "within", "bases", "seeds"]


@dataclass(frozen=True)
class Fit:
    """The mean with its limits, `n` counting bases, and the standard deviations between and within bases."""

    interval: Interval
    between: float
    within: float


def interval(differences: ArrayLike, bases: ArrayLike) -> Interval:
    """Interval of the mean difference, over base models.

    Args:
        differences: [S], one per seed.
        bases: [S], which base model each seed starts from: any values that tell them apart.

    `n` is the number of bases. `deviation` is the spread of single bases that the interval's width stands for; with
    equally many seeds per base it is the standard deviation of their means.
    """
    return fit(differences, bases).interval


def fit(differences: ArrayLike, bases: ArrayLike) -> Fit:
    """`interval` and the two standard deviations. Raises ValueError unless each difference has a base."""
    values = np.asarray(differences, dtype=float)
    names, codes = np.unique(np.asarray(bases), return_inverse=True)
    if len(codes) != len(values):
        raise ValueError(f"bases: {len(codes)} values; allowed: one per difference ({len(values)})")
    if len(names) < 2:
        within = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        mean = float(values.mean()) if len(values) else math.nan
        return Fit(Interval(mean, math.nan, math.nan, math.nan, len(names), math.nan), math.nan, within)
    seeds = np.bincount(codes)
    means = np.bincount(codes, values) / seeds
    between, within = _variances(values, codes, means, seeds)
    # Only the ratio of the two variances counts here. Bases that all agree within have equal weights.
    weights = 1 / (between / within + 1 / seeds) if within > 0 else np.ones(len(names))
    return Fit(_weighted(means, weights / weights.sum()), math.sqrt(between), math.sqrt(within))


def table(runs: Sequence[FinishedRun], measures: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """One row per ablation and endpoint: its difference to the baseline over bases; columns COLUMNS.

    `measures` has one row per run, index (ablation, seed). Runs are paired by seed. `seeds` counts the pairs. The table
    is empty if all runs start from one base model.
    """
    bases = {run.seed: run.record["base"] for run in runs}
    rows = []
    ablations = [name for name in dict.fromkeys(run.ablation for run in runs) if name != baseline]
    for ablation in ablations if len(set(bases.values())) > 1 else []:
        for endpoint in ENDPOINTS:
            differences = (measures.loc[ablation, endpoint] - measures.loc[baseline, endpoint]).dropna()
            found = fit(differences, [bases[seed] for seed in differences.index])
            limits = found.interval
            row = (limits.estimate, limits.low, limits.high, limits.p, found.between, found.within, limits.n)
            rows.append((ablation, endpoint, *row, len(differences)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _weighted(means: np.ndarray, weights: np.ndarray) -> Interval:
    """The interval of a weighted mean of the bases' `means` [B]; `weights` [B] add up to 1."""
    count = len(means)
    mean = float(weights @ means)
    error = math.sqrt(weights @ (means - mean) ** 2 / (count - 1))
    half = float(special.stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * error
    t = abs(mean) / error if error > 0 else math.inf if mean else 0.0
    p = 2 * float(special.stdtr(count - 1, -t))
    return Interval(mean, mean - half, mean + half, p, count, error * math.sqrt(count))


def _variances(values: np.ndarray, codes: np.ndarray, means: np.ndarray, seeds: np.ndarray) -> tuple[float, float]:
    """The variances between and within bases, by REML where both can be told."""
    if seeds.max() < 2:
        return float(means.var(ddof=1)), math.nan
    scale = float(values.std())
    # Rounding alone makes a spread of this size.
    if float(np.abs(values - means[codes]).max()) <= 1e-12 * float(np.abs(values).max()):
        return float(means.var(ddof=1)), 0.0
    from statsmodels.regression.mixed_linear_model import MixedLM  # takes seconds to import

    with warnings.catch_warnings():
        # A variance between bases of 0 lies on the boundary of what is possible. statsmodels warns of it.
        warnings.simplefilter("ignore")
        # The optimizer's tolerances are absolute, so the values are brought to a common size.
        model = MixedLM((values - values.mean()) / scale, np.ones((len(values), 1)), codes)
        # The gradient vanishes near the boundary, where methods that use it stop too early.
        estimated = model.fit(reml=True, method="powell", xtol=1e-10, ftol=1e-14)
    between, within = float(estimated.cov_re[0, 0]), float(estimated.scale)
    if between < 1e-6 * within:  # as near to 0 as the optimizer comes
        return 0.0, float(values.var(ddof=1))
    return scale**2 * between, scale**2 * within
