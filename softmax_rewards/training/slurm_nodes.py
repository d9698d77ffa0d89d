"""One run on several nodes of a SLURM job: the job's first node starts torchrun on each of them, by srun."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from types import FrameType

FIRST_PORT, PORTS = 20_000, 10_000  # the ranks find each other at one of these ports of the first node


def count() -> int:
    """The number of nodes of this job; 1 outside of SLURM."""
    if known := os.environ.get("SLURM_JOB_NUM_NODES"):
        return int(known)
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or shutil.which("squeue") is None:
        return 1
    # Snakemake's executor leaves its jobs only the job's number, so SLURM is asked.
    command = ["squeue", f"--jobs={job}", "--noheader", "--format=%D"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return int(answer) if answer.isdecimal() else 1


def again(gpus: int) -> None:
    """Run this same command in `gpus` processes, equally many on every node of the job.

    Raises SystemExit if they fail, with one line. SIGTERM is passed on to all of them; then the exit status is 143.
    """
    nodes, job = count(), os.environ["SLURM_JOB_ID"]
    if gpus % nodes:
        raise SystemExit(f"training.gpus: {gpus}; allowed: a multiple of the job's {nodes} nodes")
    srun = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    meeting = f"{socket.gethostname()}:{FIRST_PORT + int(job) % PORTS}"
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", f"--nproc-per-node={gpus // nodes}"]
    torchrun += [f"--rdzv-id={job}", "--rdzv-backend=c10d", f"--rdzv-endpoint={meeting}"]
    # Without `--`, torchrun would take the script's --run for one of its own options.
    process = subprocess.Popen([*srun, *torchrun, "--", *sys.argv])
    requests: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        requests.append(number)
        process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    code = process.wait()
    if code and requests:
        raise SystemExit(128 + requests[0])
    if code:
        reason = f"srun on {nodes} nodes ended with code {code}, see above"
        raise SystemExit(f"{reason}; the next start goes on from the last checkpoint")
