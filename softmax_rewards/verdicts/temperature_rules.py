"""Rules about the temperature at which success is highest."""

import math

from softmax_rewards.common.stats import Interval
from softmax_rewards.verdicts.evidence import ENDPOINTS, PEAK, Evidence, Untested
from softmax_rewards.verdicts.rules import Finding, Rule, describe
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED
from softmax_rewards.weighting.study.tau_rule import CLAIMED_RATIO, SMALLEST_GRID, Fit


def _sweep(evidence: Evidence, scheme: str) -> Fit:
    fit = evidence.fits.get(scheme)
    if fit is None or len(fit.taus) < SMALLEST_GRID:
        raise Untested(f"{scheme.replace('_', ' ')} at {SMALLEST_GRID} or more constant τ")
    return fit


def peak_at_half(scheme: str) -> Rule:
    """Success has a maximum over log(τ/range), and its interval contains 1/2. The effect is the best τ/range."""

    def rule(evidence: Evidence) -> Finding:
        fit = _sweep(evidence, scheme)
        interval = Interval(fit.ratio, fit.low, fit.high, math.nan, fit.seeds, math.nan)
        grid = "τ tried: " + ", ".join(f"{tau:g}" for tau in fit.taus)
        if fit.interior:
            fitted = fit.low <= CLAIMED_RATIO <= fit.high
            # A parabola can fit badly. The grid must agree: is 1/2 between the neighbors of the best τ tried?
            bracketed = fit.bracket[0] <= CLAIMED_RATIO <= fit.bracket[1]
            verdict = UNRESOLVED if fitted != bracketed else SUPPORTED if fitted else CONTRADICTED
            text = (
                f"mean success over training peaks at τ = {fit.ratio:.2f} × the reward range (95 % interval "
                f"{fit.low:.2f} to {fit.high:.2f}, {fit.seeds} seeds; {grid}), which "
                f"{'contains' if fitted else 'excludes'} 1/2"
            )
            if verdict == UNRESOLVED:
                text += ", but the neighbors of the best τ tried do not agree, so the fit alone does not decide"
            return Finding(verdict, interval, text, PEAK)
        # Without a maximum inside the grid, an edge that is clearly better than half the range excludes the claim.
        if fit.best in (fit.taus[0], fit.taus[-1]) and fit.lead.low > 0:
            text = (
                f"no interior maximum: the best τ is {fit.best:g}, at the edge ({grid}), "
                f"{100 * fit.lead.estimate:.1f} points above the τ nearest to half the range "
                f"({100 * fit.lead.low:+.1f} to {100 * fit.lead.high:+.1f}, widened for choosing the best)"
            )
            return Finding(CONTRADICTED, interval, text, PEAK)
        return Finding(UNRESOLVED, interval, f"no maximum is reported because {fit.reason} ({grid})", PEAK)

    return rule


def falls_with_tau(scheme: str) -> Rule:
    """Success falls with log τ, and a peak at half the range is contradicted. The effect is the change of success when
    τ grows by a factor e."""

    def rule(evidence: Evidence) -> Finding:
        # A curve with a peak can also have a falling line, so the peak must be excluded.
        slope, peak = _sweep(evidence, scheme).slope, peak_at_half(scheme)(evidence)
        if math.isnan(slope.low):
            return Finding(UNRESOLVED, slope, peak.sentence, ENDPOINTS["auc"])
        if slope.high < 0 and peak.verdict == CONTRADICTED:
            verdict = SUPPORTED
        elif slope.low > 0 or peak.verdict == SUPPORTED:
            verdict = CONTRADICTED
        else:
            verdict = UNRESOLVED
        change = describe(ENDPOINTS["auc"], slope)
        text = f"a factor e in τ changes mean success by {change}; {peak.sentence}"
        return Finding(verdict, slope, text, ENDPOINTS["auc"])

    return rule
