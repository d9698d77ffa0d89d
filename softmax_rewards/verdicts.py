"""The rules that decide a claim (`claims.py` lists the claims).

A claim names the arms it needs by their *weighting* (softmax, τ = 0.5), never by an ablation's name, and only
arms trained exactly like the baseline count. Most claims are contrasts: an endpoint of one arm minus another
arm's, or minus its own base model, paired by seed, with a predicted sign.

    supported      the 95 % interval lies wholly on the predicted side (and, where the comparison belongs to
                   the primary family, Holm's p < 0.05)
    contradicted   wholly on the other side, or a success rate's interval inside ±2 points: equivalent
    not resolved   anything else; arms that were not trained; everything, if the baseline learned nothing

A claim of several contrasts is supported if all are, contradicted if one is.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from softmax_rewards.evidence import BASE, ENDPOINTS, LINEAR, Contrast, Endpoint, Evidence, Untested, label
from softmax_rewards.stats import (
    EQUIVALENCE,
    Interval,
    equivalent,
    mean_interval,
    minimum_detectable_effect,
)
from softmax_rewards.tau_rule import CLAIMED_RATIO, SMALLEST_GRID, Fit

SUPPORTED, CONTRADICTED, UNRESOLVED = "supported", "contradicted", "not resolved"
COLUMNS = ["claim", "statement", "verdict", "effect", "low", "high", "seeds", "model", "task", "sentence"]
ALPHA = 0.05
COLD_START = 0.005  # success at or below which a base model counts as too weak to start


@dataclass(frozen=True)
class Finding:
    verdict: str
    interval: Interval
    sentence: str


def decide(
    interval: Interval, sign: int, margin: float | None = None, adjusted: float = math.nan
) -> tuple[str, str]:
    """Verdict and reason for an effect predicted to have `sign`; `adjusted` is Holm's p or NaN."""
    if math.isnan(interval.low):
        return UNRESOLVED, f"{interval.n} seed(s) give no interval"
    if margin is not None and equivalent(interval, margin):
        return CONTRADICTED, f"equivalent: the whole interval is inside ±{100 * margin:g} points"
    low, high = sorted((sign * interval.low, sign * interval.high))
    if low <= 0 <= high:
        return UNRESOLVED, "the interval includes 0"
    if adjusted >= ALPHA:
        return (
            UNRESOLVED,
            f"no longer clear after Holm's correction for all planned arms (p = {adjusted:.2g})",
        )
    return (SUPPORTED, "as claimed") if low > 0 else (CONTRADICTED, "the opposite of the claim")


def _describe(endpoint: Endpoint, interval: Interval) -> str:
    text = f"{endpoint.change(interval.estimate)}{endpoint.unit}"
    if math.isnan(interval.low):
        return text
    low, high = endpoint.change(interval.low), endpoint.change(interval.high)
    return f"{text} (95 % interval {low} to {high}, {interval.n} seeds)"


def _compare(evidence: Evidence, contrast: Contrast) -> tuple[Interval, str]:
    """The paired interval of a contrast and the figures in words."""
    first, second = evidence.pair(contrast)
    interval, endpoint = mean_interval(first - second), ENDPOINTS[contrast.endpoint]
    if not len(first):
        raise Untested(f"a seed that both {label(contrast.arm)} and {label(contrast.against)} have")
    arm = f"{label(contrast.arm)} {endpoint.value(first.mean())}"
    against = f"{label(contrast.against)} {endpoint.value(second.mean())}"
    return interval, f"{endpoint.text}, {arm} against {against}: {_describe(endpoint, interval)}"


def assess(evidence: Evidence, contrast: Contrast) -> Finding:
    """Decide one contrast."""
    interval, words = _compare(evidence, contrast)
    endpoint = ENDPOINTS[contrast.endpoint]
    margin = EQUIVALENCE if contrast.tolerant and endpoint.fraction else None
    verdict, reason = decide(interval, contrast.sign, margin, evidence.adjusted(contrast))
    if verdict == UNRESOLVED and interval.n >= 2:
        effect = minimum_detectable_effect(interval.deviation, interval.n)
        found = f"{endpoint.change(effect).lstrip('+')}{endpoint.unit}"
        reason += f" ({interval.n} seeds find a true difference of {found} four times in five)"
    return Finding(verdict, interval, f"{words}, {reason}")


