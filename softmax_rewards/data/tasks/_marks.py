"""Marks: how a text calls its own equation right or wrong.

A mark is looked for in the text behind an equation. These words and signs count; the first one decides:

* right: yes, "that works", "is correct", "equals the target", "exactly what we need", "perfect!", ✓, ✅, 🎉 …
* wrong: no, "too big", "not 22", "doesn't work", "off by 3", "close", "more than 22", ≠, ✗, ❌ …

Without any of them, a number that the text says it needs decides: "but we need 22" behind `= 38` calls it wrong.
Questions and conditions ("see if this works") are no marks.
"""

import re
from fractions import Fraction

from softmax_rewards.data.tasks._plain_text import RIGHT_SIGNS, WRONG_SIGNS, plain

_THE = r"(?:the|our|my|your)"
_TARGET = rf"{_THE} (?:(?:exact|desired|required|given|needed|final|correct) )*(?:target|goal|number|value|result)"
_ADVERB = r"(?:(?:exactly|precisely|indeed|actually|really|absolutely|quite|also|even|just|now|still|equal to) )*"
_NOT = r"(?:not|(?:is|do|does|did|was|wo|ca|would|are)n'?t|cannot)"
_END = r"(?= ?[!.,;:)|\n]| ?$)"

# For text in lower case. Every alternative begins a word, so most positions of a text are skipped at once.
_NEITHER = (
    rf"(?:if|whether|to) (?:(?:this|that|it|which) )?(?:works|match|reach|hit|equal|get)\b|to be {_TARGET}"
    r"|hope (?:that )?(?:it|this|that)(?:'s| is) (?:correct|right)\b"
)
_RIGHT = "|".join(
    [
        r"(?:that|this|it|which|these|one|solution|expression|equation|combination) "
        r"(?:does work|(?:perfectly |also |actually |indeed )?works)\b(?! out)",
        rf"(?:is|are|that's|it's|looks) {_ADVERB}(?:correct|right|perfect|valid|good|great|it)\b",
        rf"(?:correct|perfect|great|excellent|success|awesome|good|match|true|nice|there we go|there it is){_END}",
        rf"(?:is|equals?|match(?:es)?|reach(?:es|ed)?|hits?|gives?(?: us)?|gets?(?: us)?(?: to)?|meets) {_ADVERB}{_TARGET}\b",
        r"ok(?= ?[.!)|\n]| ?$)|right(?=!| ?$)|pass(?:es|ed)\b|y(?<=[0-9] y)(?=\n|$)",
        r"(?:exactly|precisely) (?:-?[0-9]|what|the|our|as)",
        r"what (?:we|i|you|was|is|were) (?:need|want|require|look)",
        r"as (?:required|desired|needed|wanted|requested)\b",
        r"yes(?<=[ (|\"'—–]yes)\b|yes(?<=\nyes)(?:[.!;]|, )",
        r"(?:yep|bingo|eureka|hooray|voilà|solved|checks out|nailed it|got it|did it|verified|successfully)\b",
        r"(?:target|goal) (?:reached|achieved|hit|found|met)\b|satisf(?:ies|ied)\b",
        r"(?:found|have|got|is|reached|here's) (?:a|the|our|one) (?:(?:valid|correct|working|possible) )*solution\b",
    ]
)
_WRONG = "|".join(
    [
        r"too (?:big|high|large|much|great|far|small|low|little|many|few)\b",
        r"(?:wrong|incorrect|invalid|nope|mismatch|false|unfortunately|exceeds)\b",
        r"no(?<=[ (|\"'—–]no)(?= ?[.,;:!)|/\n—–-]| ?$| (?:good|luck|wait|match)\b)|no(?<=\nno)(?:[.!;]|, )",
        rf"{_NOT} {_ADVERB}(?:-?[0-9]|{_TARGET}\b|(?:equal|right|correct|quite|enough|what|work|working|match|reach|give|"
        r"hit|it|there|valid|good|helpful|useful|allowed|close|a solution|the (?:solution|answer))\b)|not quite\b",
        rf"not{_END}|(?:low|high|small|big|large){_END}|n(?<=[0-9] n)(?=\n|$)",
        r"(?:fail|miss)(?:s|es|ed)?\b",
        rf"(?:more|less|greater|smaller|higher|lower|larger|bigger) than (?:-?[0-9]|what|we|{_THE}|needed|desired)",
        rf"(?:above|below|over|under|beyond|exceed(?:s|ing)?|short of|shy of|away from|far from|instead of) "
        rf"(?:-?[0-9]|what|{_THE})",
        r"(?:one|two|three|four|five|a (?:bit|little)|just|slightly|way|far|one too) (?:short|off|over|under|high|low|away|many|"
        r"few)\b|not (?:an? )?(?:integer|whole)\b",
        rf"(?:off|short|over|under) by\b|[0-9]+ (?:away|short|off|shy|over{_END}|under{_END})\b|(?:over|under)shoots?\b",
        r"(?:close|closer|almost|nearly)\b(?! ?parenthes)",
        r"(?:need|want)s? (?:another |an extra )?[0-9]+ (?:more|less)\b",
    ]
)
_MARK = re.compile(
    rf"\b(?:(?P<neither>{_NEITHER})|(?P<right>{_RIGHT})|(?P<wrong>{_WRONG}))"
    rf"|(?P<right_sign>[{RIGHT_SIGNS}]|← ?(?:the |our )?(?:target|solution)\b)|(?P<wrong_sign>[≠{WRONG_SIGNS}])"
)
_NEEDED = re.compile(
    r"(?:\b(?:need(?:ed|s)?|want(?:ed)?|looking for|aiming for)(?: to (?:get|reach|make|be|hit|have))?(?: exactly)?"
    r"|\b(?:target|goal)(?: number)?(?: is| of|:)?|(?<= )[<>]) ?(-?[0-9]{1,40})\b"
)


def read(behind: str, claimed: str) -> bool | None:
    """The mark behind an equation with the value `claimed`: right, wrong, or None if there is none.

    The first character of `behind` is the last one of the equation, so that a word can be told from a word's end.
    """
    behind = behind.lower()
    if marks := _marks(behind):
        return marks[0]
    if needed := _NEEDED.search(behind):
        return same_number(claimed, int(needed[1]))
    return None


def ends_right(text: str) -> bool:
    """Whether the last mark in the last 200 characters of `text` calls something right."""
    marks = _marks(plain(text)[-200:].lower())
    return bool(marks) and marks[-1]


def _marks(text: str) -> list[bool]:
    groups = [match.lastgroup or "" for match in _MARK.finditer(text)]
    return [group.startswith("right") for group in groups if group != "neither"]


def same_number(claimed: str, number: int | Fraction) -> bool:
    """Whether the text `claimed` has the value `number`."""
    try:
        return Fraction(claimed) == number
    except ZeroDivisionError:
        return False
