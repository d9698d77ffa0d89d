"""A SLURM cluster of one machine for tests: real daemons on the loopback, two graphics cards that are none.

Debian's packages `slurm-wlm` and `munge` are all it needs. Configuration, keys, sockets and spool lie in one folder;
nothing of the machine's own SLURM is touched, and every daemon is a child of this process.
"""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
GPUS = ("/dev/null", "/dev/zero")  # SLURM wants a device file for each; jobs are given its number
PATIENCE = 60  # seconds for a daemon to answer, or for jobs to end

CONFIG = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
# No control groups: neither they nor the rights to make them are everywhere.
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2
# A node is what is written here, not what the machine has: jobs are scheduled by it, nothing holds them to it.
SlurmdParameters=config_overrides
GresTypes=gpu
KillWait=20
NodeName=DEFAULT CPUs=4 RealMemory=262144 Gres=gpu:{gpus} State=UNKNOWN
{nodes}
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs that a cluster needs and that are not here."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


@contextlib.contextmanager
def cluster(folder: Path, nodes: int = 1) -> Iterator[dict[str, str]]:
    """A running cluster with its files in `folder`: the environment for its commands; afterwards nothing runs.

    Its `nodes` are all on this machine, each with two graphics cards.

    Raises TimeoutError, with what the daemons said last, if it does not come up.
    """
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    environment = {**os.environ, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}
    host = socket.gethostname().split(".")[0]
    controller, *ports = _free_ports(1 + nodes)
    names = [f"node{number}" for number in range(nodes)]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    place = f"NodeHostname={host} NodeAddr=127.0.0.1"
    lines = [f"NodeName={name} {place} Port={port}" for name, port in zip(names, ports, strict=True)]
    facts = {"host": host, "controller": controller, "user": getpass.getuser(), "folder": folder, "gpus": len(GPUS)}
    text = CONFIG.format(nodes="\n".join(lines), **facts)
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text(f"AutoDetect=off\nName=gpu File={','.join(GPUS)}\n")
    # The executor drops nearly every SLURM_* variable before it starts a job, but not the path.
    (folder / "bin").mkdir()
    for name in ("srun", "squeue"):
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which(name)} "$@"\n')
        program.chmod(0o755)
    environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{path}"
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)

    with contextlib.ExitStack() as running:

        def start(*command: str) -> None:
            log = running.enter_context((folder / f"{len(list(folder.glob('*.log')))}-{command[0]}.log").open("w"))
            daemon = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
            running.callback(_stop, daemon)

        files = {name: str(folder / f"munge.{name}") for name in ("socket", "pid", "log", "seed")}
        start(
            *("munged", "--foreground", "--force", "--num-threads=2", f"--key-file={key}"),
            *(f"--socket={files['socket']}", f"--pid-file={files['pid']}"),
            *(f"--log-file={files['log']}", f"--seed-file={files['seed']}"),
        )
        _wait(lambda: Path(files["socket"]).exists(), folder)
        start("slurmctld", "-D", "-c")
        for name in names:
            start("slurmd", "-D", "-N", name)
        states = ("sinfo", "--noheader", "--Node", "--format=%T")
        _wait(lambda: _output(environment, *states).split() == ["idle"] * nodes, folder)
        try:
            yield environment
        finally:
            subprocess.run(["scancel", "--partition=test"], env=environment, check=False)
            _wait(lambda: not jobs(environment, "all active"), folder)


def jobs(environment: dict[str, str], states: str) -> list[str]:
    """What `squeue` says of the jobs in these states: `id|state|comment`, the comment naming rule and wildcards."""
    chosen = [] if states == "all active" else [f"--states={states}"]
    return _output(environment, "squeue", "--noheader", "--format=%i|%T|%k", *chosen).splitlines()


def _output(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def _wait(ready: Callable[[], bool], folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > end:
            said = {log.name: log.read_text().splitlines()[-5:] for log in folder.glob("*.log")}
            raise TimeoutError(f"{folder}: the cluster did not do what was waited for; {said}")
        time.sleep(0.2)


def _stop(daemon: subprocess.Popen) -> None:
    daemon.terminate()
    try:
        daemon.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; all are held while they are looked for, so that they differ."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
