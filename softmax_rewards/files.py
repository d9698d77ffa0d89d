"""Files that appear whole or not at all: written beside their place, flushed to disk, moved in."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; on leaving without an error it takes `path`'s place."""
    partial = path.with_name(f".{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    yield partial
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def write_text(text: str, path: Path) -> None:
    """Write `text` as UTF-8."""
    with appearing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(value: dict[str, Any], path: Path) -> None:
    """Write `value` as indented JSON with sorted keys; ValueError for NaN and infinity, which JSON has not."""
    write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's mapping; ValueError names a file that is missing, not UTF-8, not JSON or no mapping."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: neither UTF-8 nor JSON
        raise ValueError(f"{path}: not a readable JSON file ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {type(value).__name__}; a JSON object is needed")
    return value


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write `table` without its index, numbers to six significant digits."""
    with appearing(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g")


def write_manifest(folder: Path, names: list[str], **facts: Any) -> None:
    """Write `manifest.json` of `folder`: the sha256 of the files `names`, one `sha256` over all, and `facts`.

    It is written last, so that a folder with a manifest is complete.
    """
    digests = {name: sha256(folder / name) for name in sorted(names)}
    together = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    write_json({"files": digests, "sha256": together, **facts}, folder / "manifest.json")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The folder's `manifest.json`; raises ValueError if the folder is not complete."""
    try:
        return read_json(folder / "manifest.json")
    except ValueError as error:
        raise ValueError(f"{folder}: no readable manifest.json, the folder is not complete ({error})") from error


def changed(folder: Path) -> list[str]:
    """The files that are not, or not any longer, as the folder's manifest has them; ValueError without a manifest."""
    digests = read_manifest(folder)["files"]
    return [name for name, digest in digests.items() if not _is(folder, name, digest)]


def _is(folder: Path, name: str, digest: str) -> bool:
    # A name that leads elsewhere is no file of the folder's.
    return Path(name).name == name and (folder / name).is_file() and sha256(folder / name) == digest


def sha256(path: Path) -> str:
    """The file's checksum, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
