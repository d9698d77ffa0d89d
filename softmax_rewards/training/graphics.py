"""Graphics made of characters: bars, sparklines and seed ranges, with a fallback for terminals without UTF-8."""

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

GAP = 2  # blanks between two columns
BAR = (6, 40)  # fewest and most columns of a bar
SPARK = (5, 24)  # of a sparkline


class Symbols(NamedTuple):
    """The characters that graphics are made of."""

    done: str
    pending: str
    levels: str
    """From the lowest to the highest success."""
    missing: str
    ellipsis: str


UNICODE = Symbols("━", "─", "▁▂▃▄▅▆▇█", "–", "…")
ASCII = Symbols("#", "-", ".:-=+*#@", "-", "...")


def symbols(encoding: str) -> Symbols:
    """The characters for an output with this encoding."""
    return UNICODE if encoding.lower().startswith("utf") else ASCII


def bar(step: int, steps: int | None, width: int, use: Symbols = UNICODE) -> str:
    """A bar of `width` characters. It is full only when all steps are done, and empty if their number is unknown."""
    share = min(max(step / steps, 0.0), 1.0) if steps else 0.0
    done = math.floor(share * width)
    return use.done * done + use.pending * (width - done)


def sparkline(values: Sequence[float], width: int, low: float, high: float, use: Symbols = UNICODE) -> str:
    """The course of `values`, one character each; if there are more than `width`, the means of neighbors.

    `low` and `high` are the ends of the scale, so that several lines can share one.
    """
    count = min(len(values), width)
    edges = [index * len(values) // count for index in range(count + 1)] if count else []
    means = [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]
    top = len(use.levels) - 1
    shares = [(mean - low) / (high - low) if high > low else 0.5 for mean in means]
    return "".join(use.levels[min(max(round(share * top), 0), top)] for share in shares)


def split(room: int, points: int) -> tuple[int, int]:
    """The widths of bar and sparkline in `room` columns, each with a gap behind it; 0 for one that is left out.

    Args:
        room: columns that the text of a line leaves free.
        points: evaluations of the run with the most of them. One point has no course, so there is no sparkline.
    """
    spark = min(max(room // 2 - GAP, 0), points, SPARK[1])
    least = min(SPARK[0], points)
    if points < 2 or spark < least or room - spark - 2 * GAP < BAR[0]:
        spark = 0
    free = room - GAP - (spark + GAP if spark else 0)
    return (min(free, BAR[1]) if free >= BAR[0] else 0), spark


def ranges(numbers: Sequence[int]) -> str:
    """Whole numbers in ascending order, in short: "0-3, 5"."""
    parts = []
    for _, group in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in group]
        parts.append(f"{members[0]}-{members[-1]}" if len(members) > 1 else f"{members[0]}")
    return ", ".join(parts)
