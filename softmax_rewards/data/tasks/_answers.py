"""The format of a completion: `THINKING</think>`, a newline, `<answer>ANSWER</answer>`, and nothing else."""

from typing import NamedTuple


class Completion(NamedTuple):
    """The parts of a completion. The prompt before it has already opened `<think>`."""

    thinking: str
    answer: str | None
    """The text inside `<answer>`; None if there is no valid answer."""
    formatted: bool
    """Whether the whole completion has exactly the right format."""


def split(text: str) -> Completion:
    """Split a completion into its parts; never raises.

    An answer is valid if the completion has exactly one `<answer>` and one `</answer>`, both behind the last
    `</think>`, and no `<think>` follows that `</think>`.
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
