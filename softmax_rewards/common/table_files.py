"""Table files: strict reading of .csv, .jsonl and .parquet files, and of the numbers in them.

Rows are counted from 1: below the header of a csv, by lines in a jsonl. Every error is a ValueError of one line, which
names the file, the row and what is allowed.
"""

import csv
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pyarrow import ArrowException, parquet

from softmax_rewards.common.terminal import plain

SUFFIXES = (".csv", ".jsonl", ".parquet")

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_TRUTH = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


def files(path: Path) -> list[Path]:
    """The file itself, or the table files of a folder, sorted; raises ValueError unless they are of one kind."""
    if path.is_dir():
        tables = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        kinds = sorted({file.suffix for file in tables})
        if len(kinds) != 1:
            raise ValueError(f"{path}: {' and '.join(kinds) or 'no'} files; allowed: one of {', '.join(SUFFIXES)}")
        return tables
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: its name ends in {path.suffix!r}; allowed: {', '.join(SUFFIXES)} or a folder")
    return [path]


def first(file: Path) -> dict[str, Any]:
    """The first row, whose keys are the file's columns."""
    for _, row in rows(file):
        return row
    raise ValueError(f"{file}: no rows; allowed: one or more")


def rows(file: Path, columns: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("FILE, row 7", row) for each row; raises ValueError if a row lacks one of `columns`."""
    readers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": lambda file: _parquet(file, columns)}
    try:
        for number, row in readers[file.suffix](file):
            where = f"{file}, row {number}"
            for column in columns:
                if column not in row:
                    raise ValueError(f"{where}: no column {column!r}; allowed: rows with {', '.join(columns)}")
            yield where, row
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not text in UTF-8") from None
    except ArrowException as error:
        raise ValueError(f"{file}: not a parquet file ({plain(' '.join(str(error).split()))})") from None
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror or plain(' '.join(str(error).split()))})") from None


def _csv(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        try:
            names = next(reader, [])
            _once(names, file)
            for number, cells in enumerate(filter(None, reader), 1):
                if len(cells) != len(names):
                    problem = f"{len(cells)} cells; allowed: {len(names)}, as in the header"
                    raise ValueError(f"{file}, row {number}: {problem}")
                yield number, dict(zip(names, cells, strict=True))
        except csv.Error as error:
            raise ValueError(f"{file}, line {reader.line_num}: not CSV ({error})") from None


def _jsonl(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise ValueError(f"{file}, row {number}: not JSON: {_short(line)}") from None
            if not isinstance(row, dict):
                raise ValueError(f"{file}, row {number}: {_short(row)}; allowed: one JSON object per line")
            yield number, row


def _parquet(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    with parquet.ParquetFile(file) as table:
        _once(table.schema_arrow.names, file)
        batches = table.iter_batches(batch_size=1024, columns=columns or None)
        yield from enumerate((row for batch in batches for row in batch.to_pylist()), 1)


def _once(names: Sequence[str], file: Path) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{file}: column {twice!r} occurs twice; allowed: once")


def number(value: Any) -> float | None:
    """The finite number that a value is, or that its text says; None for anything else."""
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value.strip()) else None
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def truth(value: Any) -> bool | None:
    """The truth value for 0, 1, false or true, as value or text; None for anything else."""
    if isinstance(value, str):
        return _TRUTH.get(value.strip().lower())
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else None


def wrong(where: str, column: str, value: Any, allowed: str) -> ValueError:
    """The error of one cell, to be raised."""
    return ValueError(f"{where}, column {column}: {_short(value)}; allowed: {allowed}")


def _short(entry: Any) -> str:
    shown = repr(entry)
    return shown if len(shown) <= 60 else shown[:57] + "..."
