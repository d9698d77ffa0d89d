"""Numbers as people write them: `1,234`, `$-3.50`, `18.`, `3/4`. Values are exact fractions, never rounded.

A fraction must be in lowest terms: `36/2` and `6/8` are divisions that are not carried out, and no numbers.
"""

import re
from fractions import Fraction
from math import gcd

MAX_LENGTH = 40
"""A longer text is not read. This bounds the time and the size of every value."""

# ASCII only. A number has either no commas or one before every three digits. A dot may follow, as behind a sentence.
_NUMBER = re.compile(
    r"(?:-\$?|\$-?)?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+|/[0-9]+)?|\.[0-9]+)\.?",
)


def parse(text: str) -> Fraction | None:
    """The value of `text`, or None if it is not exactly one number; never raises."""
    if len(text) > MAX_LENGTH or not _NUMBER.fullmatch(text):
        return None
    plain = text.replace("$", "").replace(",", "").rstrip(".")
    top, line, bottom = plain.lstrip("-").partition("/")
    if line and (int(bottom) < 2 or gcd(int(top), int(bottom)) > 1):
        return None
    return Fraction(plain)