Rule = Callable[[Evidence], Finding]


def every(*contrasts: Contrast) -> Rule:
    """All contrasts must hold. The row shows the contrast that decides: the first that is contradicted, else
    the first unresolved, else the first."""

    def rule(evidence: Evidence) -> Finding:
        findings = [assess(evidence, contrast) for contrast in contrasts]
        strength = (CONTRADICTED, UNRESOLVED, SUPPORTED)
        deciding = min(findings, key=lambda finding: strength.index(finding.verdict))
        return replace(deciding, sentence="; ".join(finding.sentence for finding in findings))

    return rule


def no_better(contrast: Contrast) -> Rule:
    """The claim is that `arm` gains nothing: supported if the whole interval is below 2 points."""

    def rule(evidence: Evidence) -> Finding:
        interval, words = _compare(evidence, contrast)
        if interval.high < EQUIVALENCE:
            return Finding(SUPPORTED, interval, f"{words}, a gain of 2 points or more is excluded")
        if interval.low > 0:
            return Finding(CONTRADICTED, interval, f"{words}, it is better")
        return Finding(UNRESOLVED, interval, f"{words}, a gain of 2 points is neither excluded nor shown")

    return rule


def best_rates(first: Mapping, second: Mapping) -> Rule:
    """AUC of both arms, each at the learning rate that suits it best (by its mean, on the same seeds)."""

    def rule(evidence: Evidence) -> Finding:
        best = []
        for pattern in (first, second):
            rates = evidence.rates(pattern)
            if len(rates) < 2:
                raise Untested(f"{label(pattern)} at two or more learning rates")
            best.append(max(rates.items(), key=lambda item: evidence.measures.loc[item[1], "auc"].mean()))
        (rate_a, arm_a), (rate_b, arm_b) = best
        difference = (evidence.measures.loc[arm_a, "auc"] - evidence.measures.loc[arm_b, "auc"]).dropna()
        interval = mean_interval(difference)
        verdict, reason = decide(interval, 1, EQUIVALENCE)
        words = f"{label(first)} at rate {rate_a:g} against {label(second)} at rate {rate_b:g}"
        return Finding(verdict, interval, f"{words}: {_describe(ENDPOINTS['auc'], interval)}, {reason}")

    return rule


def _sweep(evidence: Evidence, scheme: str) -> Fit:
    fit = evidence.fits.get(scheme)
    if fit is None or len(fit.taus) < SMALLEST_GRID:
        raise Untested(f"{scheme.replace('_', ' ')} at {SMALLEST_GRID} or more constant τ")
    return fit


def peak_at_half(scheme: str) -> Rule:
    """1/2 lies in the interval of the interior maximum of success over log(τ/range). Effect: τ*/range.

    The parabola is trusted only where the grid agrees: 1/2 must lie on the same side of both the fitted
    interval and the bracket, the two neighbours of the best τ tried, or nothing is resolved.
    """

    def rule(evidence: Evidence) -> Finding:
        fit = _sweep(evidence, scheme)
        interval = Interval(fit.ratio, fit.low, fit.high, math.nan, fit.seeds, math.nan)
        grid = "τ tried: " + ", ".join(f"{tau:g}" for tau in fit.taus)
        if fit.interior:
            fitted = fit.low <= CLAIMED_RATIO <= fit.high
            bracketed = fit.bracket[0] <= CLAIMED_RATIO <= fit.bracket[1]
            verdict = UNRESOLVED if fitted != bracketed else SUPPORTED if fitted else CONTRADICTED
            text = (
                f"mean success over training peaks at τ = {fit.ratio:.2f} × the reward range (95 % interval "
                f"{fit.low:.2f} to {fit.high:.2f}, {fit.seeds} seeds; {grid}), which "
                f"{'contains' if fitted else 'excludes'} 1/2"
            )
            if verdict == UNRESOLVED:
                text += (
                    ", but the neighbours of the best τ tried do not agree, so the fit alone does not decide"
                )
            return Finding(verdict, interval, text)
        if fit.best in (fit.taus[0], fit.taus[-1]) and fit.lead.low > 0:
            text = (
                f"no interior maximum: the best τ is {fit.best:g}, at the edge ({grid}), "
                f"{100 * fit.lead.estimate:.1f} points above the τ nearest to half the range "
                f"({100 * fit.lead.low:+.1f} to {100 * fit.lead.high:+.1f}, widened for choosing the best)"
            )
            return Finding(CONTRADICTED, interval, text)
        return Finding(UNRESOLVED, interval, f"no maximum is reported, for {fit.reason} ({grid})")

    return rule


