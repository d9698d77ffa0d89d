"""The format of a completion: `THINKING</think>`, a newline, `<answer>ANSWER</answer>`, and nothing else."""

from typing import NamedTuple


class Completion(NamedTuple):
    """A completion taken apart; the prompt before it has already opened `<think>`."""

    thinking: str
    answer: str | None
    """The text inside `<answer>`, None where there is no answer that counts."""
    formatted: bool
    """Whether the whole has exactly the right format."""


def split(text: str) -> Completion:
    """Take a completion apart; never raises.

    An answer counts where there is one `<answer>` and one `</answer>` in the completion, after the thinking
    was closed for good.
    """
    thinking, closed, rest = text.rpartition("</think>")
    if not closed:
        return Completion(text, None, False)
    before, opened, after = rest.partition("<answer>")
    inside, ended, behind = after.partition("</answer>")
    if not (opened and ended) or text.count("<answer>") != 1 or text.count("</answer>") != 1:
        return Completion(thinking, None, False)
    if "<think>" in rest:
        return Completion(thinking, None, False)
    formatted = before == "\n" and not behind and "<think>" not in thinking and "</think>" not in thinking
    return Completion(thinking, inside.strip(" \n"), formatted)
