"""Leases, with real processes and an `nvidia-smi` of our own; and times in words."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from softmax_rewards.common import devices
from softmax_rewards.common.terminal import clock

ROOT = Path(__file__).parents[2]
JOB = "import sys; from softmax_rewards.common import devices; print(devices.lease(), flush=True); sys.stdin.read()"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with eight GPUs, and a function that starts a job on it; jobs end with the test."""
    stub = tmp_path / "bin" / "nvidia-smi"
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\nfor i in 0 1 2 3 4 5 6 7; do echo $i, GPU-$i; done\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stub.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    for name in (devices.VISIBLE, *devices.SCHEDULERS):
        monkeypatch.delenv(name, raising=False)
    jobs = []

    def start(**environment: str) -> subprocess.Popen:
        job = subprocess.Popen(
            [sys.executable, "-c", JOB],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
        jobs.append(job)
        return job

    yield start
    for job in jobs:
        job.kill()
        job.communicate()


def line(job: subprocess.Popen) -> str:
    return job.stdout.readline().strip()


def test_eight_jobs_get_eight_devices_and_the_ninth_waits_for_a_killed_one(machine):
    jobs = [machine() for _ in range(8)]
    taken = [line(job) for job in jobs]
    assert sorted(taken) == [f"GPU-{index}" for index in range(8)]
    ninth = machine()
    assert "waiting" in line(ninth)
    began = time.monotonic()
    jobs[3].send_signal(signal.SIGKILL)
    assert line(ninth) == taken[3]
    assert time.monotonic() - began < 10 * devices.POLL


def test_only_visible_devices_are_leased(machine):
    jobs = [machine(CUDA_VISIBLE_DEVICES="2,5") for _ in range(3)]
    first = [line(job) for job in jobs]
    assert sorted(text for text in first if "waiting" not in text) == ["2", "5"]
    assert sum("waiting" in text for text in first) == 1


def test_a_number_and_a_uuid_are_one_device(machine):
    assert line(machine(CUDA_VISIBLE_DEVICES="3")) == "3"
    assert "waiting" in line(machine(CUDA_VISIBLE_DEVICES="GPU-3"))


@pytest.mark.parametrize(
    "environment",
    [
        {"CUDA_VISIBLE_DEVICES": ""},
        {"CUDA_VISIBLE_DEVICES": "-1"},
        {"CUDA_VISIBLE_DEVICES": "4", "SLURM_JOB_ID": "7"},
    ],
)
def test_nothing_to_lease(machine, environment):
    jobs = [machine(**environment) for _ in range(2)]
    assert [line(job) for job in jobs] == ["None", "None"]


def test_a_cpu_job_takes_no_device(machine, monkeypatch):
    assert devices.lease("cpu") is None
    assert devices.VISIBLE not in os.environ


def test_a_machine_without_a_driver_has_no_devices(machine, tmp_path):
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert devices.devices() == {}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (3599, "60 min"), (3700, "1 h 02 min")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text.replace("60 min", "1 h 00 min")


def test_who_does_not_wait_goes_without_and_a_child_is_offered_what_its_parent_was(machine):
    holder = machine(**{devices.VISIBLE: "GPU-0"})
    assert line(holder) == "GPU-0"
    code = (
        "import os; from softmax_rewards.common import devices as d; print(d.lease(wait=False));"
        "os.environ[d.VISIBLE] = 'GPU-0,GPU-3'; print(d.lease(wait=False), os.environ[d.VISIBLE], d.offered())"
    )
    environment = {**os.environ, devices.VISIBLE: "GPU-0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.stdout.splitlines() == ["None", "GPU-3 GPU-3 GPU-0,GPU-3"]
