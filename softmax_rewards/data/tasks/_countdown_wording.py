"""How Countdown's prompts and searches are worded: `compact` for the embedded model, English for real ones.

The question is that of TinyZero (Pan et al., 2025), word for word.
"""

from collections.abc import Sequence

import numpy as np

from softmax_rewards.data.tasks import _conversation, _searches
from softmax_rewards.data.tasks._expressions import Tree

_QUESTION = (
    "Using the numbers [{numbers}], create an equation that equals {target}. You can use basic arithmetic "
    "operations (+, -, *, /) and each number can only be used once. Show your work in <think> </think> tags. "
    "And return the final answer in <answer> </answer> tags, for example <answer> (1 + 2) / 3 </answer>."
)
_PHRASES = _searches.Phrases(
    right=(". That works!", ", which is {target}. Yes!", ". It works!", ", and that is the target."),
    too_big=(", which is too big.", ", too high.", ", not {target}.", ". That is not {target}."),
    too_small=(", which is too small.", ", too low.", ", not {target}.", ". That is not {target}."),
)


def prompt(numbers: Sequence[int], target: int, template: str) -> str | list[dict[str, str]]:
    """The prompt, which ends by opening `<think>`: text, or messages for `chat`."""
    _conversation.check(template)
    if template == "compact":
        return f"[{','.join(map(str, numbers))}]={target}:<think>"
    return _conversation.prompt(_QUESTION.format(numbers=", ".join(map(str, numbers)), target=target), template)


def completion(
    attempts: Sequence[Sequence[Tree]], target: int, template: str, rng: np.random.Generator | None = None
) -> str:
    """A search as it continues the prompt, answered with the last attempt's expression."""
    return _searches.completion(attempts, target, attempts[-1][0], _PHRASES, template, rng)
