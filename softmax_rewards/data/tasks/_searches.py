"""Writes a search as a completion: compact for the embedded model, in English for real models.

A search is a list of attempts. An attempt is a list of steps, from an expression down to its value. The answer comes
from the last attempt.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from softmax_rewards.data.tasks import _conversation, _expressions
from softmax_rewards.data.tasks._expressions import Step


class Phrases(NamedTuple):
    """The English phrases of a search. `{target}` in a phrase is replaced by the target.

    `_equations` must read each verdict as a mark, and each surrender as giving up.
    """

    right: tuple[str, ...]
    too_big: tuple[str, ...]
    too_small: tuple[str, ...]
    compact_target: str = ""
    """Between the value and the mark of a compact attempt."""
    first: tuple[str, ...] = ("Let me try", "First I try", "Start with", "Try")
    next: tuple[str, ...] = ("Now try", "Next I try", "Maybe", "Let me try")
    surrender: tuple[str, ...] = (
        "I give up.",
        "I cannot find it.",
        "I will give up here.",
        "I could not find it, so I give up.",
    )


def completion(
    attempts: Sequence[Sequence[Step]],
    target: int,
    answer: Step,
    phrases: Phrases,
    template: str,
    rng: np.random.Generator | None = None,
) -> str:
    """A search for `target` as a completion of the prompt. `rng` chooses the phrases; without it the first is used."""
    _conversation.check(template)
    compact = template == "compact"
    thinking = _compact(attempts, target, phrases) if compact else _english(attempts, target, phrases, rng)
    return f"{thinking}</think>\n<answer>{_expressions.text(answer, spaced=not compact)}</answer>"


def _compact(attempts: Sequence[Sequence[Step]], target: int, phrases: Phrases) -> str:
    restated = phrases.compact_target.format(target=target)
    return "\n".join(
        "=".join(map(_expressions.text, steps[:-1])) + f"={steps[-1]}{restated}{'yes' if steps[-1] == target else 'no'}"
        for steps in attempts
    )


def _english(attempts: Sequence[Sequence[Step]], target: int, phrases: Phrases, rng: np.random.Generator | None) -> str:
    def one_of(ways: Sequence[str]) -> str:
        return ways[0 if rng is None else int(rng.integers(len(ways)))].format(target=target)

    lines = []
    for number, steps in enumerate(attempts):
        value: Any = steps[-1]
        worked = [*(_expressions.text(step, spaced=True) for step in steps[:-1]), str(value)]
        verdicts = phrases.right if value == target else phrases.too_big if value > target else phrases.too_small
        lines.append(f"{one_of(phrases.next if number else phrases.first)} {' = '.join(worked)}{one_of(verdicts)}")
    if value != target:
        lines.append(one_of(phrases.surrender))
    return "\n".join(lines)
