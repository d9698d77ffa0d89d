"""Paired comparisons: the difference of two ablations by seed, its outcome, and the ratio of their gains."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from softmax_rewards.common import stats
from softmax_rewards.common.stats import Interval, mean_interval
from softmax_rewards.verdicts import mixed
from softmax_rewards.verdicts.evidence import ENDPOINTS, EQUIVALENT_SHARE, RARE, Contrast, Evidence

ALPHA = 0.05
BETTER, WORSE, HIGHER, LOWER, EQUIVALENT, UNCLEAR = "better", "worse", "higher", "lower", "equivalent", "not resolved"


@dataclass(frozen=True)
class Comparison:
    """An endpoint of one ablation minus that of the other side."""

    interval: Interval
    first: float  # mean over seeds
    second: float
    margin: float = math.nan  # a difference inside ± this is too small to matter; NaN if no such margin is known
    ratio: Interval | None = None  # gain over the base model, first over second; None without gains
    adjusted: float = math.nan  # Holm's p if the comparison is in the primary family
    exact: bool = False  # few answers are right, so limits and p are at least those of an exact test of counts
    success: bool = True  # whether more is better

    @property
    def outcome(self) -> str:
        """One of the outcomes that `rules` describes."""
        low, high = self.interval.low, self.interval.high
        if math.isnan(low):
            return UNCLEAR
        if not low <= 0 <= high and not self.adjusted >= ALPHA:
            names = (BETTER, WORSE) if self.success else (HIGHER, LOWER)
            return names[0] if low > 0 else names[1]
        return EQUIVALENT if stats.equivalent(self.interval, self.margin) else UNCLEAR


def compare(evidence: Evidence, contrast: Contrast) -> Comparison:
    """The comparison of a contrast. Raises Untested."""
    first, second = evidence.pair(contrast)
    name, base = contrast.endpoint, ENDPOINTS[contrast.endpoint].base
    values, ratio = first[name].to_numpy(float), None
    if isinstance(contrast.against, float):
        others = np.full(len(values), contrast.against)
        interval, exact = mean_interval(values - others, floor=noise(first, name)), False
    elif isinstance(contrast.against, str):
        others = first[base].to_numpy(float)
        interval, exact = _above_base(first, name)
    else:
        others = second[name].to_numpy(float)
        interval, exact = difference(values - others, first, second, name)
        # A ratio of a few answers says nothing.
        ratio = None if exact else gain_ratio(values, others, first, second, name)
    return Comparison(
        interval,
        float(values.mean()),
        float(others.mean()),
        margin(evidence, name) if contrast.tolerant else math.nan,
        ratio,
        evidence.adjusted(contrast),
        exact,
        ENDPOINTS[name].success,
    )


def difference(values: np.ndarray, first: pd.DataFrame, second: pd.DataFrame, endpoint: str) -> tuple[Interval, bool]:
    """The interval of paired differences `values` [S] of two ablations, and whether it had to be an exact one.

    `first` and `second` are the rows of both in the table of `measures.measure`, for the same seeds.
    """
    if _several_bases(first):
        return mixed.interval(values, first["base_model"]), False
    floor = math.hypot(noise(first, endpoint), noise(second, endpoint))
    return _interval(values, floor, 0.0, _counts(first, endpoint) + _counts(second, endpoint))


def between(evidence: Evidence, ablation: str, against: str, endpoint: str) -> Interval:
    """`endpoint` of an ablation minus that of another, paired by the seeds that both have."""
    first, second = evidence.measures.loc[ablation], evidence.measures.loc[against]
    values = (first[endpoint] - second[endpoint]).dropna()
    return difference(values.to_numpy(), first.loc[values.index], second.loc[values.index], endpoint)[0]


def gain_ratio(
    values: np.ndarray, others: np.ndarray, first: pd.DataFrame, second: pd.DataFrame, endpoint: str
) -> Interval | None:
    """Gain over the base model, `values` [S] over `others` [S], with Fieller's limits; None if it is no success rate.

    `first` and `second` are as for `difference`.
    """
    if not ENDPOINTS[endpoint].success or ENDPOINTS[endpoint].base not in first:
        return None
    base = first[ENDPOINTS[endpoint].base].to_numpy(float)
    floors = (noise(first, endpoint), noise(second, endpoint))
    return stats.ratio_interval(values - base, others - base, floors=floors)


def gain(evidence: Evidence, ablation: str, endpoint: str) -> Interval:
    """`endpoint` of an ablation minus that of its base model."""
    return _above_base(evidence.measures.loc[ablation], endpoint)[0]


def margin(evidence: Evidence, endpoint: str) -> float:
    """The largest difference that is too small to matter: a fifth of the baseline's own gain, or of `predicted_gap`.

    NaN for an endpoint that is no success rate, and if the baseline did not clearly gain.
    """
    if not ENDPOINTS[endpoint].success:
        return math.nan
    if evidence.predicted_gap is not None:
        return EQUIVALENT_SHARE * evidence.predicted_gap
    own = gain(evidence, evidence.baseline, endpoint)
    return EQUIVALENT_SHARE * own.estimate if own.low > 0 else math.nan


def noise(rows: pd.DataFrame, endpoint: str) -> float:
    """Standard deviation that sampling the answers alone gives one seed's value; 0 if that is not known."""
    column = f"{endpoint}_noise"
    return float(np.sqrt((rows[column] ** 2).mean())) if column in rows else 0.0