def falls_with_tau(scheme: str) -> Rule:
    """Success falls along log τ, and a peak at half the range is contradicted. Effect: change of success per
    factor e in τ."""

    def rule(evidence: Evidence) -> Finding:
        slope, peak = _sweep(evidence, scheme).slope, peak_at_half(scheme)(evidence)
        if math.isnan(slope.low):
            return Finding(UNRESOLVED, slope, peak.sentence)
        if slope.high < 0 and peak.verdict == CONTRADICTED:
            verdict = SUPPORTED
        elif slope.low > 0 or peak.verdict == SUPPORTED:
            verdict = CONTRADICTED
        else:
            verdict = UNRESOLVED
        change = _describe(ENDPOINTS["auc"], slope)
        return Finding(verdict, slope, f"a factor e in τ changes mean success by {change}; {peak.sentence}")

    return rule


def cold_start(arm: Mapping) -> Rule:
    """The arm ends above a base model of at most 0.5 % success."""

    def rule(evidence: Evidence) -> Finding:
        if evidence.measures["base"].mean() > COLD_START:
            raise Untested(f"a base model of at most {100 * COLD_START:g} % success")
        return assess(evidence, Contrast(arm, BASE, "final", tolerant=False))

    return rule


def untested(needs: str) -> Rule:
    """A claim whose conditions no single experiment of this pipeline has yet."""

    def rule(evidence: Evidence) -> Finding:
        raise Untested(needs)

    return rule


@dataclass(frozen=True)
class Claim:
    id: str
    statement: str
    rule: Rule
    gated: bool = True  # whether it means nothing unless the baseline learned


def gate(evidence: Evidence) -> tuple[bool, str]:
    """Whether the linear baseline learned (end − base success, interval above 0), and the figures."""
    interval, words = _compare(evidence, Contrast(LINEAR, BASE, "final"))
    return interval.low > 0, words


def judge(claims: Iterable[Claim], evidence: Evidence, model: str, task: str) -> pd.DataFrame:
    """One row a claim, columns COLUMNS, in the order given."""
    try:
        open_, words = gate(evidence)
    except Untested as missing:
        open_, words = False, f"this experiment lacks {missing}"
    nothing = Interval(math.nan, math.nan, math.nan, math.nan, 0, math.nan)
    rows = []
    for claim in claims:
        try:
            finding = claim.rule(evidence)
            sentence = f"{model} on {task}: {finding.sentence}."
            verdict = finding.verdict
            if claim.gated and not open_:
                verdict = UNRESOLVED
                sentence = f"{model} on {task}: the baseline did not learn, so nothing is compared ({words})."
        except Untested as missing:
            finding = Finding(UNRESOLVED, nothing, "")
            verdict, sentence = UNRESOLVED, f"Not tested in this experiment: needs {missing}."
        shown = finding.interval
        figures = (shown.estimate, shown.low, shown.high, shown.n)
        rows.append((claim.id, claim.statement, verdict, *figures, model, task, sentence))
    return pd.DataFrame(rows, columns=COLUMNS)
