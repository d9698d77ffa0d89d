"""Locks: one process at a time works in a folder, and `.lock` there says which one.

The kernel releases a lock when its process ends, even if it is killed. The file then remains, but it locks nothing.
"""

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock

FILE = ".lock"


def hold(folder: Path, command: str, patience: float = 0.0) -> "FileLock":
    """Reserve `folder` for this process. Create the folder if it is missing.

    The caller must keep the returned lock. The folder is free again when that object is released or garbage-collected.

    Args:
        folder: the folder.
        command: what runs in this folder, for the error message. All calls for one folder must pass the same word.
        patience: seconds to wait for another process.

    Raises RuntimeError if another process still holds the folder. Its one line names process, command and machine.
    Raises OSError if the file cannot be written, or if the file system has no `flock`.
    """
    from filelock import FileLock, Timeout  # here, because this import takes 10 ms that most commands need not spend

    file = folder / FILE
    # Without `flock`, filelock would use the existence of a file as the lock. A killed process would leave that file.
    lock = FileLock(file, timeout=patience, fallback_to_soft=False, on_acquired=_sign)
    try:
        lock.acquire()
    except Timeout:
        # The file is empty for a moment between locking and signing.
        process, _, host = file.read_text(encoding="utf-8").strip().partition(" ")
        raise RuntimeError(
            f"{folder}: process {process or 'unknown'} ({command}) is at work here on {host or 'an unknown machine'};"
            " wait for it or stop it"
        ) from None
    return lock


def _sign(descriptor: int) -> None:
    """Write this process's number and machine into the lock file, in place of the last holder's."""
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())
