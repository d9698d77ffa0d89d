"""Finds equations in free text, such as `3+5*7=3+35=38:22no` or `3 + 5 * 7 = 38, which is too big`.

An equation is an expression and its value. The steps between them may be written too. The *mark* of an equation says
whether the text itself calls it right or wrong. The mark is `yes` or `no` directly behind the value, or behind the
value, a colon and the target (`38:22no`). Without either, it is the first of these phrases, after a space, in the next
60 characters before the next `=`:

* right: that/this/it/which works (unless after "if"), is/that's/it's correct/right, correct! and "correct.",
  is/equals/matches/reaches/hits (exactly) the/our target, yes
* wrong: too big/high/large/much/small/low/little, wrong, incorrect, ≠, no before punctuation, and not or isn't, don't,
  doesn't, didn't before (exactly) a number, the/our target, equal, right, correct, quite, enough, what, work, match,
  reach or give

Everything here takes linear time on any text.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from softmax_rewards.data.tasks import Attempt, _expressions

_CHARACTER = "[-+*/() 0-9]"
# The time is linear because a match can start only where a run of such characters starts, and because the repeats are
# possessive: they never give characters back.
_EQUATION = re.compile(
    rf"(?<!{_CHARACTER})(?=[-+*/( ]*+[0-9]++[ )]*+[-+*/])({_CHARACTER}++)(?:={_CHARACTER}++(?==)){{0,5}}+="
    r" ?(-?[0-9]{1,40}+(?:[./][0-9]{1,40}+)?)(?::[0-9]{1,40}+)?(?: ?(no|yes)\b)?(?=([^=]{0,60}+))"
)
# For text in lower case. Every phrase begins with one of a few characters, so the search is fast. Every phrase has a
# character that a compact trace cannot contain, so the search never matches in one.
_MARK = re.compile(
    r"[ (\n—–](?:(?P<right>(?<!if )(?:that|this|it|which) works\b|(?:is|that[’']s|it[’']s) (?:correct|right)\b"
    r"|correct[.!]|(?:is|equals|matches|reaches|hits) (?:exactly )?(?:the|our) target\b|(?<=[ —–])yes\b)"
    r"|(?P<wrong>too (?:big|high|large|much|small|low|little)\b|(?:wrong|incorrect)\b|≠|(?<=[ —–])no(?=[.,;:!)\n]|$)"
    r"|(?:not|(?:is|do|does|did)n[’']t) (?:exactly )?(?:-?[0-9]|(?:the|our) target"
    r"|(?:equal|right|correct|quite|enough|what|work|match|reach|give)\b)))"
)
_SURRENDER = re.compile(
    r"\bg(?:ive|ave|iving) up\b|\b(?:can ?not|can[’']t|could not|couldn[’']t) (?:find|reach|solve|get)\b"
    r"|\b(?:impossible|not possible|no solution)\b",
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
        """Whether the expression has the claimed value, exactly; None if it is no expression."""
        tree = _expressions.parse(self.written)
        if tree is None:
            return None
        try:
            return _expressions.value(tree) == Fraction(self.claimed)
        except ZeroDivisionError:
            return False


def find(text: str) -> list[Equation]:
    """The equations in `text`, in order. `a = b = c` is one equation, a = c."""
    return [
        Equation(written.strip(), claimed, mark == "yes" if mark else _judged(behind))
        for written, claimed, mark, behind in _EQUATION.findall(text)
    ]


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


def _judged(behind: str) -> bool | None:
    match = _MARK.search(behind.lower())
    return None if match is None else match.lastgroup == "right"


def gives_up(text: str) -> bool:
    """Whether the text behind the last equation says that it gives up or cannot find a solution."""
    return _SURRENDER.search(text.rpartition("=")[2]) is not None
