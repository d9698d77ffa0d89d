"""Finds equations in free text, such as `3+5*7=3+35=38:22no`, `3 + 5 * 7 is 38, which is too big` or `**38 × 2 = 76** ✓`.

An equation is an expression and its value. The steps between them may be written too. Markdown, LaTeX and Unicode are
read as well. Between expression and value stands `=`, `≈`, an arrow, a comment sign or a verb (is, equals, gives …). In a
table, the value may stand in the next cell.

The *mark* of an equation says whether the text itself calls it right or wrong. The mark is `yes` or `no` directly behind
the value, or behind the value, a colon and the target (`38:22no`). Without either, `_marks` reads the next 80 characters,
up to the next `=` or equation.

Everything here takes linear time on any text.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from softmax_rewards.data.tasks import Attempt, _expressions, _marks
from softmax_rewards.data.tasks._plain_text import is_compact, plain

WINDOW = 80
"""A mark stands within so many characters behind its equation."""

_CHARACTER = r"(?:[-+*/() 0-9]|\.(?=[0-9]))"
_VERB = (
    r"(?:(?:is|are|becomes)(?: equal to| exactly)?|equals?(?: to)?|gives?(?: us| you| me)?|makes?|yields?|results in"
    r"|comes (?:out )?to|evaluates to|would be|will be) "
)
_SIGN = rf"=|(?:≈|→|#(?: ?[=→])?|(?<= ){_VERB})(?= ?-?[0-9][0-9./]*+(?! [-+*/] [0-9(]))"
_NAME = r"= ?(?!no|yes)[a-zA-Z?]"  # 15 + 7 = 22 = T
_NUMBER = r"[0-9]{1,40}+"
# The time is linear because a match can start only where a run of such characters starts, and because the repeats are
# possessive: they never give characters back.
_OPERATION = r"[-+*/( ]*+[0-9]++(?:\.[0-9]++)?+[ )]*+[-+*/]"
# A step is followed by another `=`. Other signs may follow only a step that is an expression: `= 70 → 5 short` ends at 70.
_STEP = rf"[=≈](?:{_CHARACTER}++(?=(?!{_NAME})=)|(?={_OPERATION}){_CHARACTER}++(?={_SIGN}))"
_EQUATION = re.compile(
    rf"(?<![-+*/() 0-9])(?={_OPERATION})({_CHARACTER}++)"
    rf"(?:(?:{_STEP}){{0,5}}+(?:{_SIGN})|, (?:which|and this|and that) {_VERB})"
    rf" ?(-?{_NUMBER}(?:[./]{_NUMBER})?)(?! [-+*/] [0-9(])(?::{_NUMBER})?(?: ?(no|yes)\b)?"
)
_DECIMAL = re.compile(r"([0-9]+)\.([0-9]+)")
_SURRENDER = re.compile(
    r"\bg(?:ive|ave|iving) up\b"
    r"|\b(?:can ?not|can't|could not|couldn't|unable to|am not able to|failed to) (?:find|reach|solve|get|make|see)\b"
    r"|\b(?:impossible|not possible|no (?:valid |possible )?(?:solution|way to|combination))\b|\b(?:am|'m) stuck\b"
    r"|\b(?:not|n't) (?:seem|appear|look|think it(?:'s| is)) (?:to be )?possible\b",
    re.IGNORECASE,
)


class Equation(NamedTuple):
    """`written = claimed`. `mark` is True if the text calls it right, False if it calls it wrong, None otherwise."""

    written: str
    claimed: str
    mark: bool | None

    def claims(self, number: int) -> bool:
        """Whether the claimed value is `number`."""
        try:
            return Fraction(self.claimed) == number
        except ZeroDivisionError:  # a text may claim 3/0
            return False

    def holds(self) -> bool | None:
        """Whether the expression has the claimed value; None if it is no expression.

        Values are exact, but a decimal may be rounded: 10 / 3 = 3.33.
        """
        # Answers may not have decimals, so the grammar of expressions has none.
        tree = _expressions.parse(_DECIMAL.sub(_as_fraction, self.written))
        if tree is None:
            return None
        try:
            difference = abs(_expressions.value(tree) - Fraction(self.claimed))
        except ZeroDivisionError:
            return False
        _, dot, places = self.claimed.partition(".")
        return difference == 0 or (bool(dot) and difference * 2 * 10 ** len(places) <= 1)


def _as_fraction(decimal: re.Match[str]) -> str:
    whole, places = decimal.groups()
    return f"({int(whole + places)}/{10 ** len(places)})"


def find(text: str) -> list[Equation]:
    """The equations in `text`, in order. `a = b = c` is one equation, a = c."""
    text = plain(text)
    words = not is_compact(text)
    equations: list[Equation] = []
    following = len(text)
    for match in reversed(list(_EQUATION.finditer(text))):
        written, claimed, mark = match.groups()
        judged = mark == "yes" if mark else None
        if not mark and words:
            behind = text[match.end() - 1 : min(following, match.end() + WINDOW)].partition("=")[0]
            judged = _marks.read(behind, claimed)
            written = _balanced(written)
        equations.append(Equation(written.strip(), claimed, judged))
        following = match.start()
    return equations[::-1]


def _balanced(written: str) -> str:
    """`written` without the parentheses that open in front of it and close behind its value: (3 * 5 = 15)."""
    unclosed = written.count("(") - written.count(")")
    opened = len(written) - len(written.lstrip("( "))
    return written.replace("(", "", unclosed) if 0 < unclosed <= written.count("(", 0, opened) else written


def attempts(text: str, target: int) -> list[Attempt]:
    """The equations in `text` as attempts at `target`. The value that is written counts, not the true one."""
    # What a text says of its value can only be judged by the value that stands there.
    return [Attempt(equation.claims(target), equation.mark) for equation in find(text)]


def right_and_written(text: str) -> tuple[int, int]:
    """The number of right equations in `text`, and the number of all.

    A left side that is not an expression is not counted. A division by zero counts as wrong.
    """
    verdicts = [equation.holds() for equation in find(text)]
    return verdicts.count(True), len(verdicts) - verdicts.count(None)


def gives_up(text: str) -> bool:
    """Whether the text behind the last equation says that it gives up or cannot find a solution."""
    text = plain(text)
    if is_compact(text):  # it has no words
        return False
    end = text.rfind("=") + 1
    # An equation with a verb may follow the last `=`.
    ends = [end, *(match.end() for match in _EQUATION.finditer(text, end))]
    return _SURRENDER.search(text, ends[-1]) is not None
