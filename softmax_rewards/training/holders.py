"""Who is at work in a results folder: a workflow, and the jobs of one that was killed.

Snakemake locks its working directory, not the results. When it is killed, its lock stays and its jobs go on. So the
workflow also locks the results folder, and marks its jobs. Jobs are only found on this machine, and only on Linux.
"""

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from softmax_rewards.common import locks
from softmax_rewards.training.state import proc_stat

if TYPE_CHECKING:
    from filelock import FileLock

# Jobs cannot inherit the lock, because Snakemake starts them with all files closed. They inherit the environment:
# a job has the results folder in this variable, and /proc shows it even after the workflow was killed.
MARK = "SOFTMAX_REWARDS_RESULTS"
COMMAND = "snakemake"
PATIENCE = 0.5  # seconds to wait: `explanation` of another workflow also takes the lock for a moment

_held: "FileLock | None" = None  # locked until the process ends


def mark_jobs(results: Path) -> None:
    """Let `jobs` find the processes that this one will start, as jobs in `results`."""
    os.environ[MARK] = str(results.resolve())


def hold(results: Path) -> None:
    """Reserve `results` for this process until it ends.

    Raises RuntimeError while another workflow, or a job of a killed one, is at work there: one line names them.
    """
    global _held
    lock = locks.hold(results, COMMAND, PATIENCE)
    if left := jobs(results):
        lock.release()
        raise RuntimeError(_describe(results, left))
    _held = lock


def explanation(results: Path) -> str:
    """What to do about a lock that Snakemake has in this working directory: one line."""
    try:
        locks.hold(results, COMMAND, PATIENCE).release()
    except RuntimeError as error:
        return str(error)
    if left := jobs(results):
        return f"{_describe(results, left)}; afterwards `snakemake --unlock`, and start again"
    return f"{results}: nothing is at work here; a killed workflow left its lock: `snakemake --unlock`, and start again"


def jobs(results: Path) -> dict[int, str]:
    """Jobs at work in `results`: process → script."""
    mark = os.fsencode(f"{MARK}={results.resolve()}")
    scripts = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            if mark in (folder / "environ").read_bytes().split(b"\0") and (script := _script(folder)):
                scripts[int(folder.name)] = script
    # A job's own processes have the mark as well. The job itself takes care of them.
    return {process: script for process, script in sorted(scripts.items()) if _parent(process) not in scripts}


def stop(results: Path) -> None:
    """Ask the jobs at work in `results` to end: training saves a checkpoint first."""
    for process in jobs(results):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)


def _script(process: Path) -> str | None:
    """The Python script that a process (its folder in /proc) runs; None for the shells around the jobs."""
    words = (process / "cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    return next((Path(word).name for word in words if word.endswith(".py")), None)


def _parent(process: int) -> int | None:
    entry = proc_stat(process)
    return int(entry[1]) if entry else None


def _describe(results: Path, left: dict[int, str]) -> str:
    named = ", ".join(f"process {process} ({script})" for process, script in left.items())
    return f"{results}: jobs of a killed workflow are at work here: {named}; wait for them or stop them"