def _several_bases(rows: pd.DataFrame) -> bool:
    """Whether the runs start from several base models. Then the base model is the unit, and not the seed."""
    return "base_model" in rows and rows["base_model"].nunique() > 1


def _above_base(rows: pd.DataFrame, endpoint: str) -> tuple[Interval, bool]:
    """The interval of an ablation minus its base model, and whether it had to be an exact one."""
    base = ENDPOINTS[endpoint].base
    rows = rows.dropna(subset=[endpoint, base])
    if _several_bases(rows):
        return mixed.interval(rows[endpoint] - rows[base], rows["base_model"]), False
    values, counts = (rows[endpoint] - rows[base]).to_numpy(float), _counts(rows, endpoint) + _base_counts(rows, base)
    return _interval(values, noise(rows, endpoint), _base_error(rows, base), counts)


def _base_error(rows: pd.DataFrame, base: str) -> float:
    """Standard error of the base model's value in column `base`; 0 if it is not known."""
    error = rows.get(f"{base}_error", pd.Series(dtype=float)).dropna()
    return 0.0 if error.empty else float(error.iloc[0])


def _counts(rows: pd.DataFrame, endpoint: str) -> list[int]:
    """Right answers and answers behind the values of an ablation; empty if they are not known."""
    if f"{endpoint}_right" not in rows:
        return []
    return [round(rows[f"{endpoint}_{part}"].sum()) for part in ("right", "answers")]


def _base_counts(rows: pd.DataFrame, base: str) -> list[int]:
    """The same of the base model, which is evaluated once and not once per seed."""
    known = base == "base" and "base_right" in rows and len(rows)
    return [round(rows[f"base_{part}"].iloc[0]) for part in ("right", "answers")] if known else []


def _interval(values: np.ndarray, floor: float, shared: float, counts: list[int]) -> tuple[Interval, bool]:
    """The interval of differences `values` [S], and whether so few answers are right that an exact test had a part.

    Then the limits are the wider ones of the exact test and of the t test between seeds. The exact test takes all
    answers as independent, but a single seed that found something does not speak for other seeds.

    floor, shared  as for `mean_interval`; the exact test replaces both
    counts         right answers and answers of both sides, or fewer numbers if they are not known
    """
    usual = mean_interval(values, floor=floor, shared=shared)
    if len(counts) < 4 or usual.n < 2:
        return usual, False
    right, answers = counts[0] + counts[2], counts[1] + counts[3]
    # Right answers that each side would have if both were equally good.
    if right * min(counts[1], counts[3]) / answers >= RARE:
        return usual, False
    between, (low, high, p) = mean_interval(values), stats.count_interval(*counts)
    return usual._replace(low=min(low, between.low), high=max(high, between.high), p=max(p, between.p)), True
