"""Numbers as people write them: `1,234`, `$-3.50`, `18.`, `3/4`. Exact fractions, nothing is ever rounded.

A division that is still to be done, `36/2` or `6/8`, is no number: a fraction stands in lowest terms.
"""

import re
from fractions import Fraction
from math import gcd

MAX_LENGTH = 40
"""Longer texts are refused unread, which bounds the time and the size of every value."""

# ASCII only; commas, if any, stand before every three digits; a dot may end the whole as it ends a sentence.
_NUMBER = re.compile(
    r"(?:-\$?|\$-?)?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+|/[0-9]+)?|\.[0-9]+)\.?",
)


def parse(text: str) -> Fraction | None:
    """The value of `text`, or None if it is not one number; never raises."""
    if len(text) > MAX_LENGTH or not _NUMBER.fullmatch(text):
        return None
    plain = text.replace("$", "").replace(",", "").rstrip(".")
    top, line, bottom = plain.lstrip("-").partition("/")
    if line and (int(bottom) < 2 or gcd(int(top), int(bottom)) > 1):
        return None
    return Fraction(plain)
