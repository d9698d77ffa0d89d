"""Locks: one process at a time works in a folder, and `.lock` there says which one.

The kernel releases a lock when its process ends, even if it is killed. The file then remains, but it locks nothing.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock

FILE = ".lock"
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""What `flock` answers on a file system without it, such as some network disks and mounted buckets."""


def hold(folder: Path, command: str, patience: float = 0.0) -> "FileLock":
    """Reserve `folder` for this process. Create the folder if it is missing.

    The caller must keep the returned lock. The folder is free again when that object is released or garbage-collected.

    Args:
        folder: the folder.
        command: what runs in this folder, for the error message. All calls for one folder must pass the same word.
        patience: seconds to wait for another process.

    Raises RuntimeError, one line, if another process still holds the folder, or if its file system has no `flock`.
    Raises OSError if the file cannot be written.
    """
    from filelock import FileLock, Timeout  # here, because this import takes 10 ms that most commands need not spend

    file = folder / FILE
    # Without `flock`, filelock would use the existence of a file as the lock. A killed process would leave that file.
    lock = FileLock(file, timeout=patience, fallback_to_soft=False, on_acquired=_sign)
    try:
        with flock_needed(folder, "put the results on a local disk: snakemake --config results=FOLDER"):
            lock.acquire()
    except Timeout:
        # The file is empty for a moment between locking and signing.
        process, _, host = file.read_text(encoding="utf-8").strip().partition(" ")
        raise RuntimeError(
            f"{folder}: process {process or 'unknown'} ({command}) is at work here on {host or 'an unknown machine'};"
            " wait for it or stop it"
        ) from None
    return lock


@contextmanager
def flock_needed(folder: Path, remedy: str) -> Iterator[None]:
    """Turn the OSError of a file system without `flock` into a RuntimeError of one line, with `remedy` at its end."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        missing = f"its file system has no file locks (flock: {os.strerror(error.errno)}), which keep processes apart"
        raise RuntimeError(f"{folder}: {missing}; {remedy}") from None


def _sign(descriptor: int) -> None:
    """Write this process's number and machine into the lock file, in place of the last holder's."""
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())
