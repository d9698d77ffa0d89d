"""Judges answers to Countdown puzzles, and whether a thinking ends without claiming success."""

import re
from collections.abc import Sequence

from softmax_rewards.data.tasks import _equations, _expressions, _marks
from softmax_rewards.data.tasks._equations import Equation


def right(expression: str | None, numbers: Sequence[int], target: int) -> _expressions.Tree | None:
    """The tree of `expression` if it uses each of `numbers` once and equals `target`, otherwise None."""
    tree = None if expression is None else _expressions.parse(expression)
    if tree is None or sorted(_expressions.leaves(tree)) != sorted(numbers):
        return None
    try:
        return tree if _expressions.value(tree) == target else None
    except ZeroDivisionError:
        return None


def gave_up(thinking: str, equations: Sequence[Equation], expression: str | None, target: int) -> bool:
    """Whether the thinking, with these `equations`, ends its search without claiming success.

    It does if its end says so, or if there is an answer and the thinking does not claim that it reaches the target. An
    equation claims success if the thinking calls it right, or if its value is the target and the thinking does not call
    it wrong. The last equation with the answer's expression decides. If the answer is written nowhere, because it was
    found in several steps, any equation with the target as value may claim success, or the words at the end.
    """
    if _equations.gives_up(thinking):
        return True
    if expression is None:
        return False
    of_the_answer = _of(equations, expression)
    if of_the_answer:
        last = of_the_answer[-1]
        return not (last.mark is True or _hits(last, target))
    return not (any(_hits(equation, target) for equation in equations) or _marks.ends_right(thinking))


def _hits(equation: Equation, target: int) -> bool:
    return equation.mark is not False and _marks.same_number(equation.claimed, target)


def _of(equations: Sequence[Equation], expression: str) -> list[Equation]:
    """The equations whose left side is `expression`; if there is none, those that differ by order and grouping only."""
    bare = expression.replace(" ", "")
    if same := [item for item in equations if item.written.replace(" ", "") == bare]:
        return same
    form, numbers = _form(expression), _numbers(expression)
    # Most equations have other numbers, which is much faster to see.
    return [item for item in equations if _numbers(item.written) == numbers and _form(item.written) == form]


def _numbers(expression: str) -> list[str]:
    return sorted(re.findall("[0-9]+", expression))


def _form(expression: str) -> str:
    tree = _expressions.parse(expression)
    return expression.replace(" ", "") if tree is None else _expressions.canonical(tree)
