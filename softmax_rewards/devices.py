"""Devices: a lease that gives concurrent jobs different GPUs.

Snakemake's `--resources gpu=N` only counts; no job is told which GPU is its own. So each job takes a file
lock, one a device, before torch is imported, and shows itself only that device. The kernel drops the lock
when the process ends, however it ends.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")  # set by those that assign a job its own devices
POLL = 0.5  # seconds between two looks at busy devices

_held: int | None = None  # the locked file's descriptor; kept open, and with it the lease, until the process ends
_offered: str | None = None  # CUDA_VISIBLE_DEVICES before the lease narrowed it


def lease(device: str = "auto", wait: bool = True) -> str | None:
    """Take a free GPU for this process and hide the others; call it before torch is imported.

    Waits, saying so once, while every device is taken, or does not `wait` and returns None. Does nothing and returns
    None for `device` "cpu", without GPUs, and under a scheduler that has already assigned this job its one device.

    Returns the device's name as put into CUDA_VISIBLE_DEVICES. A second call returns the first one's lease.
    """
    global _held, _offered
    if device == "cpu":
        return None
    if _held is not None:
        return os.environ[VISIBLE]
    names = devices()
    if len(names) == 1 and any(name in os.environ for name in SCHEDULERS):
        return None
    waiting = False
    while names:
        for name, lock in names.items():
            descriptor = _try_lock(lock)
            if descriptor is not None:
                _held, _offered = descriptor, os.environ.get(VISIBLE)
                os.environ[VISIBLE] = name
                return name
        if not wait:
            return None
        if not waiting:
            print(f"[device] all GPUs are taken ({', '.join(names)}); waiting for one", flush=True)
            waiting = True
        time.sleep(POLL)
    return None


def offered() -> str | None:
    """CUDA_VISIBLE_DEVICES as it was before this process took its lease: for a process that takes one of its own."""
    return os.environ.get(VISIBLE) if _held is None else _offered


def devices() -> dict[str, Path]:
    """GPUs this process may use: name as CUDA_VISIBLE_DEVICES takes it → lock file.

    They are those of CUDA_VISIBLE_DEVICES if it is set, else all that `nvidia-smi` lists. A device has a
    number and a UUID; the lock goes by the UUID where `nvidia-smi` tells it, so that both mean one lease.
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
    if answer.returncode:  # installed, but no driver or no device: the same as no GPU
        return {}
    return dict(line.replace(" ", "").split(",") for line in answer.stdout.splitlines() if line.strip())


def _try_lock(path: Path) -> int | None:
    descriptor = _opened(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _opened(path: Path) -> int:
    """A descriptor of the lock file, which every user of the machine may open: locking needs no more than reading."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o1777)
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
