"""The temperature rule: where success peaks along log(τ / reward range), and how certain that is.

No shape is assumed except a single peak, plateaus included. `unimodal` tests where the peak may be. A maximum inside
the grid is reported only if success is shown to rise with τ, and to fall with τ (each at 5 %), and if one peak explains
both. So a plateau that falls, or a line, is called a maximum in at most 5 % of experiments. The interval of the peak
joins all places that the tests do not reject. It always reaches to temperatures that were tried, because nothing is
known about success between two of them. A peak outside the grid is never reported.

The tests assume that runs at every τ have about the same spread after the seed's own level is removed.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from softmax_rewards.common import stats
from softmax_rewards.common.stats import CONFIDENCE, Interval
from softmax_rewards.weighting.study import seed_effects, unimodal

SMALLEST_GRID = 4
CLAIMED_RATIO = 0.5
ALPHA = 1 - CONFIDENCE
UNKNOWN = Interval(math.nan, math.nan, math.nan, math.nan, 0, math.nan)


@dataclass(frozen=True)
class Fit:
    """Success along a grid of temperatures. Ratios are τ/range, or NaN if unknown."""

    taus: tuple[float, ...]
    seeds: int  # that have two or more of the temperatures
    reason: str  # why there is no interior maximum, else ""
    edges: tuple[float, float] = (math.nan,) * 2  # ratios of the smallest and the largest τ
    means: tuple[float, ...] = ()  # success at each τ for the average seed
    coefficients: tuple[float, float, float] = (math.nan,) * 3  # a, b, c of a parabola to draw; it decides nothing
    interior: bool = False  # a maximum inside the grid is shown
    ratio: float = math.nan  # of the interior maximum: the τ of the grid where the nearest curve with one peak has it
    low: float = math.nan
    high: float = math.nan
    region: tuple[float, float] = (math.nan,) * 2  # where the peak may be; 0 or inf: below or above the whole grid
    p_rise: float = math.nan  # of "success nowhere rises with τ"
    p_fall: float = math.nan  # of "success nowhere falls with τ"
    slope: Interval = UNKNOWN  # of a straight line through success over log(τ/range)
    best: float = math.nan  # the τ of the grid with the highest mean
    lead: Interval = UNKNOWN  # success at `best` − success at the τ nearest to range/2
    half_gain: Interval = UNKNOWN  # success at the τ nearest to range/2 − success at the smallest τ

    def may_peak_at(self, ratio: float) -> bool:
        """Whether the region holds `ratio`. False if the region is unknown.

        A limit inside the grid does not belong to the region: a peak exactly there would be a peak in the rejected gap.
        """
        slack = 1 + 1e-9  # a limit of 0.55/1.1 must count as 1/2
        return self.region[0] * slack < ratio and ratio * slack < self.region[1]


def fit(taus: ArrayLike, success: ArrayLike, reward_range: float) -> Fit:
    """Fit success [S, M] (seeds × temperatures, NaN for a missing run) on the distinct `taus` [M].

    Too little data gives NaN and a reason.
    """
    taus, success = np.asarray(taus, dtype=float), np.asarray(success, dtype=float)
    order = np.argsort(taus)
    taus, success = taus[order], success[:, order]
    tried = tuple(taus.tolist())
    if len(taus) < SMALLEST_GRID:
        reason = f"the grid is too small: {len(taus)} temperatures, {SMALLEST_GRID} are needed"
        return Fit(tried, len(success), reason)
    try:
        layout = seed_effects.estimate(success)
    except ValueError as error:
        return Fit(tried, len(success), str(error))
    ratios = taus / reward_range
    x, means = np.log(ratios), layout.means
    best, near = int(means.argmax()), int(np.abs(x - math.log(CLAIMED_RATIO)).argmin())
    c, b, a = np.polyfit(x, means, 2, w=np.sqrt(layout.runs))
    p = unimodal.p_values(layout)
    reason = _reason(p, tried, best)
    region = _region(p, ratios)
    place = math.nan if reason else float(ratios[_peak(layout, p)])
    unit = np.eye(len(taus))
    centered = x - x.mean()
    return Fit(
        taus=tried,
        seeds=layout.seeds,
        reason=reason,
        edges=(float(ratios[0]), float(ratios[-1])),
        means=tuple(means.tolist()),
        coefficients=(float(a), float(b), float(c)),
        interior=not reason,
        ratio=place,
        low=math.nan if reason else region[0],
        high=math.nan if reason else region[1],
        region=region,
        p_rise=float(p[0]),
        p_fall=float(p[-1]),
        slope=layout.contrast(centered / (centered @ centered)),
        best=tried[best],
        # `best` was chosen among M temperatures by its success, so its lead needs Bonferroni's confidence.
        lead=layout.contrast(unit[best] - unit[near], stats.strictest_confidence(len(taus) - 1)),
        half_gain=layout.contrast(unit[near] - unit[0]),
    )


def _reason(p: np.ndarray, taus: tuple[float, ...], best: int) -> str:
    """Why no interior maximum is shown, or "". `p` [M + 1] as from `unimodal.p_values`."""
    edge = f"the best τ, {taus[best]:g}, is at the edge of the grid, and " if best in (0, len(taus) - 1) else ""
    missing = [name for name, value in (("rise", p[0]), ("fall", p[-1])) if value > ALPHA]
    if missing:
        return f"{edge}no {' and no '.join(missing)} of success with τ is shown"
    return "" if (p > ALPHA).any() else "success has more than one peak"


def _region(p: np.ndarray, ratios: np.ndarray) -> tuple[float, float]:
    """The ratios from the first to the last gap between temperatures where the peak may be."""
    gaps = np.flatnonzero(p > ALPHA)
    if not len(gaps):
        return math.nan, math.nan
    limits = [0.0, *ratios.tolist(), math.inf]
    return limits[gaps[0]], limits[gaps[-1] + 1]


def _peak(layout: seed_effects.Layout, p: np.ndarray) -> int:
    """Index of the temperature where the nearest curve with one peak has it, among the places not rejected."""
    possible = np.where(p > ALPHA, unimodal.distances(layout.means[None], layout.runs)[0], math.inf)
    gap = int(possible.argmin())
    # The peak lies between the temperatures gap − 1 and gap, so it is the better one of the two.
    around = [index for index in (gap - 1, gap) if 0 <= index < len(layout.means)]
    return max(around, key=lambda index: layout.means[index])
