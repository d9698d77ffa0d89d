"""Rules: functions that decide a claim from an experiment's evidence. `judgment.py` applies them.

Most rules test contrasts. A contrast is an endpoint of one ablation minus that of another ablation or of its own base
model. The two are paired by seed, and the claim predicts the sign of the difference.

    supported      the whole 95 % interval has the predicted sign; a comparison of the primary family also needs
                   Holm's p < 0.05
    contradicted   the whole interval has the other sign; or, for a success rate, it lies inside ±2 points (equivalent)
    not resolved   anything else

A rule with several contrasts supports its claim if all contrasts do, and contradicts it if one contrast does.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from softmax_rewards.common import stats
from softmax_rewards.common.stats import EQUIVALENCE, Interval, equivalent, mean_interval, minimum_detectable_effect
from softmax_rewards.verdicts.evidence import ENDPOINTS, Contrast, Endpoint, Evidence, Untested, label
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED

ALPHA = 0.05
COLD_START = 0.005  # a base model with at most this success counts as too weak to start
HALF_FORMATTED = (0.35, 0.65)  # a base model with this share of well-formed answers has half learned the format


@dataclass(frozen=True)
class Finding:
    """A verdict, its reason in words, and the interval of `measure` that decided it."""

    verdict: str
    interval: Interval
    sentence: str
    measure: Endpoint
    close: bool = False  # contradicted because the difference is too small, not because it has the other sign


def decide(interval: Interval, sign: int, margin: float | None = None, adjusted: float = math.nan) -> tuple[str, str]:
    """Verdict and reason of an effect that is predicted to have `sign`. `adjusted` is Holm's p or NaN."""
    if math.isnan(interval.low):
        return UNRESOLVED, f"{interval.n} seed(s) give no interval"
    # Equivalence comes before the sign: a difference can exclude 0 and still be too small to matter.
    if margin is not None and equivalent(interval, margin):
        return CONTRADICTED, f"equivalent: the whole interval is inside ±{100 * margin:g} points"
    low, high = sorted((sign * interval.low, sign * interval.high))
    if low <= 0 <= high:
        return UNRESOLVED, "the interval includes 0"
    if adjusted >= ALPHA:
        return (
            UNRESOLVED,
            f"no longer clear after Holm's correction for all planned ablations (p = {adjusted:.2g})",
        )
    return (SUPPORTED, "as claimed") if low > 0 else (CONTRADICTED, "the opposite of the claim")


def _close(verdict: str, interval: Interval, sign: int) -> bool:
    """Whether a contradicted effect does not clearly have the other sign."""
    return verdict == CONTRADICTED and max(sign * interval.low, sign * interval.high) >= 0


def _describe(endpoint: Endpoint, interval: Interval) -> str:
    text = endpoint.change(interval.estimate)
    if math.isnan(interval.low):
        return text
    low, high = endpoint.number(interval.low), endpoint.number(interval.high)
    return f"{text} (95 % interval {low} to {high}, {interval.n} seeds)"


def _compare(evidence: Evidence, contrast: Contrast) -> tuple[Interval, str]:
    """The paired interval of a contrast, and its figures in words."""
    first, second = evidence.pair(contrast)
    interval, endpoint = mean_interval(first - second), ENDPOINTS[contrast.endpoint]
    if not len(first):
        raise Untested(f"a seed that both {label(contrast.ablation)} and {label(contrast.against)} have")
    ablation = f"{label(contrast.ablation, contrast.training)} {endpoint.value(first.mean())}"
    against = f"{label(contrast.against, contrast.training)} {endpoint.value(second.mean())}"
    return interval, f"{endpoint.text}, {ablation} against {against}: {_describe(endpoint, interval)}"


