"""Rules: functions that decide a claim from an experiment's evidence. `judgment.py` applies them.

Most rules test contrasts. A contrast is an endpoint of one ablation minus that of another ablation, of its own base
model or of a fixed value. The two are paired by seed, and the claim predicts the sign of the difference. A difference
has one of four outcomes, and the sign comes first:

    better, worse   the whole 95 % interval lies on one side of 0; a comparison of the primary family also needs Holm's
                    p < 0.05. An endpoint that is not a success rate is called higher or lower
    equivalent      the whole interval of a success rate lies inside ± a fifth of the baseline's own gain
    not resolved    anything else

A claim is supported if the outcome has the predicted sign, and contradicted if it has the other sign or is equivalent.
A rule with several contrasts supports its claim if all contrasts do, and contradicts it if one contrast does.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from softmax_rewards.common import stats
from softmax_rewards.common.stats import Interval, mean_interval, minimum_detectable_effect
from softmax_rewards.verdicts import paired
from softmax_rewards.verdicts.evidence import ENDPOINTS, Contrast, Endpoint, Evidence, Untested
from softmax_rewards.verdicts.paired import Comparison
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED

COLD_START = 0.005  # a base model with at most this success counts as too weak to start
WARM = 0.02  # success that a cured cold start must reach
HALF_FORMATTED = (0.35, 0.65)  # a base model with this share of well-formed answers has half learned the format
SAME_COUNT = 0.99  # correlation from which two counts are one


@dataclass(frozen=True)
class Finding:
    """A verdict, its reason in words, and the interval of `measure` that decided it."""

    verdict: str
    interval: Interval
    sentence: str
    measure: Endpoint
    close: bool = False  # contradicted because the difference is too small, not because it has the other sign
    outcome: str = ""  # of the contrast that decided, see above; empty for other rules
    ratio: Interval | None = None  # gain of the ablation over that of the other side, with Fieller's limits


Rule = Callable[[Evidence], Finding]


def decide(compared: Comparison, sign: int) -> tuple[str, str]:
    """Verdict and reason of a comparison whose effect is predicted to have `sign`."""
    interval, outcome = compared.interval, compared.outcome
    if outcome == paired.EQUIVALENT:
        return CONTRADICTED, f"equivalent: the whole interval is inside ±{100 * compared.margin:.1f} points"
    if outcome != paired.UNCLEAR:
        as_claimed = interval.estimate * sign > 0
        return (SUPPORTED, "as claimed") if as_claimed else (CONTRADICTED, "the opposite of the claim")
    if math.isnan(interval.low):
        return UNRESOLVED, f"{interval.n} seed(s) give no interval"
    if interval.low <= 0 <= interval.high:
        return UNRESOLVED, "the interval includes 0"
    corrected = f"p = {compared.adjusted:.2g}"
    return UNRESOLVED, f"no longer clear after Holm's correction for all planned ablations ({corrected})"


def describe(endpoint: Endpoint, interval: Interval) -> str:
    """An interval in words: "+1.6 points (95 % interval +0.4 to +2.8, 5 seeds)"."""
    text = endpoint.change(interval.estimate)
    if math.isnan(interval.low):
        return text
    low, high = endpoint.number(interval.low), endpoint.number(interval.high)
    return f"{text} (95 % interval {low} to {high}, {interval.n} seeds)"


def _words(contrast: Contrast, compared: Comparison) -> str:
    """The figures of a comparison in words."""
    endpoint, (first, second) = ENDPOINTS[contrast.endpoint], contrast.sides()
    against = second if isinstance(contrast.against, float) else f"{second} {endpoint.value(compared.second)}"
    text = f"{endpoint.text}, {first} {endpoint.value(compared.first)} against {against}: "
    text += describe(endpoint, compared.interval)
    ratio = compared.ratio
    if ratio is not None and not math.isnan(ratio.low):
        text += f", {ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] times the gain of {second}"
    return text + (", widened to that of an exact test because few answers are right" if compared.exact else "")


def assess(evidence: Evidence, contrast: Contrast) -> Finding:
    """Decide one contrast."""
    compared = paired.compare(evidence, contrast)
    interval, endpoint = compared.interval, ENDPOINTS[contrast.endpoint]
    verdict, reason = decide(compared, contrast.sign)
    if verdict == UNRESOLVED and interval.n >= 2 and not compared.exact:
        # A planned comparison must also pass Holm, so its detectable effect is stated for that level.
        level = stats.strictest_confidence(1 if math.isnan(compared.adjusted) else len(evidence.p_holm))
        effect = minimum_detectable_effect(interval.deviation, interval.n, confidence=level)
        detectable = endpoint.change(effect).lstrip("+")
        reason += f" ({interval.n} seeds find a true difference of {detectable} four times in five)"
    close = compared.outcome == paired.EQUIVALENT
    sentence = f"{_words(contrast, compared)}, {reason}"
    return Finding(verdict, interval, sentence, endpoint, close, compared.outcome, compared.ratio)


def every(*contrasts: Contrast) -> Rule:
    """All contrasts must hold. The finding is that of the contrast that decides: the first contradicted one, else the
    first unresolved one, else the one with the largest p."""

    def rule(evidence: Evidence) -> Finding:
        findings = [assess(evidence, contrast) for contrast in contrasts]
        strength = (CONTRADICTED, UNRESOLVED, SUPPORTED)
        weakest = min(strength.index(finding.verdict) for finding in findings)
        level = [finding for finding in findings if strength.index(finding.verdict) == weakest]
        # All must hold, so a supported claim is as doubtful as its most doubtful contrast.
        deciding = max(level, key=lambda finding: finding.interval.p) if strength[weakest] == SUPPORTED else level[0]
        return replace(deciding, sentence="; ".join(finding.sentence for finding in findings))

    return rule


def learned() -> Rule:
    """The gate: the baseline or a planned ablation is better than the base model, with Holm's correction over them."""

    def rule(evidence: Evidence) -> Finding:
        endpoint = ENDPOINTS[evidence.gate]
        planned = list(dict.fromkeys([evidence.baseline, *evidence.p_holm]))
        trained = [name for name in planned if name in evidence.measures.index.unique("ablation")]
        gains = {name: paired.gain(evidence, name, evidence.gate) for name in trained}
        if not any(gain.n for gain in gains.values()):
            raise Untested(f"{endpoint.text} of the runs and of their base model")
        # A planned ablation without a run still counts in Holm's correction.
        adjusted = dict(
            zip(planned, stats.holm([gains[name].p if name in gains else math.nan for name in planned]), strict=True)
        )
        rows = [(name, gain, adjusted[name]) for name, gain in gains.items()]
        clear = [row for row in rows if row[2] < paired.ALPHA and row[1].estimate > 0]
        name, gain, p = min(clear or rows, key=lambda row: (row[2], -row[1].estimate))
        words = f"{endpoint.text} against the base model, {name}: {describe(endpoint, gain)}"
        if clear:
            also = ", ".join(other for other, *_ in clear if other != name)
            more = f"; also better than the base model: {also}" if also else ""
            return Finding(SUPPORTED, gain, f"{words}, Holm's p = {p:.2g}{more}", endpoint, outcome=paired.BETTER)
        lost = all(row[1].high < 0 for row in rows)
        verdict, reason = (CONTRADICTED, "all are worse") if lost else (UNRESOLVED, "none is clearly better")
        return Finding(verdict, gain, f"{words}, and of {len(rows)} planned ablations {reason}", endpoint)

    return rule


