"""Log files: which files of a folder are the log, and which columns they have."""

import re
from collections.abc import Callable
from pathlib import Path

from softmax_rewards.common import table_files

# Trainers write one file per step. Such a name says what a file is, so other tables beside it are no part of the log.
WRITTEN = {
    "TRL": re.compile(r"completions_\d+\.parquet", re.ASCII),
    "verl": re.compile(r"\d+\.jsonl", re.ASCII),
}


def find(path: Path, notes: list[str]) -> list[Path]:
    """The files of a log: the file itself, or those of a folder. `notes` gets a line about files that are left out.

    Raises ValueError, one line, for a path that is not there and for a folder in which the log cannot be told.
    """
    if not path.is_dir():
        return table_files.files(path)
    tables = [file for file in path.iterdir() if table_files.is_table(file)]
    for trainer, name in WRITTEN.items():
        written = sorted((file for file in tables if name.fullmatch(file.name)), key=table_files.natural)
        if written:
            others = sorted({file.name for file in tables} - {file.name for file in written})
            if others:
                notes.append(f"Files that {trainer} did not write, left out: {', '.join(others)}.")
            return written
    return table_files.files(path)


def columns(files: list[Path], notes: list[str]) -> dict[Path, list[str]]:
    """File → its columns, for the files that have rows. `notes` gets a line about the others.

    Raises ValueError, one line, for a damaged file, and if no file has rows.
    """
    found: dict[Path, list[str]] = {}
    empty = []
    for file in files:
        try:
            row = next(table_files.rows(file, cut=_ignore), None)
        except ValueError as error:
            # A killed trainer leaves its last parquet file without the end, which makes all of it unreadable.
            if file.suffix != ".parquet" or file is not files[-1] or not found:
                raise
            notes.append(f"Last file left out: {error}.")
            continue
        if row is None:
            empty.append(file.name)
        else:
            found[file] = list(row[1])
    if not found:
        raise ValueError(f"{files[0]}: no rows; allowed: one or more")
    if empty:
        notes.append(f"Files without rows: {', '.join(empty)}.")
    return found


def noting_cut(notes: list[str]) -> Callable[[str], None]:
    """What `table_files` calls for a last line that was cut short: `notes` gets a line about it."""
    return lambda place: notes.append(f"Last line left out, because it was cut short: {place}.")


def _ignore(place: str) -> None:
    """A last line that was cut short is reported when the rows are read."""
