"""Who is at work in a results folder: a running workflow, or jobs that continue after their workflow was killed.

Snakemake keeps its lock in the working directory. So it does not notice a workflow that uses the same results from
another directory. When Snakemake is killed, its lock stays and its jobs continue. For these reasons the workflow also
locks the results folder and marks its jobs. Jobs are found only on this machine, and only on Linux.
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

# Jobs cannot inherit the lock, because Snakemake starts them with all files closed. But they inherit the environment,
# so this variable holds the results folder. /proc shows a job's environment even after the workflow was killed.
MARK = "SOFTMAX_REWARDS_RESULTS"
COMMAND = "snakemake"
PATIENCE = 0.5  # seconds to wait for the lock, because `explanation` in another process holds it for a moment

_held: "FileLock | None" = None  # kept until the process ends, because an unused lock would be released


def mark_jobs(results: Path) -> None:
    """Mark all processes that this process starts from now on, so that `jobs(results)` finds them."""
    # /proc shows the environment with which a process started. So `jobs` does not find this process itself.
    os.environ[MARK] = str(results.resolve())


def hold(results: Path) -> None:
    """Reserve `results` for this process until it ends.

    Raises RuntimeError if another workflow, or a job that a killed workflow left, is at work there. Its one line gives
    the process numbers.
    """
    global _held
    # The lock comes first. Otherwise two workflows could both find no jobs and then both start.
    lock = locks.hold(results, COMMAND, PATIENCE)
    if left := jobs(results):
        lock.release()
        raise RuntimeError(_describe(results, left))
    _held = lock


def explanation(results: Path) -> str:
    """Explain Snakemake's lock in this working directory, in one line: who is at work in `results`, and what to do."""
    try:
        locks.hold(results, COMMAND, PATIENCE).release()
    except RuntimeError as error:
        return str(error)
    if left := jobs(results):
        return f"{_describe(results, left)}; then run `snakemake --unlock` and start again"
    # The lock may also belong to a workflow in this directory that is at work on other results.
    return (
        f"{results}: nothing is at work here; if no workflow with other results runs in this directory,"
        " a killed one left its lock: run `snakemake --unlock` and start again"
    )


def jobs(results: Path) -> dict[int, str]:
    """The jobs at work in `results`: process number → name of the script."""
    mark = os.fsencode(f"{MARK}={results.resolve()}")
    scripts = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has ended, or belongs to another user
            if mark in (folder / "environ").read_bytes().split(b"\0") and (script := _script(folder)):
                scripts[int(folder.name)] = script
    # The processes that a job starts inherit the mark. They are left out, because the job ends them itself.
    return {process: script for process, script in sorted(scripts.items()) if _parent(process) not in scripts}


def stop(results: Path) -> None:
    """Send SIGTERM to the jobs at work in `results`. A training job saves a checkpoint and then ends."""
    for process in jobs(results):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)


def _script(process: Path) -> str | None:
    """The name of the Python script that a process runs; `process` is its folder in /proc.

    None if it runs no script, such as the shell in which Snakemake starts a job.
    """
    words = (process / "cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    return next((Path(word).name for word in words if word.endswith(".py")), None)


def _parent(process: int) -> int | None:
    entry = proc_stat(process)
    return int(entry[1]) if entry else None


def _describe(results: Path, left: dict[int, str]) -> str:
    named = ", ".join(f"process {process} ({script})" for process, script in left.items())
    return f"{results}: jobs of a killed workflow are at work here: {named}; wait for them or stop them"
