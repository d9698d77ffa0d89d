"""The names of the three verdicts, and sentences that explain a verdict to a newcomer without statistics."""

import math
import re
from dataclasses import dataclass, replace

from softmax_rewards.common.stats import Interval
from softmax_rewards.verdicts.evidence import PEAK, Endpoint

SUPPORTED, CONTRADICTED, UNRESOLVED = "supported", "contradicted", "not resolved"
CLOSED = "Not resolved. No planned weighting clearly improved the model, so there is nothing to compare."
UNABLE = "Not resolved. The base model cannot search, so nothing can be said about how training changes its search."
UNTESTED = "Not tested in this experiment."


@dataclass(frozen=True)
class Words:
    """The outcomes of a claim in words: clauses without a full stop at the end.

    `{size}` in `yes`, `no` or `same` is replaced by the measured number. A clause without it names no number.
    """

    about: str  # what is compared or asked; begins the sentence of a claim that is not resolved
    yes: str  # the claim holds
    no: str  # the claim is contradicted
    same: str = ""  # the claim is contradicted because both sides are equally good; if empty, `no` is used


def signed(value: float, form: str = "+.1f") -> str:
    """A number with the minus as it is printed; by default with its sign and one decimal: "+1.6", "−0.7"."""
    return format(value, form).replace("-", "−")


def better(first: str, second: str) -> Words:
    """The outcomes of "`first` learns better than `second`"."""
    # `first` may be the name of a user's folder, which may contain braces. `plain` formats every clause except `about`.
    name = first.replace("{", "{{").replace("}", "}}")
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
    """The verdict in one or two short sentences.

    close  whether the claim is contradicted only because the difference is too small to matter
    """
    if verdict == SUPPORTED:
        return f"Yes. {words.yes.format(size=_size(interval, measure))}."
    if verdict == CONTRADICTED and close and words.same:
        return f"No. {words.same.format(size=_within(interval, measure))}."
    if verdict == CONTRADICTED:
        return f"No. {words.no.format(size=_size(interval, measure))}."
    return f"Not resolved. {words.about}: {_open(interval, measure)}."


def clause(sentence: str) -> str:
    """A sentence of `plain` without the word of the verdict in front of it."""
    return re.sub(r"^(Yes|No|Not resolved)\. ", "", sentence)


def _size(interval: Interval, measure: Endpoint) -> str:
    """The measured number as the end of a clause: ": about 1 right answer in 100 fewer"."""
    if measure is PEAK:
        # The estimate is NaN if the best temperature is at the edge of the grid, because the maximum may lie outside.
        edge = math.isnan(interval.estimate)
        return ", at the edge of the temperatures tried" if edge else f", at {interval.estimate:.2f} of the range"
    if not measure.fraction:
        return f": a difference of {_signed(measure, interval.estimate)}"
    return f": about {_count(measure, interval.estimate)} {'more' if interval.estimate > 0 else 'fewer'}"


def _within(interval: Interval, measure: Endpoint) -> str:
    """Why both sides count as equal, as the end of a clause."""
    return f": the difference is too small to matter (measured: {_signed(measure, interval.estimate)})"


def _open(interval: Interval, measure: Endpoint) -> str:
    """Why the claim is not resolved."""
    if math.isnan(interval.low):
        if measure is PEAK:
            return "these runs show no clear maximum"
        return f"{interval.n} seed{' is' if interval.n == 1 else 's are'} not enough to tell the effect from chance"
    if interval.low <= 0 <= interval.high:
        limits = f"{_number(measure, interval.low)} to {_signed(measure, interval.high)}"
        return f"with these seeds the difference could be anything from {limits}"
    # The interval excludes 0, but another condition of the rule, such as Holm's correction, is not met.
    return f"{_signed(measure, interval.estimate)} was measured, but that alone does not decide the claim"


def _count(measure: Endpoint, fraction: float) -> str:
    """A size without its sign: "1 right answer in 100", "0.9 right answers in 100"."""
    number = _number(measure, abs(fraction)).removeprefix("+").removesuffix(".0")
    return f"{number} {measure.counted}{'' if number == '1' else 's'} in 100"


def _signed(measure: Endpoint, difference: float) -> str:
    """A difference with sign and unit: "+1.6 right answers in 100", "−0.0321 nats per token"."""
    unit = f"{measure.counted}s in 100" if measure.fraction else measure.unit
    return f"{_number(measure, difference)} {unit}".strip()


def _number(measure: Endpoint, difference: float) -> str:
    """A signed difference without its unit. Fractions are multiplied by 100."""
    # One decimal would round a small difference to 0, so it gets two.
    tiny = measure.fraction and abs(100 * difference) < 0.05
    text = f"{100 * difference:+.2f}" if tiny else measure.number(difference)
    return text.replace("-", "−")
