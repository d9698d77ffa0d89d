"""Files that appear whole or not at all: written beside the target, flushed to disk, then moved."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `softmax-rewards status` starts without waiting for pandas
    import pandas as pd

ADVICE = {
    errno.ENOSPC: "free some",
    errno.EDQUOT: "free some",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
}


class NotWritten(OSError):
    """A file could not be written: one line says which, why and what to do."""

    then = ""  # what a new start will do; set by callers that know it

    def __str__(self) -> str:
        return (
            f"{self.filename}: {self.strerror}; {ADVICE.get(self.errno or 0, 'repair this')} and start again{self.then}"
        )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into NotWritten, which names `path`. FileNotFoundError passes unchanged.

    The system's own error names no file once the file is open.
    """
    try:
        yield
    except (NotWritten, FileNotFoundError):
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise NotWritten(error.errno, reason, str(path)) from error


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to. It replaces `path` when the block ends, and is deleted after an error.

    Raises NotWritten, which names `path`.
    """
    partial = path.with_name(f".{path.name}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            with suppress(OSError):  # the first error is the one to report
                partial.unlink()  # it may be what fills the disk
            raise


def write_text(text: str, path: Path) -> None:
    """Write `text` as UTF-8."""
    with appearing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(value: dict[str, Any], path: Path) -> None:
    """Write `value` as indented JSON with sorted keys; ValueError for NaN and infinity, which JSON lacks."""
    write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises ValueError, which names the file, if it is missing or its content is anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: neither UTF-8 nor JSON
        raise ValueError(f"{path}: not a readable JSON file ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {type(value).__name__}; a JSON object is needed")
    return value


def write_csv(table: "pd.DataFrame", path: Path) -> None:
    """Write `table` without its index, numbers to six significant digits."""
    with appearing(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g")


def write_manifest(folder: Path, names: list[str], **facts: Any) -> None:
    """Write `manifest.json` of `folder`: the sha256 of the files `names`, one `sha256` over all, and `facts`.

    It is written last, so that a folder with a manifest is complete.
    """
    digests = {name: sha256(folder / name) for name in sorted(names)}
    write_json({"files": digests, "sha256": _together(digests), **facts}, folder / "manifest.json")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The folder's `manifest.json`; raises ValueError if the folder is not complete."""
    try:
        return read_json(folder / "manifest.json")
    except ValueError as error:
        raise ValueError(f"{folder}: no readable manifest.json, the folder is not complete ({error})") from error


def verified_manifest(folder: Path) -> dict[str, Any]:
    """The folder's manifest, after all checksums are compared; raises ValueError, which names a damaged file."""
    with suppress(FileNotFoundError):
        (folder / "manifest.json").read_bytes()  # a failing disk or network is no damage: its error passes
    manifest = read_manifest(folder)
    digests = manifest.get("files")
    if not isinstance(digests, dict) or manifest.get("sha256") != _together(digests):
        raise ValueError(f"{folder / 'manifest.json'} is damaged (sha256 differs)")
    verify(folder, digests)
    return manifest


def verify(folder: Path, digests: Mapping[str, str]) -> None:
    """Compare files in `folder` with their sha256; raises ValueError, which names one that differs or is missing."""
    for name, digest in digests.items():
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise ValueError(f"{folder / name} leads out of {folder}")
        try:
            actual = sha256(folder / name)
        except FileNotFoundError:  # other errors mean a failing disk or network
            raise ValueError(f"{folder / name} is damaged (no such file)") from None
        if actual != digest:
            raise ValueError(f"{folder / name} is damaged (sha256 differs)")


def _together(digests: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def link(source: Path, target: Path) -> None:
    """Give a file a second name: a hard link where the file system has them, else a copy."""
    if target.exists() and target.samefile(source):
        return  # replacing a file by a link to itself would leave the link beside it
    with appearing(target) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(source.resolve(), partial)  # resolved, because in a hub's cache `source` is a symbolic link
        except OSError:
            shutil.copyfile(source, partial)


def sha256(path: Path) -> str:
    """The file's checksum, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
