"""Locks: one process at a time works in a folder, and `.lock` there says which one.

The kernel drops a lock when its process ends, however it ends. Only the file stays, and it holds nobody up.
"""

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock

FILE = ".lock"


def hold(folder: Path, command: str, patience: float = 0.0) -> "FileLock":
    """Reserve `folder`, which is made if need be, until the returned lock is released or deleted.

    Args:
        folder: the folder.
        command: name of the holder in the message, the same one in all calls for this folder.
        patience: seconds to wait for another process.

    Raises RuntimeError if another process holds the folder: one line names process, command and machine.
    """
    from filelock import FileLock, Timeout  # takes 10 ms, so not at every start

    file = folder / FILE
    # Without `flock` filelock would fall back to a plain file, which a killed process leaves behind.
    lock = FileLock(file, timeout=patience, fallback_to_soft=False, on_acquired=_sign)
    try:
        lock.acquire()
    except Timeout:
        process, _, host = file.read_text(encoding="utf-8").strip().partition(" ")
        raise RuntimeError(
            f"{folder}: process {process or 'unknown'} ({command}) is at work here on {host or 'an unknown machine'};"
            " wait for it or stop it"
        ) from None
    return lock


def _sign(descriptor: int) -> None:
    """Write this process into the lock file."""
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())
