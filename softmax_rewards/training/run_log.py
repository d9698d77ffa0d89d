"""The tables of a run under way: lines are appended at every step, and cut back to a checkpoint on resume."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softmax_rewards.common.files import writing

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("metrics", "timing", "phases", "episodes", "evaluations", "samples")
PIECE_BYTES = 2**20  # read at once

Marks = dict[str, dict[str, Any]]
"""Table → its `size` in bytes and the `sha256` of that many bytes."""


class RunLog:
    """One JSON-lines file per table in `folder`. Before the first row, call `clear` or `truncate`.

    A checkpoint records `marks()`. After a crash `truncate` deletes the rows since then, because those steps will be
    done again.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._paths = {name: folder / f"{name}.jsonl" for name in TABLES}
        self._files = {name: path.open("ab") for name, path in self._paths.items()}
        self._digests = {name: hashlib.sha256() for name in TABLES}

    def append(self, table: str, row: dict[str, Any]) -> None:
        """Add one row; it is on disk after the next `marks()`."""
        # Python would write NaN and infinity, which JSON lacks. null becomes an empty cell of the table.
        row = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
        }
        line = json.dumps(row).encode() + b"\n"
        with writing(self._paths[table]):
            self._files[table].write(line)
        self._digests[table].update(line)

    def marks(self) -> Marks:
        """Flush all tables to disk and return where each ends now."""
        for name, file in self._files.items():
            with writing(self._paths[name]):
                file.flush()
                os.fsync(file.fileno())
        return {
            name: {"size": file.tell(), "sha256": self._digests[name].hexdigest()} for name, file in self._files.items()
        }

    def truncate(self, marks: Marks) -> None:
        """Cut every table back to its mark.

        Raises ValueError, before anything is cut, if the beginning of a table has changed since; it names the file.
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
        """Delete all rows of every table."""
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

    def table(self, name: str) -> "pd.DataFrame":
        """All rows of a table as a frame."""
        import pandas as pd  # needed only at the end of a run, and a start would wait for it

        return pd.DataFrame(self.rows(name))

    def close(self) -> None:
        """Close all files, even if the disk has no room for the last rows of one."""
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
