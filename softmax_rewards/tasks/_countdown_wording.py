"""How Countdown's prompts and searches are worded: `compact` for the embedded model, English for real ones.

The question is that of TinyZero (Pan et al., 2025), word for word. A search is a list of attempts, each a list of
steps from the expression down to its value; the last attempt is answered with.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from softmax_rewards.tasks import _conversation, _expressions
from softmax_rewards.tasks._expressions import Tree

TEMPLATES = ("compact", "chat", "base")

_USER = (
    "Using the numbers [{numbers}], create an equation that equals {target}. You can use basic arithmetic "
    "operations (+, -, *, /) and each number can only be used once. Show your work in <think> </think> tags. "
    "And return the final answer in <answer> </answer> tags, for example <answer> (1 + 2) / 3 </answer>."
)


def prompt(numbers: Sequence[int], target: int, template: str) -> str | list[dict[str, str]]:
    """The prompt, which ends by opening `<think>`: text, or for `chat` messages."""
    _conversation.check(template, TEMPLATES)
    if template == "compact":
        return f"[{','.join(map(str, numbers))}]={target}:<think>"
    return _conversation.prompt(_USER.format(numbers=", ".join(map(str, numbers)), target=target), template)


def completion(
    attempts: Sequence[Sequence[Tree]], target: int, template: str, rng: np.random.Generator | None = None
) -> str:
    """A search as it continues the prompt. `rng` chooses among ways to say it in English, without it the first."""
    _conversation.check(template, TEMPLATES)
    compact = template == "compact"
    thinking = _compact(attempts, target) if compact else _english(attempts, target, rng)
    return f"{thinking}</think>\n<answer>{_expressions.text(attempts[-1][0], spaced=not compact)}</answer>"


def _compact(attempts: Sequence[Sequence[Tree]], target: int) -> str:
    return "\n".join(
        "=".join(map(_expressions.text, steps[:-1])) + f"={steps[-1]}{'yes' if steps[-1] == target else 'no'}"
        for steps in attempts
    )


# Each verdict is one that `_equations` reads as a mark, each surrender one that it reads as giving up.
_FIRST = ("Let me try", "First I try", "Start with", "Try")
_NEXT = ("Now try", "Next I try", "Maybe", "Let me try")
_RIGHT = (". That works!", ", which is {target}. Yes!", ". It works!", ", and that is the target.")
_TOO_BIG = (", which is too big.", ", too high.", ", not {target}.", ". That is not {target}.")
_TOO_SMALL = (", which is too small.", ", too low.", ", not {target}.", ". That is not {target}.")
_SURRENDER = ("I give up.", "I cannot find it.", "I will give up here.", "I could not find it, so I give up.")


def _english(attempts: Sequence[Sequence[Tree]], target: int, rng: np.random.Generator | None) -> str:
    def one_of(phrases: Sequence[str]) -> str:
        return phrases[0 if rng is None else rng.integers(len(phrases))].format(target=target)

    lines = []
    for number, steps in enumerate(attempts):
        value: Any = steps[-1]
        worked = [*(_expressions.text(step, spaced=True) for step in steps[:-1]), str(value)]
        verdicts = _RIGHT if value == target else _TOO_BIG if value > target else _TOO_SMALL
        lines.append(f"{one_of(_NEXT if number else _FIRST)} {' = '.join(worked)}{one_of(verdicts)}")
    if value != target:
        lines.append(one_of(_SURRENDER))
    return "\n".join(lines)
