"""The three verdicts, and each verdict on a claim as a sentence for a newcomer, without statistics."""

import math
from dataclasses import dataclass, replace

from softmax_rewards.common.stats import EQUIVALENCE, Interval
from softmax_rewards.verdicts.evidence import PEAK, Endpoint

SUPPORTED, CONTRADICTED, UNRESOLVED = "supported", "contradicted", "not resolved"
CLOSED = "Not resolved. GRPO did not clearly improve the model, so nothing can be compared with it."
UNTESTED = "Not tested in this experiment."


@dataclass(frozen=True)
class Words:
    """What a claim's outcomes mean, as clauses without a final full stop.

    `{size}` in a clause is replaced by the measured number. A clause without it names no number.
    """

    about: str  # what is compared or asked; stands before an open result
    yes: str  # the claim holds
    no: str  # the claim is contradicted
    same: str = ""  # contradicted because both sides are equally good; default: `no`


def better(first: str, second: str) -> Words:
    """The outcomes of "`first` learns better than `second`"."""
    name = first.replace("{", "{{").replace("}", "}}")  # the name of somebody's folder may contain braces
    return Words(
        f"{first} against {second}",
        f"{name} did better than {second}{{size}}",
        f"{name} did worse than {second}{{size}}",
        f"{name} did as well as {second}{{size}}",
    )


def worse(first: str, second: str) -> Words:
    """The outcomes of "`first` learns worse than `second`"."""
    words = better(first, second)
    return replace(words, yes=words.no, no=words.yes)


def plain(words: Words, verdict: str, interval: Interval, measure: Endpoint, close: bool = False) -> str:
    """One or two short sentences. `close`: the claim is contradicted because the difference is too small to matter."""
    if verdict == SUPPORTED:
        return f"Yes. {words.yes.format(size=_size(interval, measure))}."
    if verdict == CONTRADICTED and close and words.same:
        return f"No. {words.same.format(size=_within(interval, measure))}."
    if verdict == CONTRADICTED:
        return f"No. {words.no.format(size=_size(interval, measure))}."
    return f"Not resolved. {words.about}: {_open(interval, measure)}."


def _size(interval: Interval, measure: Endpoint) -> str:
    """The measured number as the end of a clause: ": about 1 right answer in 100 fewer"."""
    if measure is PEAK:
        # A maximum at the edge of the grid is not estimated.
        edge = math.isnan(interval.estimate)
        return ", at the edge of the temperatures tried" if edge else f", at {interval.estimate:.2f} of the range"
    if not measure.fraction:
        return f": a difference of {_signed(measure, interval.estimate)}"
    return f": about {_count(measure, interval.estimate)} {'more' if interval.estimate > 0 else 'fewer'}"


def _within(interval: Interval, measure: Endpoint) -> str:
    margin = f"{100 * EQUIVALENCE:g} {measure.counted}s in 100"
    return f": the difference is below {margin} (measured: {_number(measure, interval.estimate)})"


def _open(interval: Interval, measure: Endpoint) -> str:
    if math.isnan(interval.low):
        if measure is PEAK:
            return "these runs show no clear maximum"
        return f"{interval.n} seed{'' if interval.n == 1 else 's'} cannot show how much chance decides"
    if measure is PEAK:
        return f"it could be anything from {interval.low:.2f} to {interval.high:.2f} of the reward range"
    if interval.low <= 0 <= interval.high:
        limits = f"{_number(measure, interval.low)} to {_signed(measure, interval.high)}"
        return f"with these seeds the difference could be anything from {limits}"
    # The interval alone would decide. Another condition of the rule, such as Holm's correction, does not agree.
    return f"{_signed(measure, interval.estimate)} was measured, but that alone does not decide the claim"


def _count(measure: Endpoint, fraction: float) -> str:
    """ "1 right answer in 100", "0.9 right answers in 100"."""
    number = _number(measure, abs(fraction)).removeprefix("+").removesuffix(".0")
    return f"{number} {measure.counted}{'' if number == '1' else 's'} in 100"


def _signed(measure: Endpoint, difference: float) -> str:
    unit = f"{measure.counted}s in 100" if measure.fraction else measure.unit
    return f"{_number(measure, difference)} {unit}".strip()


def _number(measure: Endpoint, difference: float) -> str:
    # One decimal of a point would show a small difference as 0.
    tiny = measure.fraction and abs(100 * difference) < 0.05
    text = f"{100 * difference:+.2f}" if tiny else measure.number(difference)
    return text.replace("-", "−")
