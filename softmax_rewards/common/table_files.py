"""Table files: strict reading of .csv, .jsonl and .parquet files, and of the numbers in them.

Rows are counted from 1: below the header of a csv, by lines in a jsonl. Every error is a ValueError of one line, which
names the file, the row and what is allowed.
"""

import contextlib
import csv
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import ArrowException, parquet

from softmax_rewards.common.terminal import plain

SUFFIXES = (".csv", ".jsonl", ".parquet")
BATCH = 4096  # rows that are read at once

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
_TRUTH = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


class Batch(NamedTuple):
    """Consecutive rows of a file by columns: the rows' numbers, and the cells of each column."""

    numbers: Sequence[int]
    cells: dict[str, list[Any]]


def files(path: Path) -> list[Path]:
    """The file itself, or the table files of a folder; raises ValueError unless they are of one kind.

    The order is that of a reader: 9.jsonl comes before 10.jsonl. Hidden files are left out.
    """
    if path.is_dir():
        tables = sorted(filter(is_table, path.iterdir()), key=natural)
        kinds = sorted({file.suffix for file in tables})
        if len(kinds) != 1:
            raise ValueError(f"{path}: {' and '.join(kinds) or 'no'} files; allowed: one of {', '.join(SUFFIXES)}")
        return tables
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: its name ends in {path.suffix!r}; allowed: {', '.join(SUFFIXES)} or a folder")
    return [path]


def natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts names by the numbers in them."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"([0-9]+)", path.name)]


def is_table(file: Path) -> bool:
    """Whether a path is a table file. Hidden files are none: editors and file managers write them."""
    return file.suffix in SUFFIXES and not file.name.startswith(".") and file.is_file()


def rows(
    file: Path, columns: Sequence[str] = (), cut: Callable[[str], None] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("FILE, row 7", row) for each row; raises ValueError if a row lacks one of `columns`.

    cut  called with the place of a last line that was cut short, as a killed program leaves it. The line is left out.
         None: such a line is an error
    """
    reader = _parquet(file, columns) if file.suffix == ".parquet" else _lines(file, cut)
    with _one_line(file):
        for number, row in reader:
            _complete(file, number, row, columns)
            yield f"{file}, row {number}", row


def batches(
    file: Path, columns: Sequence[str], optional: Sequence[str], cut: Callable[[str], None] | None = None
) -> Iterator[Batch]:
    """Yield the rows of a file in batches of columns; raises ValueError if a row lacks one of `columns`.

    optional  columns that a row may lack. The cell is None then
    cut       as for `rows`
    """
    wanted = [*columns, *optional]
    with _one_line(file):
        if file.suffix == ".parquet":
            yield from _parquet_batches(file, columns, optional)
            return
        reader = _lines(file, cut)
        while chunk := list(itertools.islice(reader, BATCH)):
            for number, row in chunk:
                _complete(file, number, row, columns)
            yield Batch([number for number, _ in chunk], {name: [row.get(name) for _, row in chunk] for name in wanted})


def _complete(file: Path, number: int, row: dict[str, Any], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in row:
            raise ValueError(f"{file}, row {number}: no column {column!r}; allowed: rows with {', '.join(columns)}")


@contextlib.contextmanager
def _one_line(file: Path) -> Iterator[None]:
    """Turn what a reader raises for a damaged file into a ValueError of one line."""
    try:
        yield
    except UnicodeDecodeError:
        raise ValueError(f"{file}: not text in UTF-8") from None
    except ArrowException as error:
        raise ValueError(f"{file}: not a parquet file ({plain(' '.join(str(error).split()))})") from None
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror or plain(' '.join(str(error).split()))})") from None


# ---- readers ------------------------------------------------------------------------------------


def _lines(file: Path, cut: Callable[[str], None] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    return _csv(file, cut) if file.suffix == ".csv" else _jsonl(file, cut)


def _csv(file: Path, cut: Callable[[str], None] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        number, before = 0, 0  # of the last row, and of its last line
        try:
            names = next(reader, [])
            _header(names, file)
            before = reader.line_num
            for number, cells in enumerate(filter(None, reader), 1):
                if len(cells) != len(names):
                    if cut and len(cells) < len(names) and _unfinished(file) and next(reader, None) is None:
                        cut(f"{file}, row {number}")
                        return
                    problem = f"{len(cells)} cells; allowed: {len(names)}, as in the header"
                    raise ValueError(f"{file}, row {number}: {problem}")
                yield number, dict(zip(names, cells, strict=True))
                before = reader.line_num
        except csv.Error as error:
            # A quote that opens earlier than in the last line is a mistake in the file.
            if not (cut and reader.line_num == before + 1 and _unfinished(file)):
                raise ValueError(f"{file}, line {reader.line_num}: not CSV ({error})") from None
            cut(f"{file}, row {number + 1}")


def _unfinished(file: Path) -> bool:
    """Whether the last line of a file lacks its end."""
    with file.open("rb") as content:
        content.seek(-1, 2)
        return content.read() not in (b"\n", b"\r")


def _jsonl(file: Path, cut: Callable[[str], None] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                if cut and not line.endswith(b"\n"):  # only the last line can lack its end
                    cut(f"{file}, row {number}")
                    return
                raise ValueError(f"{file}, row {number}: not JSON: {_short(line)}") from None
            if not isinstance(row, dict):
                raise ValueError(f"{file}, row {number}: {_short(row)}; allowed: one JSON object per line")
            yield number, row


def _parquet(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    with parquet.ParquetFile(file) as table:
        _once(table.schema_arrow.names, file)
        parts = table.iter_batches(batch_size=BATCH, columns=columns or None)
        yield from enumerate((row for part in parts for row in part.to_pylist()), 1)


def _parquet_batches(file: Path, columns: Sequence[str], optional: Sequence[str]) -> Iterator[Batch]:
    with parquet.ParquetFile(file) as table:
        names = table.schema_arrow.names
        _once(names, file)
        if table.metadata.num_rows:
            _complete(file, 1, dict.fromkeys(names), columns)
        present = [name for name in (*columns, *optional) if name in names]
        done = 0
        for part in table.iter_batches(batch_size=BATCH, columns=present):
            numbers = range(done + 1, done + len(part) + 1)
            done += len(part)
            missing = {name: [None] * len(part) for name in optional if name not in names}
            yield Batch(numbers, {name: _cells(part.column(name)) for name in present} | missing)


def _cells(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_decimal(kind):
        column, kind = column.cast(pa.float64()), pa.float64()
    # Numbers and texts go through NumPy, because `to_pylist` takes several times as long.
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    whole = pa.types.is_integer(kind) and not column.null_count  # NumPy has no missing integers
    if not (texts or whole or pa.types.is_floating(kind)):
        return list(column.to_pylist())
    return list(column.to_numpy(zero_copy_only=False).tolist())


def _header(names: Sequence[str], file: Path) -> None:
    _once(names, file)
    if len(names) == 1:
        for separator, name in _SEPARATORS.items():
            if separator in names[0]:
                raise ValueError(f"{file}: columns separated by {name}; allowed: by commas, with a point in decimals")


def _once(names: Sequence[str], file: Path) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{file}: column {twice!r} occurs twice; allowed: once")


# ---- cells --------------------------------------------------------------------------------------


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