def assess(evidence: Evidence, contrast: Contrast) -> Finding:
    """Decide one contrast."""
    interval, words = _compare(evidence, contrast)
    endpoint = ENDPOINTS[contrast.endpoint]
    margin = EQUIVALENCE if contrast.tolerant and endpoint.fraction else None
    adjusted = evidence.adjusted(contrast)
    verdict, reason = decide(interval, contrast.sign, margin, adjusted)
    if verdict == UNRESOLVED and interval.n >= 2:
        # A planned comparison must also pass Holm, so its detectable effect is stated for that level.
        level = stats.strictest_confidence(1 if math.isnan(adjusted) else len(evidence.p_holm))
        effect = minimum_detectable_effect(interval.deviation, interval.n, confidence=level)
        detectable = endpoint.change(effect).lstrip("+")
        reason += f" ({interval.n} seeds find a true difference of {detectable} four times in five)"
    close = _close(verdict, interval, contrast.sign)
    return Finding(verdict, interval, f"{words}, {reason}", endpoint, close)


Rule = Callable[[Evidence], Finding]


def every(*contrasts: Contrast) -> Rule:
    """All contrasts must hold. The finding is that of the contrast that decides: the first contradicted one, else the
    first unresolved one, else the first."""

    def rule(evidence: Evidence) -> Finding:
        findings = [assess(evidence, contrast) for contrast in contrasts]
        strength = (CONTRADICTED, UNRESOLVED, SUPPORTED)
        deciding = min(findings, key=lambda finding: strength.index(finding.verdict))
        return replace(deciding, sentence="; ".join(finding.sentence for finding in findings))

    return rule


def no_better(contrast: Contrast) -> Rule:
    """The ablation gains nothing: supported if the whole interval is below 2 points."""

    def rule(evidence: Evidence) -> Finding:
        interval, words = _compare(evidence, contrast)
        # In this order, as in the plan: a gain that excludes 0 but stays below 2 points counts as no gain.
        if interval.high < EQUIVALENCE:
            verdict, reason = SUPPORTED, "a gain of 2 points or more is excluded"
        elif interval.low > 0:
            verdict, reason = CONTRADICTED, "it is better"
        else:
            verdict, reason = UNRESOLVED, "a gain of 2 points is neither excluded nor shown"
        return Finding(verdict, interval, f"{words}, {reason}", ENDPOINTS[contrast.endpoint])

    return rule


def best_rates(first: Mapping[str, Any], second: Mapping[str, Any]) -> Rule:
    """The AUC of `first` is higher than that of `second`, each at its own best learning rate by mean AUC."""

    def rule(evidence: Evidence) -> Finding:
        best = []
        for pattern in (first, second):
            rates = evidence.rates(pattern)
            if len(rates) < 2:
                raise Untested(f"{label(pattern)} at two or more learning rates")
            best.append(max(rates.items(), key=lambda item: evidence.measures.loc[item[1], "auc"].mean()))
        (rate_a, ablation_a), (rate_b, ablation_b) = best
        difference = (evidence.measures.loc[ablation_a, "auc"] - evidence.measures.loc[ablation_b, "auc"]).dropna()
        interval = mean_interval(difference)
        verdict, reason = decide(interval, 1, EQUIVALENCE)
        words = f"{label(first)} at rate {rate_a:g} against {label(second)} at rate {rate_b:g}"
        endpoint = ENDPOINTS["auc"]
        sentence = f"{words}: {_describe(endpoint, interval)}, {reason}"
        return Finding(verdict, interval, sentence, endpoint, _close(verdict, interval, 1))

    return rule


def cold_start(*contrasts: Contrast) -> Rule:
    """`every`, for a base model with at most 0.5 % success. Raises Untested for a stronger one."""

    def rule(evidence: Evidence) -> Finding:
        if evidence.measures["base"].mean() > COLD_START:
            raise Untested(f"a base model of at most {100 * COLD_START:g} % success")
        return every(*contrasts)(evidence)

    return rule


def half_formatted(*contrasts: Contrast) -> Rule:
    """`every`, for a base model with about half of its answers in the right format. Raises Untested for others."""

    def rule(evidence: Evidence) -> Finding:
        low, high = HALF_FORMATTED
        if not low <= evidence.measures["base_format"].mean() <= high:
            raise Untested(f"a base model with {100 * low:g} to {100 * high:g} % of its answers in the right format")
        return every(*contrasts)(evidence)

    return rule
