"""Numbers as people write them: `1,234`, `$-3.50`, `18.`, `3/4`. Exact fractions, nothing is ever rounded."""

import re
from fractions import Fraction

MAX_LENGTH = 40
"""Longer texts are refused unread, which bounds the time and the size of every value."""

# ASCII only; commas, if any, stand before every three digits; a dot may end the whole as it ends a sentence.
_NUMBER = re.compile(
    r"(?:-\$?|\$-?)?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+|/[0-9]+)?|\.[0-9]+)\.?",
)


def parse(text: str) -> Fraction | None:
    """The value of `text`, or None if it is not one number, or has a denominator of 0; never raises."""
    if len(text) > MAX_LENGTH or not _NUMBER.fullmatch(text):
        return None
    try:
        return Fraction(text.replace("$", "").replace(",", "").rstrip("."))
    except ZeroDivisionError:
        return None
