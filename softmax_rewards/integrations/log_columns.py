"""A column of numbers in a log: cells of several files in, an array out."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from softmax_rewards.common import table_files
from softmax_rewards.common.table_files import Batch

Needs = Literal["all", "present", "none"]
LARGEST = 1e12  # largest reward; differences, sums and squares stay finite


class Column:
    """The numbers of one column, batch by batch.

    parse    cell → number; NaN for a missing cell that is allowed; None for a cell that is not allowed
    allowed  what is allowed, in words
    needs    which cells are an error if they are not allowed: "all", "present" (those that are not missing) or "none".
             Without an error the column is not used, and a note says why
    """

    def __init__(self, name: str, parse: Callable[[Any], float | None], allowed: str, needs: Needs) -> None:
        self.name, self.parse, self.allowed, self.needs = name, parse, allowed, needs
        self._problem = ""
        self._parts: list[np.ndarray] = []
        self._seen = False

    def add(self, file: Path, batch: Batch) -> None:
        """Read the next rows. Raises ValueError, one line, for a cell that is an error."""
        cells = batch.cells[self.name]
        values = each(self.parse, cells)
        if None in values:
            self._refuse(file, batch, [row for row, value in enumerate(values) if value is None])
        self._parts.append(np.array(values, dtype=float))  # None becomes NaN
        self._seen = self._seen or not np.isnan(self._parts[-1]).all()

    def _refuse(self, file: Path, batch: Batch, rows: list[int]) -> None:
        cells = batch.cells[self.name]
        wrong = [row for row in rows if self.needs == "all" or (self.needs == "present" and not is_missing(cells[row]))]
        row = (wrong or rows)[0]
        error = table_files.wrong(f"{file}, row {batch.numbers[row]}", self.name, cells[row], self.allowed)
        if wrong:
            raise error
        self._problem = self._problem or str(error)

    def values(self, role: str, notes: list[str]) -> np.ndarray | None:
        """All numbers [n]; None if the column is not there or has a problem. `notes` gets a line about a problem."""
        if not self._seen:
            return None
        if self._problem:
            notes.append(f"Column {self.name} is not used as {role}: {self._problem}.")
            return None
        return np.concatenate(self._parts)


def reward(name: str, missing: bool, needs: Needs) -> Column:
    """A column of rewards. `missing`: whether a cell may be empty."""

    def parse(cell: Any) -> float | None:
        if missing and is_missing(cell):
            return math.nan
        number = table_files.number(cell)
        if number is None:
            number = table_files.truth(cell)  # reward functions may return truth values, and CSV writes "True"
        return None if number is None or abs(number) > LARGEST else float(number)

    return Column(name, parse, f"a finite number from -{LARGEST:g} to {LARGEST:g}, with a point in decimals", needs)


def verdict(name: str, needs: Needs) -> Column:
    """A column that says what is right."""
    return Column(name, table_files.truth, "0 or 1, false or true", needs)


def advantage(name: str) -> Column:
    """A column of the trainer's own advantages."""
    return Column(name, table_files.number, "a finite number", "none")


def length(name: str, needs: Needs) -> Column:
    """A column of lengths."""

    def parse(cell: Any) -> float | None:
        number = table_files.number(cell)
        return None if number is None or number < 0 else number

    return Column(name, parse, "a number >= 0", needs)


def each(function: Callable[[Any], Any], cells: Sequence[Any]) -> list[Any]:
    """The function's value for each cell. Equal cells are computed once, because logs repeat them."""
    try:
        known = {cell: function(cell) for cell in set(cells)}
        return [known[cell] for cell in cells]
    except TypeError:  # a list or an object cannot be a key
        return [function(cell) for cell in cells]


def is_missing(cell: Any) -> bool:
    """Whether a cell has no value."""
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))
