"""The format of a completion: `THINKING</think>`, a newline, `<answer>ANSWER</answer>`, and nothing else."""

import re
from typing import NamedTuple

_PAIR = re.compile(r"<think>[^<]*</think>")


class Completion(NamedTuple):
    """The parts of a completion. The prompt before it has already opened `<think>`."""

    thinking: str
    answer: str | None
    """The text inside `<answer>`, without white space around it; None if there is no valid answer."""
    formatted: bool
    """Whether the whole completion has exactly the right format."""


def split(text: str) -> Completion:
    """Split a completion into its parts; never raises.

    Only what follows the last `</think>` can be the answer. It is valid if exactly one `<answer>` and one `</answer>`
    follow, and no `<think>`.
    """
    thinking, closed, rest = text.rpartition("</think>")
    if not closed:
        return Completion(text, None, False)
    before, opened, after = rest.partition("<answer>")
    inside, ended, behind = after.partition("</answer>")
    if not (opened and ended) or rest.count("<answer>") != 1 or rest.count("</answer>") != 1 or "<think>" in rest:
        return Completion(thinking, None, False)
    formatted = before == "\n" and not behind and _is_one_thought(thinking)
    return Completion(thinking, inside.strip(), formatted)


def _is_one_thought(thinking: str) -> bool:
    """Whether the thinking is closed only once. It may mention tags as the prompt does: `<think> </think>`."""
    # Tags of the answer may stand here, because no text inside the thinking is ever read as an answer. A model that
    # repeats the prompt's words would lose the format reward otherwise, and a long thinking more often than a short one.
    unpaired = _PAIR.sub("", thinking)
    return "<think>" not in unpaired and "</think>" not in unpaired
