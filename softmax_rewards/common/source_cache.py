"""A cache on disk of what was computed from a source file. It lies beside Python's own cache, in `__pycache__`.

Every job needs the fingerprint of some 70 source files. To parse them takes most of a second.
"""

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def cached(source: Path, version: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """`compute()`, or its result from the cache if neither the bytes of `source` nor `version` have changed.

    The result must be a JSON object. `version` names everything else that the result depends on. A cache that cannot
    be read or written is ignored.
    """
    key = hashlib.sha256(version.encode() + b"\0" + source.read_bytes()).hexdigest()
    file = Path(importlib.util.cache_from_source(str(source))).with_suffix(".json")
    with suppress(OSError, ValueError, KeyError, TypeError):
        entry = json.loads(file.read_text(encoding="utf-8"))
        if entry["key"] == key:
            return dict(entry["value"])
    value = compute()
    with suppress(OSError):
        _write({"key": key, "value": value}, file)
    return value


def _write(entry: dict[str, Any], file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    # A name of its own, because several jobs may write the same entry at once.
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(entry), encoding="utf-8")
        os.replace(partial, file)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise
