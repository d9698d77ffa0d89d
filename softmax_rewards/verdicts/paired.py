"""Paired comparisons: the difference of two ablations by seed, its outcome, and the ratio of their gains."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from softmax_rewards.common import stats
from softmax_rewards.common.stats import Interval, mean_interval
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
    exact: bool = False  # limits and p are those of an exact test of counts
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
        interval, exact = mean_interval(values - others, floor=_noise(first, name)), False
    elif isinstance(contrast.against, str):
        others = first[base].to_numpy(float)
        interval, exact = _above_base(first, name)
    else:
        others = second[name].to_numpy(float)
        interval, exact = difference(values - others, first, second, name)
        ratio = gain_ratio(values, others, first, name)
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
    """The interval of paired differences `values` [S] of two ablations, and whether an exact test gave its limits.

    `first` and `second` are the rows of both in the table of `measures.measure`, for the same seeds.
    """
    interval = mean_interval(values, floor=math.hypot(_noise(first, endpoint), _noise(second, endpoint)))
    return _exact_if_rare(interval, _counts(first, endpoint) + _counts(second, endpoint))


def gain_ratio(first: np.ndarray, second: np.ndarray, rows: pd.DataFrame, endpoint: str) -> Interval | None:
    """Gain over the base model, first [S] over second [S], with Fieller's limits; None if it is no success rate."""
    if not ENDPOINTS[endpoint].success or ENDPOINTS[endpoint].base not in rows:
        return None
    base = rows[ENDPOINTS[endpoint].base].to_numpy(float)
    return stats.ratio_interval(first - base, second - base)


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


def _above_base(rows: pd.DataFrame, endpoint: str) -> tuple[Interval, bool]:
    """The interval of an ablation minus its base model, and whether an exact test gave its limits."""
    values = rows[endpoint] - rows[ENDPOINTS[endpoint].base]
    interval = mean_interval(values, floor=_noise(rows, endpoint), shared=_base_error(rows, endpoint))
    return _exact_if_rare(interval, _counts(rows, endpoint) + _base_counts(rows, endpoint))


def _noise(rows: pd.DataFrame, endpoint: str) -> float:
    """Standard deviation that sampling the answers alone gives one seed's value; 0 if that is not known."""
    column = f"{endpoint}_noise"
    return float(np.sqrt((rows[column] ** 2).mean())) if column in rows else 0.0


def _base_error(rows: pd.DataFrame, endpoint: str) -> float:
    """Standard error of the base model's success; 0 for another endpoint, and if it is not known."""
    known = ENDPOINTS[endpoint].base == "base" and "base_error" in rows
    return float(rows["base_error"].iloc[0]) if known else 0.0


def _counts(rows: pd.DataFrame, endpoint: str) -> list[int]:
    """Right answers and answers behind the values of an ablation; empty if they are not known."""
    if f"{endpoint}_right" not in rows:
        return []
    return [int(rows[f"{endpoint}_{part}"].sum()) for part in ("right", "answers")]


def _base_counts(rows: pd.DataFrame, endpoint: str) -> list[int]:
    """The same of the base model, which is evaluated once and not once per seed."""
    known = ENDPOINTS[endpoint].base == "base" and "base_right" in rows
    return [int(rows[f"base_{part}"].iloc[0]) for part in ("right", "answers")] if known else []


def _exact_if_rare(interval: Interval, counts: list[int]) -> tuple[Interval, bool]:
    """The interval with exact limits and p, if so few answers are right that a t test would be wrong.

    counts  right answers and answers of both sides, or fewer numbers if they are not known
    """
    if len(counts) < 4 or interval.n < 2:
        return interval, False
    right, answers = counts[0] + counts[2], counts[1] + counts[3]
    # Right answers that each side would have if both were equally good.
    if right * min(counts[1], counts[3]) / answers >= RARE:
        return interval, False
    low, high, p = stats.count_interval(*counts)
    return interval._replace(low=low, high=high, p=p), True
