"""The public file of Countdown puzzles, read and checked row by row."""

import json
from collections.abc import Iterator
from pathlib import Path

from pyarrow import ArrowInvalid, parquet

from softmax_rewards.tasks import data_files
from softmax_rewards.tasks._countdown import MAX_NUMBERS, Puzzle

_LARGEST = 10**9


def find(folder: Path | None) -> Path:
    """The one data file below `folder`; raises ValueError if there is none, or more than one."""
    files = [] if folder is None else data_files(folder)
    if len(files) != 1:
        raise ValueError(f"task.source: public needs one .parquet or .jsonl file below {folder}, found {len(files)}")
    return files[0]


def read(path: Path) -> Iterator[Puzzle]:
    """The puzzles of a .parquet or .jsonl file with columns nums and target, in its order.

    Raises ValueError naming the file, the row (counted from 1), the column, the value and what is allowed.
    """
    for number, row in enumerate(_rows(path), 1):
        for column in ("nums", "target"):
            if not isinstance(row, dict) or column not in row:
                raise ValueError(f"{path}, row {number}: no column {column!r}; allowed: nums and target")
        nums, target = row["nums"], row["target"]
        if not (isinstance(nums, list) and 2 <= len(nums) <= MAX_NUMBERS and all(_whole(n, 1) for n in nums)):
            allowed = f"a list of 2 to {MAX_NUMBERS} integers from 1 to {_LARGEST}"
            raise ValueError(f"{path}, row {number}, column nums: {_short(nums)}; allowed: {allowed}")
        if not _whole(target, 0):
            allowed = f"an integer from 0 to {_LARGEST}"
            raise ValueError(f"{path}, row {number}, column target: {_short(target)}; allowed: {allowed}")
        yield tuple(sorted(nums)), target


def _rows(path: Path) -> Iterator[object]:
    if path.suffix == ".parquet":
        try:
            table = parquet.read_table(path)
        except ArrowInvalid as error:
            raise ValueError(f"{path}: not a parquet file ({str(error).splitlines()[0]})") from error
        for batch in table.to_batches():
            yield from batch.to_pylist()
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}, row {number}: not JSON: {_short(line)}") from error


def _whole(entry: object, low: int) -> bool:
    return type(entry) is int and low <= entry <= _LARGEST  # `type`, because True is an int


def _short(entry: object) -> str:
    shown = repr(entry)
    return shown if len(shown) <= 60 else shown[:57] + "..."
