"""Who is at work in a results folder: a workflow, and the jobs of one that was killed.

Snakemake's own lock is of a working directory, not of the results, and stays behind when it is killed, while its jobs
work on. So the workflow holds a lock of the kernel on `<results>/.lock`, and each of its jobs has that file open as
descriptor `MARK`; the kernel drops both when the process ends, however it ends. What is told by /proc is of this
machine, and nothing where there is no /proc.
"""

import contextlib
import fcntl
import os
import shlex
import signal
from pathlib import Path
from typing import TextIO

from softmax_rewards.training.run_state import Locks, parent

LOCK = ".lock"
MARK = 9  # a descriptor that bash can open by its number, and nothing else uses

_held: TextIO | None = None  # kept open, and with it the lock, until the process ends


def prefix(results: Path) -> str:
    """What a job's bash command begins with, to be known as one at work in `results`."""
    lock = shlex.quote(str(results / LOCK))
    return f"if [ -e {lock} ]; then exec {MARK}< {lock}; fi; "


def hold(results: Path) -> None:
    """Keep `results` for this process until it ends.

    Raises RuntimeError, one line naming the processes, while another workflow or a killed one's job is at work there.
    """
    global _held
    results.mkdir(parents=True, exist_ok=True)
    lock = (results / LOCK).open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise RuntimeError(_workflow(results, holder)) from None
    if left := jobs(results):
        lock.close()
        raise RuntimeError(_jobs(results, left))
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    _held = lock


def explanation(results: Path) -> str:
    """What to do about a lock that Snakemake has in this working directory: one line."""
    if (holder := Locks({}).holder(results / LOCK)) is not None:
        return _workflow(results, str(holder))
    if left := jobs(results):
        return f"{_jobs(results, left)}; afterwards `snakemake --unlock`, and start again"
    return f"{results}: nothing is at work here; a killed workflow left its lock: `snakemake --unlock`, and start again"


def jobs(results: Path) -> dict[int, str]:
    """Jobs at work in `results` on this machine: process → script; the shells that wait for them are left out."""
    try:
        mark = (results / LOCK).stat()
    except FileNotFoundError:
        return {}
    marked = set()
    for link in Path("/proc").glob(f"[0-9]*/fd/{MARK}"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is somebody else's
            if os.path.samestat(link.stat(), mark):
                marked.add(int(link.parts[2]))
    marked -= {os.getpid()}
    shells = set(map(parent, marked))
    return {process: _script(process) for process in sorted(marked - shells)}


def stop(results: Path) -> None:
    """Ask the jobs at work in `results` to end: training saves a checkpoint first."""
    for process in jobs(results):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)


def _script(process: int) -> str:
    """The name of the script that a process runs; "ended" if it has ended."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:
        return "ended"
    return next((Path(word).name for word in words[1:] if word.endswith(".py")), Path(words[0]).name)


def _workflow(results: Path, process: str) -> str:
    return f"{results}: process {process} (snakemake) is at work here; wait for it or stop it"


def _jobs(results: Path, left: dict[int, str]) -> str:
    named = ", ".join(f"process {process} ({script})" for process, script in left.items())
    return f"{results}: jobs of a killed workflow are at work here: {named}; wait for them or stop them"
