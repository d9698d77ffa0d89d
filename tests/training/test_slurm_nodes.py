"""Several nodes of a SLURM job, with a stand-in for `srun` that starts a command once per node on this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from softmax_rewards.training import slurm_nodes

SRUN = """\
#!/bin/bash
# The options of srun are noted. The node's number goes to the command as SLURM_NODEID.
while [[ $1 == -* ]]; do
    echo "$1" >> "$NOTED"
    case $1 in --nodes=*) nodes=${1#*=};; esac
    shift
done
for node in $(seq 0 $((nodes - 1))); do SLURM_NODEID=$node "$@" & done
trap 'kill -TERM $(jobs -p)' TERM
code=0
for job in $(jobs -p); do
    while wait "$job"; ended=$?; kill -0 "$job" 2> /dev/null; do :; done  # a signal interrupts `wait`
    code=$((code | ended))
done
exit $code
"""
JOB = """\
import os, sys, time
from pathlib import Path
if "LOCAL_RANK" not in os.environ:
    from softmax_rewards.training import slurm_nodes
    sys.exit(slurm_nodes.again(int(sys.argv[2])))
names = ("SLURM_NODEID", "LOCAL_RANK", "RANK", "WORLD_SIZE")
Path(sys.argv[1], os.environ["RANK"]).write_text(" ".join(os.environ[name] for name in names))
if sys.argv[3:] == ["--run"]:
    time.sleep(600)
sys.exit(sys.argv[3:] == ["--fail"] and os.environ["RANK"] == "1")
"""


@pytest.fixture
def allocation(tmp_path):
    """The environment of a job on two nodes."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/srun").write_text(SRUN)
    (tmp_path / "bin/srun").chmod(0o755)
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "ranks").mkdir()
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    slurm = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": str(os.getpid())}
    return {**os.environ, **slurm, "PATH": path, "PYTHONPATH": os.getcwd(), "NOTED": str(tmp_path / "noted")}


def start(tmp_path: Path, environment: dict[str, str], *arguments: str) -> subprocess.Popen:
    command = [sys.executable, str(tmp_path / "job.py"), str(tmp_path / "ranks"), *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_every_node_has_its_share_of_the_ranks(tmp_path, allocation):
    process = start(tmp_path, allocation, "4")
    assert process.wait() == 0, process.communicate()
    process.communicate()
    seen = [file.read_text().split() for file in (tmp_path / "ranks").iterdir()]
    assert sorted((local, rank, size) for _, local, rank, size in seen) == [
        ("0", "0", "4"),
        ("0", "2", "4"),
        ("1", "1", "4"),
        ("1", "3", "4"),
    ]
    assert {node for node, *_ in seen} == {"0", "1"}
    assert (tmp_path / "noted").read_text().split() == [
        *("--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--kill-on-bad-exit=1")
    ]


@pytest.mark.slow
def test_a_rank_that_fails_is_told_in_one_line(tmp_path, allocation):
    process = start(tmp_path, allocation, "2", "--fail")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith("srun on 2 nodes ended with code ")


@pytest.mark.slow
def test_a_request_to_end_reaches_all_ranks(tmp_path, allocation):
    process = start(tmp_path, allocation, "2", "--run")
    while len(list((tmp_path / "ranks").iterdir())) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(("answer", "nodes"), [("echo 2", 2), ("echo slurm_load_jobs error >&2; exit 1", 1)])
def test_slurm_is_asked_where_its_variables_are_hidden(tmp_path, monkeypatch, answer, nodes):
    program = tmp_path / "squeue"
    program.write_text(f'#!/bin/sh\n[ "$1" = --jobs=7 ] || exit 2\n{answer}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert slurm_nodes.count() == 1
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert slurm_nodes.count() == nodes


def test_gpus_that_cannot_be_shared_equally_are_refused(monkeypatch):
    assert slurm_nodes.count() == 1
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert slurm_nodes.count() == 2
    with pytest.raises(SystemExit, match=r"training\.gpus: 3; allowed: a multiple of the job's 2 nodes"):
        slurm_nodes.again(3)
