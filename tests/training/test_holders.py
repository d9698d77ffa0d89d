"""Who is at work in a results folder, with real processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from softmax_rewards.training import holders

ROOT = Path(__file__).parents[2]
HOLD = (
    "import sys; from pathlib import Path; from softmax_rewards.training import holders\n"
    "try: holders.hold(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()\n"
    "except RuntimeError as error: print(error)\n"
)
JOB = "import time; print('at work', flush=True); time.sleep(600)"


@pytest.fixture
def start(tmp_path):
    """A function that starts a process in its own group; all end with the test."""
    processes = []

    def begin(*command: str, **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def line(process: subprocess.Popen) -> str:
    return process.stdout.readline().strip()


def workflow(start, results: Path) -> subprocess.Popen:
    return start(sys.executable, "-c", HOLD, str(results))


def job(start, results: Path, tmp_path: Path, code: str = JOB) -> subprocess.Popen:
    """Start a job as Snakemake does, in a shell."""
    (tmp_path / "job.py").write_text(code)
    command = f"set -e; {sys.executable} {tmp_path}/job.py || exit 1"
    shell = start("bash", "-c", command, **{holders.MARK: str(results.resolve())})
    assert line(shell) == "at work"
    return shell


def test_a_second_workflow_is_told_who_is_at_work_until_that_one_is_killed(tmp_path, start):
    results = tmp_path / "results"
    first = workflow(start, results)
    assert line(first) == "held"
    told = f"{results}: process {first.pid} (snakemake) is at work here on {socket.gethostname()}"
    told += "; wait for it or stop it"
    assert line(workflow(start, results)) == told == holders.explanation(results)
    assert line(workflow(start, tmp_path / "other")) == "held"
    first.kill()
    first.wait()
    assert line(workflow(start, results)) == "held"


def test_the_job_of_a_killed_workflow_keeps_a_second_one_out_until_it_ends(tmp_path, start):
    results = tmp_path / "results"
    first = workflow(start, results)
    assert line(first) == "held"
    shell = job(start, results, tmp_path)
    (orphan,) = holders.jobs(results)
    assert orphan != shell.pid
    first.kill()
    first.wait()
    told = f"{results}: jobs of a killed workflow are at work here: process {orphan} (job.py)"
    told += "; wait for them or stop them"
    assert line(workflow(start, results)) == told
    assert holders.explanation(results).startswith(told) and "`snakemake --unlock`" in holders.explanation(results)
    holders.stop(results)
    while holders.jobs(results):
        time.sleep(0.01)
    assert "nothing is at work here" in holders.explanation(results)
    assert line(workflow(start, results)) == "held"


def test_a_job_is_found_once_and_in_its_own_results_only(tmp_path, start, monkeypatch):
    forks = "import os, time; child = os.fork(); child and print('at work', flush=True); time.sleep(600)"
    job(start, tmp_path / "results", tmp_path, forks)
    assert list(holders.jobs(tmp_path / "results").values()) == ["job.py"]
    assert holders.jobs(tmp_path / "others") == {}
    monkeypatch.setenv(holders.MARK, "of an earlier test")
    holders.mark_jobs(tmp_path / "others")
    script = tmp_path / "marked.py"
    script.write_text("import sys; print('at work', flush=True); sys.stdin.read()")
    marked = start(sys.executable, str(script))
    assert line(marked) == "at work"
    assert holders.jobs(tmp_path / "others") == {marked.pid: "marked.py"}
