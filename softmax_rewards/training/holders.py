"""Who is at work in a results folder: a workflow, and the jobs of one that was killed.

Snakemake locks a working directory, not the results. Its lock stays when it is killed, and its jobs work on. So the
workflow holds a kernel lock on `<results>/.lock`, and each of its jobs has that file open as descriptor `MARK`. The
kernel drops both when the process ends, however it ends. Jobs are found on this machine only, and only on Linux.
"""

import contextlib
import fcntl
import os
import shlex
import signal
from pathlib import Path
from typing import TextIO

from softmax_rewards.training.state import proc_stat

LOCK = ".lock"
MARK = 9  # a descriptor that bash can open by its number, and nothing else uses

_held: TextIO | None = None  # open, and so locked, until the process ends


def prefix(results: Path) -> str:
    """The beginning of a job's bash command, by which `jobs` knows that it is at work in `results`."""
    lock = shlex.quote(str(results / LOCK))
    return f"if [ -e {lock} ]; then exec {MARK}< {lock}; fi; "


def hold(results: Path) -> None:
    """Reserve `results` for this process until it ends.

    Raises RuntimeError while another workflow, or a job of a killed one, is at work there: one line names them.
    """
    global _held
    results.mkdir(parents=True, exist_ok=True)
    lock = _locked(results)
    if left := jobs(results):
        lock.close()
        raise RuntimeError(_jobs(results, left))
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    _held = lock


def _locked(results: Path, kind: int = fcntl.LOCK_EX) -> TextIO:
    """The lock of `results`, taken; RuntimeError names the workflow that has it."""
    lock = (results / LOCK).open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        process = lock.read().strip() or "unknown"
        lock.close()
        text = f"{results}: process {process} (snakemake) is at work here; wait for it or stop it"
        raise RuntimeError(text) from None
    return lock


def explanation(results: Path) -> str:
    """What to do about a lock that Snakemake has in this working directory: one line."""
    try:
        # Two that ask at once must not take each other for a workflow: they share the lock.
        with contextlib.suppress(FileNotFoundError):
            _locked(results, fcntl.LOCK_SH).close()
    except RuntimeError as error:
        return str(error)
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
    shells = set(map(_parent, marked))
    return {process: _script(process) for process in sorted(marked - shells)}


def stop(results: Path) -> None:
    """Ask the jobs at work in `results` to end: training saves a checkpoint first."""
    for process in jobs(results):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)


def _parent(process: int) -> int | None:
    entry = proc_stat(process)
    return int(entry[1]) if entry else None


def _script(process: int) -> str:
    """The name of the script that a process runs; "ended" if it has ended."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:
        return "ended"
    return next((Path(word).name for word in words[1:] if word.endswith(".py")), Path(words[0]).name)


def _jobs(results: Path, left: dict[int, str]) -> str:
    named = ", ".join(f"process {process} ({script})" for process, script in left.items())
    return f"{results}: jobs of a killed workflow are at work here: {named}; wait for them or stop them"
