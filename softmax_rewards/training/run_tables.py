"""Run tables: the numbers in the tables of a run, whether it is under way or finished."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def rows(folder: Path, table: str) -> list[dict[str, float]]:
    """The finite numbers in each row of a run's table, from `<table>.csv` if the run has finished, else its log."""
    finished = (folder / "run.json").exists()
    file = folder / f"{table}.csv" if finished else folder / "state" / f"{table}.jsonl"
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not there yet, or just moved
        return []
    # Rows are written in blocks, so the last line may be incomplete.
    lines = text.splitlines()[: None if text.endswith("\n") else -1]
    table_rows = csv.DictReader(lines) if finished else _objects(lines)
    return [{key: number for key, value in row.items() if (number := _number(value)) is not None} for row in table_rows]


def _objects(lines: list[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # the rest of the block is not on disk yet
            return
        if isinstance(row, dict):
            yield row


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