def no_better(contrast: Contrast) -> Rule:
    """The ablation gains nothing: supported if it is worse, or if the whole interval is below the margin."""

    def rule(evidence: Evidence) -> Finding:
        compared = paired.compare(evidence, contrast)
        interval = compared.interval
        if interval.low > 0:
            verdict, reason = CONTRADICTED, "it is better"
        elif interval.high < 0 or interval.high < compared.margin:
            verdict, reason = SUPPORTED, "a gain that matters is excluded"
        else:
            verdict, reason = UNRESOLVED, "a gain that matters is neither excluded nor shown"
        sentence = f"{_words(contrast, compared)}, {reason}"
        endpoint = ENDPOINTS[contrast.endpoint]
        return Finding(verdict, interval, sentence, endpoint, outcome=compared.outcome, ratio=compared.ratio)

    return rule


def cold_start(*contrasts: Contrast) -> Rule:
    """`every`, for a base model with at most 0.5 % success. Raises Untested for a stronger one."""

    def rule(evidence: Evidence) -> Finding:
        if evidence.measures.loc[evidence.baseline, "base"].mean() > COLD_START:
            raise Untested(f"a base model of at most {100 * COLD_START:g} % success")
        return every(*contrasts)(evidence)

    return rule


def half_formatted(*contrasts: Contrast) -> Rule:
    """`every`, for a base model with about half of its answers in the right format. Raises Untested for others."""

    def rule(evidence: Evidence) -> Finding:
        low, high = HALF_FORMATTED
        if not low <= evidence.measures.loc[evidence.baseline, "base_format"].mean() <= high:
            raise Untested(f"a base model with {100 * low:g} to {100 * high:g} % of its answers in the right format")
        return every(*contrasts)(evidence)

    return rule


def own_count(other: str, contrast: Contrast) -> Rule:
    """`every`, for a count that is not the same as the endpoint `other` in this task. Raises Untested if it is."""

    def rule(evidence: Evidence) -> Finding:
        one, two = (evidence.measures[name].to_numpy(float) for name in (contrast.endpoint, other))
        vary = len(one) > 1 and one.std() > 0 and two.std() > 0
        if np.array_equal(one, two) or (vary and np.corrcoef(one, two)[0, 1] > SAME_COUNT):
            names = f"{ENDPOINTS[contrast.endpoint].text} and {ENDPOINTS[other].text}"
            raise Untested(f"a task in which {names} are two counts; here both rise and fall together")
        return every(contrast)(evidence)

    return rule


def interaction(contrast: Contrast, conditions: tuple[str, str]) -> Rule:
    """The contrast is larger in the first condition than in the second, paired by seed. Raises Untested elsewhere."""

    def rule(evidence: Evidence) -> Finding:
        first, second = conditions
        if evidence.condition != first:
            raise Untested(f"the conditions {first} and {second}; it is judged in {first}")
        rows = [evidence.within(name).pair(contrast) for name in conditions]
        gaps = [own[contrast.endpoint] - other[contrast.endpoint] for own, other in rows]
        seeds = gaps[0].index.intersection(gaps[1].index)
        if seeds.empty:
            raise Untested(f"a seed that was trained in both conditions, {first} and {second}")
        floor = math.hypot(*(paired.noise(part, contrast.endpoint) for pair in rows for part in pair))
        interval = mean_interval((gaps[0] - gaps[1]).loc[seeds], floor=floor)
        endpoint = ENDPOINTS[contrast.endpoint]
        means = [endpoint.change(float(gap.loc[seeds].mean())) for gap in gaps]
        compared = Comparison(interval, math.nan, math.nan)
        verdict, reason = decide(compared, contrast.sign)
        words = f"{endpoint.text}, {' minus '.join(contrast.sides())}: {means[0]} in {first}, {means[1]} in {second}"
        sentence = f"{words}, a difference of {describe(endpoint, interval)}, {reason}"
        return Finding(verdict, interval, sentence, endpoint, outcome=compared.outcome)

    return rule
