"""Equations in free text: `3+5*7=3+35=38no` or `3 + 5 * 7 = 38, which is too big`, and how the text judges them.

An equation is an expression and its value, with the steps of working it out between them if the text has them.
Its *mark* says whether the text itself calls it right or wrong: `yes` or `no` directly behind the value, or else the
first of these phrases, after a space, in the next 60 characters before the next `=`:

* right: that/this/it/which works (unless after "if"), is/that's/it's correct/right, correct! and "correct.",
  is/equals/matches/reaches/hits (exactly) the/our target, yes
* wrong: too big/high/large/much/small/low/little, wrong, incorrect, ≠, no before punctuation, and not or isn't, don't,
  doesn't, didn't before (exactly) a number, the/our target, equal, right, correct, quite, enough, what, work, match,
  reach or give

All of it takes linear time on any text.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from softmax_rewards.data.tasks import _expressions

_CHARACTER = "[-+*/() 0-9]"
# A match starts only where a run of such characters does, and repeats are possessive: linear time.
_EQUATION = re.compile(
    rf"(?<!{_CHARACTER})(?=[-+*/( ]*+[0-9]++[ )]*+[-+*/])({_CHARACTER}++)(?:={_CHARACTER}++(?==)){{0,5}}+="
    r" ?(-?[0-9]{1,40}+(?:[./][0-9]{1,40}+)?)(?: ?(no|yes)\b)?(?=([^=]{0,60}+))"
)
# For lower case. All begin with one of a few characters, which makes looking for them fast, and have one that a
# compact trace cannot spell.
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
    """`written = claimed`; `mark` is True or False where the text calls it right or wrong, else None."""

    written: str
    claimed: str
    mark: bool | None

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
    """The equations of `text` in their order; `a = b = c` is one, a = c."""
    return [
        Equation(written.strip(), claimed, mark == "yes" if mark else _judged(behind))
        for written, claimed, mark, behind in _EQUATION.findall(text)
    ]


def right_and_written(text: str) -> tuple[int, int]:
    """How many equations of `text` are right, and how many there are.

    Text that does not parse is not counted; a division by zero counts as wrong, `a = b = c` as `a = c`.
    """
    verdicts = [equation.holds() for equation in find(text)]
    return verdicts.count(True), len(verdicts) - verdicts.count(None)


def _judged(behind: str) -> bool | None:
    match = _MARK.search(behind.lower())
    return None if match is None else match.lastgroup == "right"


def gives_up(text: str) -> bool:
    """Whether `text` says, behind its last equation, that it gives up or cannot find a solution."""
    return _SURRENDER.search(text.rpartition("=")[2]) is not None
