"""Rules for the claims about the best temperature. They read the fit of `weighting/study/tau_rule.py`.

The shape of the curve decides, by tests that assume no formula: whether success rises with τ, whether it falls, and
where its peak may be.
"""

import math

from softmax_rewards.common.stats import Interval
from softmax_rewards.verdicts import paired
from softmax_rewards.verdicts.evidence import ENDPOINTS, PEAK, Evidence, Untested
from softmax_rewards.verdicts.rules import Finding, Rule, describe
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED
from softmax_rewards.weighting.study.tau_rule import ALPHA, CLAIMED_RATIO, SMALLEST_GRID, Fit


def peak_at_half(scheme: str) -> Rule:
    """Success peaks inside the grid, at about half the range. The effect is the best τ/range.

    Supported if a maximum inside the grid is shown, and its interval contains 1/2 and neither edge of the grid.
    Contradicted if the peak cannot be at 1/2, wherever it is.
    """

    def rule(evidence: Evidence) -> Finding:
        fit = _sweep(evidence, scheme)
        grid = "τ tried: " + ", ".join(f"{tau:g}" for tau in fit.taus)
        interval = Interval(fit.ratio, fit.low, fit.high, math.nan, fit.seeds, math.nan)
        place = f"so the best τ is {_place(fit)} ({fit.seeds} seeds; {grid})"
        shown = f"a maximum of mean success over training is shown, {place}"
        if math.isnan(fit.region[0]):
            return Finding(UNRESOLVED, interval, f"no maximum is reported because {fit.reason} ({grid})", PEAK)
        if not fit.may_peak_at(CLAIMED_RATIO):
            text = shown if fit.interior else f"no interior maximum: {fit.reason}, {place}"
            return Finding(CONTRADICTED, interval, f"{text}, which excludes 1/2", PEAK)
        if not fit.interior:
            return Finding(UNRESOLVED, interval, f"no maximum is reported because {fit.reason} ({grid})", PEAK)
        if _touches_edge(fit):
            # The interval says too little to name a place, so it is not handed on.
            unknown = interval._replace(low=math.nan, high=math.nan)
            text = f"{shown}, which contains 1/2 but reaches to the edge of the grid"
            return Finding(UNRESOLVED, unknown, text, PEAK)
        return Finding(SUPPORTED, interval, f"{shown}, which contains 1/2", PEAK)

    return rule


def falls_with_tau(scheme: str) -> Rule:
    """Success falls with τ over the grid. The effect is the change of success when τ grows by a factor e.

    Supported if a line through success over log τ falls, no rise is shown between any temperatures, and success at half
    the range is not above that at the smallest τ by more than the margin. Contradicted if a rise is shown.
    """

    def rule(evidence: Evidence) -> Finding:
        fit, endpoint = _sweep(evidence, scheme), ENDPOINTS["auc"]
        slope, gain = fit.slope, fit.half_gain
        if math.isnan(fit.p_rise):
            return Finding(UNRESOLVED, slope, f"the shape is not known because {fit.reason}", endpoint)
        rises = fit.p_rise <= ALPHA
        if rises:
            verdict = CONTRADICTED
        elif slope.high < 0 and (gain.high < 0 or gain.high < paired.margin(evidence, "auc")):
            verdict = SUPPORTED
        else:
            verdict = UNRESOLVED
        text = (
            f"a factor e in τ changes mean success by {describe(endpoint, slope)}; "
            f"{'a rise' if rises else 'no rise'} with τ is shown (p = {fit.p_rise:.2g}); the τ nearest to half the "
            f"range differs from the smallest τ by {describe(endpoint, gain)}"
        )
        return Finding(verdict, slope, text, endpoint)

    return rule


def _sweep(evidence: Evidence, scheme: str) -> Fit:
    """The fit of `scheme`. Raises Untested if too few temperatures were trained."""
    fit = evidence.fits.get(scheme)
    if fit is None or len(fit.taus) < SMALLEST_GRID:
        raise Untested(f"{scheme.replace('_', ' ')} at {SMALLEST_GRID} or more constant τ")
    return fit


def _place(fit: Fit) -> str:
    """The region of the peak in words."""
    low, high = fit.region
    if low == 0:
        return f"below {high:.2f} × the reward range (95 % limit)"
    if math.isinf(high):
        return f"above {low:.2f} × the reward range (95 % limit)"
    return f"between {low:.2f} and {high:.2f} × the reward range (95 % limits)"


def _touches_edge(fit: Fit) -> bool:
    """Whether the interval of an interior maximum reaches to the smallest or the largest τ of the grid."""
    return fit.low <= fit.edges[0] or fit.edges[1] <= fit.high
