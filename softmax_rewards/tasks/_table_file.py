"""A file of public data, parquet or JSON lines, row by row."""

import json
from collections.abc import Iterator
from pathlib import Path

from pyarrow import ArrowInvalid, parquet


def rows(path: Path) -> Iterator[object]:
    """The rows of a .parquet or .jsonl file in its order; of a sound file each is a dict.

    Raises ValueError naming the file, and the row (counted from 1) that is no JSON.
    """
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
                raise ValueError(f"{path}, row {number}: not JSON: {shown(line)}") from error


def shown(entry: object) -> str:
    """`entry` as an error message shows it: at most 60 characters."""
    text = repr(entry)
    return text if len(text) <= 60 else text[:57] + "..."
