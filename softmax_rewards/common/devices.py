"""Devices: a lease that gives concurrent jobs different GPUs.

Snakemake's `--resources gpu=N` only counts; it does not tell a job which GPU to use. So each job takes one file lock
per GPU before torch is imported, and sees only those GPUs. The kernel drops the locks when the process ends, however
it ends.
"""

import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from softmax_rewards.common import locks

if TYPE_CHECKING:
    from filelock import FileLock

VISIBLE = "CUDA_VISIBLE_DEVICES"
SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")  # set by schedulers that assign a job its own devices
POLL = 0.5  # seconds between two looks at busy devices

_held: "list[FileLock]" = []  # the lease lasts as long as this process
_offered: str | None = None  # CUDA_VISIBLE_DEVICES before the lease narrowed it


def lease(device: str = "auto", wait: bool = True, count: int = 1) -> str | None:
    """Take `count` free GPUs for this process and hide the others; call it before torch is imported.

    While too few are free, it prints one line and waits, or returns None without `wait`. It also returns None if
    `device` is "cpu", if there are no GPUs, and if a scheduler has already assigned exactly these GPUs to this job.

    Returns the names of the GPUs, as CUDA_VISIBLE_DEVICES then has them. A second call returns the first one's lease.
    Raises ValueError if there are fewer than `count` GPUs, and RuntimeError if the folder for the locks has no `flock`.
    """
    global _offered
    if device == "cpu":
        return None
    if _held:
        return os.environ[VISIBLE]
    names = devices()
    if not names or (len(names) == count and any(name in os.environ for name in SCHEDULERS)):
        return None
    if len(names) < count:
        raise ValueError(f"training.gpus: {count}; allowed: at most {len(names)} ({', '.join(names)})")
    waiting = False
    while True:
        taken: dict[str, FileLock] = {}
        for name, file in names.items():
            if len(taken) < count and (lock := _try_lock(file)):
                taken[name] = lock
        if len(taken) == count:
            _offered = os.environ.get(VISIBLE)
            _held.extend(taken.values())
            os.environ[VISIBLE] = ",".join(taken)
            return os.environ[VISIBLE]
        for lock in taken.values():  # otherwise two jobs that hold half each would wait forever
            lock.release()
        if not wait:
            return None
        if not waiting:
            which, needed = ("all GPUs", "one") if count == 1 else ("too many GPUs", f"{count} at once")
            print(f"[device] {which} are taken ({', '.join(names)}); waiting for {needed}", flush=True)
            waiting = True
        # At random moments, so that two jobs do not keep blocking each other.
        time.sleep(POLL * random.uniform(0.5, 1.5))


def offered() -> str | None:
    """CUDA_VISIBLE_DEVICES before this process took its lease. A child process needs it to take a lease of its own."""
    return _offered if _held else os.environ.get(VISIBLE)


def devices() -> dict[str, Path]:
    """GPUs that this process may use: name for CUDA_VISIBLE_DEVICES → lock file.

    They are those of CUDA_VISIBLE_DEVICES if it is set, else all that `nvidia-smi` lists. A GPU has a number and a
    UUID. The lock file is named after the UUID if `nvidia-smi` knows it, so that both names mean one lease.
    """
    uuids = _installed()
    visible = os.environ.get(VISIBLE)
    names = list(uuids.values()) if visible is None else [name.strip() for name in visible.split(",")]
    if "-1" in names:  # CUDA ends the list at the first invalid entry
        names = names[: names.index("-1")]
    folder = Path(tempfile.gettempdir()) / "softmax-rewards-gpus"
    return {name: folder / f"{uuids.get(name, name)}.lock" for name in names if name}


def _installed() -> dict[str, str]:
    """Number → UUID of every GPU of this machine; empty without an NVIDIA driver."""
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:  # there is no driver or no device
        return {}
    return dict(line.replace(" ", "").split(",") for line in answer.stdout.splitlines() if line.strip())


def _try_lock(path: Path) -> "FileLock | None":
    """The lock of a device, taken; None while another process has it."""
    from filelock import FileLock, Timeout  # takes 10 ms, so only where a GPU is leased

    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o1777)
    # All users of the machine share its devices, so all of them may write the file.
    lock = FileLock(path, mode=0o666, timeout=0, fallback_to_soft=False)
    try:
        with locks.flock_needed(path.parent, "name a folder on a local disk: TMPDIR=FOLDER"):
            lock.acquire()
    except Timeout:
        return None
    return lock
