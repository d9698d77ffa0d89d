"""The tables of a run while it grows: lines appended at every step, cut back to a checkpoint on resume."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pandas as pd

TABLES = ("metrics", "timing", "episodes", "evaluations", "samples")


class RunLog:
    """One JSON-lines file a table in `folder`.

    A checkpoint records `sizes()`; after a crash `truncate` drops what was written since, so that the steps
    done again are not counted twice.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._files = {name: (folder / f"{name}.jsonl").open("ab") for name in TABLES}

    def append(self, table: str, row: dict[str, Any]) -> None:
        """Add one row; it is on disk after the next `sizes()`."""
        # JSON has no NaN and no infinity, which Python would write: null, an empty cell of the table.
        row = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
        }
        self._files[table].write(json.dumps(row).encode() + b"\n")

    def sizes(self) -> dict[str, int]:
        """Bytes of each table, all of them flushed to disk."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        return {name: file.tell() for name, file in self._files.items()}

    def truncate(self, sizes: dict[str, int]) -> None:
        """Cut every table back to the size it had at a checkpoint."""
        for name, file in self._files.items():
            file.truncate(sizes[name])
            file.seek(sizes[name])

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table."""
        self._files[table].flush()
        with (self.folder / f"{table}.jsonl").open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    def table(self, name: str) -> pd.DataFrame:
        """All rows of a table as a frame."""
        return pd.DataFrame(self.rows(name))

    def close(self) -> None:
        """Close the files; further rows are an error."""
        for file in self._files.values():
            file.close()
