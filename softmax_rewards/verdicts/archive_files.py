"""The files of an archive: one parquet file per table with the rows of all runs, and their checksums.

    results/archive/<experiment>/runs.parquet … timing.parquet
    results/archive/<experiment>/SHA256SUMS      written last, in the format of `sha256sum`

Every table begins with the columns `ablation` and `seed`. An empty cell is NaN. Null means that the run's own table has
no such column.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from softmax_rewards.common import files

SUMS = "SHA256SUMS"
TABLES = ("runs", "metrics", "evaluations", "groups", "puzzles", "samples", "timing")
KEYS = ("ablation", "seed")
KINDS = (pa.string(), pa.int64())

Name = tuple[str, int]
"""A run of an experiment: its ablation and its seed."""


def sums(folder: Path) -> str:
    """The text of the archive's checksums; "" if there is no archive in `folder`.

    Raises ValueError, one line, if there are tables without checksums.
    """
    file = folder / SUMS
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    if not text and any(folder.glob("*.parquet")):
        raise _damaged(f"{file} is damaged (no checksums)", folder)
    return text


def verify(folder: Path) -> None:
    """Compare every file with its checksum. Raises ValueError, one line with the first damaged file and the remedy."""
    lines = [line.split("  ", 1) for line in sums(folder).splitlines()]
    digests = {line[1]: line[0] for line in lines if len(line) == 2}
    if set(digests) != {f"{table}.parquet" for table in TABLES}:
        raise _damaged(f"{folder / SUMS} is damaged (it does not name one file per table)", folder)
    try:
        files.verify(folder, digests)
    except ValueError as error:
        raise _damaged(str(error), folder) from None


def _damaged(what: str, folder: Path) -> ValueError:
    return ValueError(f"{what}; restore the archive: git checkout -- {folder}")


def read(folder: Path, table: str) -> pa.Table:
    """One table of the archive with the rows of all runs."""
    return parquet.read_table(folder / f"{table}.parquet")


def write(folder: Path, tables: Mapping[str, pa.Table]) -> None:
    """Write all `TABLES` and their checksums. An interruption leaves a state that `verify` recognizes."""
    # Files get their names when the stack closes, last in, first out: after all are written, and the checksums last.
    with ExitStack() as stack:
        listed = stack.enter_context(files.appearing(folder / SUMS))
        digests = {}
        for table in TABLES:
            partial = stack.enter_context(files.appearing(folder / f"{table}.parquet"))
            parquet.write_table(tables[table], partial, compression="zstd", compression_level=15)
            digests[f"{table}.parquet"] = files.sha256(partial)
        listed.write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()), encoding="utf-8")


def by_run(table: pa.Table) -> dict[Name, pa.Table]:
    """Run → its rows, with the columns that the run has, without `KEYS`."""
    if not table.num_rows:
        return {}
    keys = table.select(list(KEYS)).to_pandas()
    blocks = (keys != keys.shift()).any(axis=1).cumsum()  # the rows of one run are consecutive
    runs = {}
    for rows in keys.groupby(blocks, sort=False).indices.values():
        ablation, seed = keys.iloc[rows[0]]
        runs[ablation, int(seed)] = _filled_columns(table.slice(rows[0], len(rows)).drop_columns(list(KEYS)))
    return runs


def _filled_columns(rows: pa.Table) -> pa.Table:
    return rows.select([name for name in rows.column_names if rows[name].null_count < rows.num_rows])


def together(parts: Mapping[Name, pa.Table]) -> pa.Table:
    """One table with the rows of several runs, sorted by ablation and seed."""
    named = [_named(name, parts[name]) for name in sorted(parts)]
    # Start from the widest table. Then a column that only few runs have keeps its place among the others.
    widest = sorted(named, key=lambda rows: rows.num_columns, reverse=True)
    columns = dict.fromkeys(column for rows in widest for column in rows.column_names)
    return pa.concat_tables(named, promote_options="permissive").select(list(columns)).combine_chunks()


def _named(name: Name, rows: pa.Table) -> pa.Table:
    ablation, seed = (pa.array([key] * rows.num_rows, kind) for key, kind in zip(name, KINDS, strict=True))
    return pa.table([ablation, seed, *rows.columns], names=[*KEYS, *rows.column_names])


def from_frame(frame: pd.DataFrame) -> pa.Table:
    """An Arrow table of numbers and texts. Empty cells of number columns stay NaN; null is for a missing column."""
    columns = {
        name: pa.array(frame[name].to_numpy(), from_pandas=not pd.api.types.is_numeric_dtype(frame[name]))
        for name in frame.columns
    }
    return pa.table(columns)
