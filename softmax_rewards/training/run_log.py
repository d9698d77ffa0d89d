"""The tables of a run while it grows: lines appended at every step, cut back to a checkpoint on resume."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from softmax_rewards.common.files import writing

TABLES = ("metrics", "timing", "episodes", "evaluations", "samples")
PIECE_BYTES = 2**20  # what is read of a file at once

Marks = dict[str, dict[str, Any]]
"""Table → `size` in bytes and `sha256` up to there."""


class RunLog:
    """One JSON-lines file per table in `folder`. Rows of an earlier process must first be cleared or cut back.

    A checkpoint records `marks()`; after a crash `truncate` drops what was written since, so that the steps
    done again are not counted twice.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._paths = {name: folder / f"{name}.jsonl" for name in TABLES}
        self._files = {name: path.open("ab") for name, path in self._paths.items()}
        self._digests = {name: hashlib.sha256() for name in TABLES}

    def append(self, table: str, row: dict[str, Any]) -> None:
        """Add one row; it is on disk after the next `marks()`."""
        # JSON has no NaN and no infinity, but Python would write them. null becomes an empty cell of the table.
        row = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
        }
        line = json.dumps(row).encode() + b"\n"
        with writing(self._paths[table]):
            self._files[table].write(line)
        self._digests[table].update(line)

    def marks(self) -> Marks:
        """Where each table ends now, after all of them are flushed to disk."""
        for name, file in self._files.items():
            with writing(self._paths[name]):
                file.flush()
                os.fsync(file.fileno())
        return {
            name: {"size": file.tell(), "sha256": self._digests[name].hexdigest()} for name, file in self._files.items()
        }

    def truncate(self, marks: Marks) -> None:
        """Cut every table back to its mark.

        Raises ValueError before anything is cut. It names the table whose beginning is not the one that was marked.
        """
        digests = {}
        for name, path in self._paths.items():
            size = marks[name]["size"]
            if (actual := path.stat().st_size) < size:
                raise ValueError(f"{path} is damaged ({actual} of {size} bytes)")
            digests[name] = _digest(path, size)
            if digests[name].hexdigest() != marks[name]["sha256"]:
                raise ValueError(f"{path} is damaged (sha256 differs)")
        self._cut({name: marks[name]["size"] for name in TABLES})
        self._digests = digests

    def clear(self) -> None:
        """Drop all rows of every table."""
        self._cut(dict.fromkeys(TABLES, 0))
        self._digests = {name: hashlib.sha256() for name in TABLES}

    def _cut(self, sizes: Mapping[str, int]) -> None:
        for name, file in self._files.items():
            with writing(self._paths[name]):
                file.truncate(sizes[name])
                file.seek(sizes[name])

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table."""
        with writing(self._paths[table]):
            self._files[table].flush()
        with self._paths[table].open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    def table(self, name: str) -> pd.DataFrame:
        """All rows of a table as a frame."""
        return pd.DataFrame(self.rows(name))

    def close(self) -> None:
        """Close all files, even if the disk has no room for the rows of one. Further rows are an error."""
        with ExitStack() as files:
            for name, file in self._files.items():
                files.enter_context(writing(self._paths[name]))
                files.callback(file.close)


def _digest(path: Path, size: int) -> Any:
    """The running sha256 of the first `size` bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(min(PIECE_BYTES, size)):
            digest.update(piece)
            size -= len(piece)
    return digest
