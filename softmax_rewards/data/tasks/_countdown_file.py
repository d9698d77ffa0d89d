"""Reads the public file of Countdown puzzles and checks every row."""

from collections.abc import Iterator
from pathlib import Path

from softmax_rewards.common import table_files
from softmax_rewards.data.tasks import data_files
from softmax_rewards.data.tasks._countdown import MAX_NUMBERS, Puzzle

_LARGEST = 10**9


def find(folder: Path | None) -> Path:
    """The only data file in `folder`; raises ValueError if there is none, or more than one."""
    files = [] if folder is None else data_files(folder)
    if len(files) != 1:
        raise ValueError(f"task.source: public needs one .parquet or .jsonl file below {folder}, found {len(files)}")
    return files[0]


def read(path: Path) -> Iterator[Puzzle]:
    """The puzzles of a .parquet or .jsonl file with the columns nums and target, in the order of the file.

    Raises ValueError naming the file, the row (counted from 1), the column, the value and what is allowed.
    """
    for where, row in table_files.rows(path, ("nums", "target")):
        nums, target = row["nums"], row["target"]
        if not (isinstance(nums, list) and 2 <= len(nums) <= MAX_NUMBERS and all(_whole(n, 1) for n in nums)):
            allowed = f"a list of 2 to {MAX_NUMBERS} integers from 1 to {_LARGEST}"
            raise table_files.wrong(where, "nums", nums, allowed)
        if not _whole(target, 0):
            raise table_files.wrong(where, "target", target, f"an integer from 0 to {_LARGEST}")
        yield tuple(sorted(nums)), target


def _whole(entry: object, low: int) -> bool:
    return type(entry) is int and low <= entry <= _LARGEST  # `type`, because True is an int
