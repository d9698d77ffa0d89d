"""The wording of Countdown's prompts and searches: `compact` for the embedded model, English for real models.

The question is TinyZero's (Pan et al., 2025), word for word.
"""

from collections.abc import Sequence

import numpy as np

from softmax_rewards.data.tasks import _conversation, _searches
from softmax_rewards.data.tasks._expressions import Step

ALPHABET: tuple[str, ...] = (
    *"0123456789+-*/()=[],:\n",
    *("<think>", "</think>", "<answer>", "</answer>", "no", "yes"),
    # One token for each number of two digits: a small model learns to calculate with them much sooner than by digits.
    *map(str, range(10, 100)),
)
"""The tokens of compact prompts, traces and reference answers."""

_QUESTION = (
    "Using the numbers [{numbers}], create an equation that equals {target}. You can use basic arithmetic "
    "operations (+, -, *, /) and each number can only be used once. Show your work in <think> </think> tags. "
    "And return the final answer in <answer> </answer> tags, for example <answer> (1 + 2) / 3 </answer>."
)
# Every verdict restates the target directly behind the value. A small model compares two neighboring numbers reliably,
# and does not learn to compare the value with the target in the prompt.
_PHRASES = _searches.Phrases(
    right=(
        ", target {target}: yes.",
        ", target {target}: yes, that works!",
        ". The target is {target}: yes!",
        ", and the target is {target}. It works!",
    ),
    too_big=(
        ", target {target}: no.",
        ", target {target}: no, too big.",
        ". The target is {target}: too high.",
        ", but the target is {target}. That is too big.",
    ),
    too_small=(
        ", target {target}: no.",
        ", target {target}: no, too small.",
        ". The target is {target}: too low.",
        ", but the target is {target}. That is too small.",
    ),
    compact_target=":{target}",
)


def prompt(numbers: Sequence[int], target: int, template: str) -> str | list[dict[str, str]]:
    """The prompt: messages for `chat`, text otherwise. It ends by opening `<think>`."""
    _conversation.check(template)
    if template == "compact":
        return f"[{','.join(map(str, numbers))}]={target}:<think>"
    return _conversation.prompt(_QUESTION.format(numbers=", ".join(map(str, numbers)), target=target), template)


def completion(
    attempts: Sequence[Sequence[Step]], target: int, template: str, rng: np.random.Generator | None = None
) -> str:
    """A search as a completion of the prompt. Its answer is the last attempt's expression."""
    return _searches.completion(attempts, target, attempts[-1][0], _PHRASES, template, rng)
