"""A session of the workflow: what is refused, written and said around its jobs, without Snakemake."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from softmax_rewards.common import provenance
from softmax_rewards.config import experiments, folders
from softmax_rewards.training import holders, plan, session, trial

ROOT = Path(__file__).parents[2]


@pytest.fixture
def experiment():
    return experiments.load(ROOT / "tests/smoke/smoke.yaml")


def with_gpus(experiment, gpus, device="auto"):
    ablations = {
        name: dataclasses.replace(one, training=dataclasses.replace(one.training, gpus=gpus, device=device))
        for name, one in experiment.ablations.items()
    }
    return dataclasses.replace(experiment, ablations=ablations)


def test_fewer_gpus_than_a_run_may_use_are_refused(experiment):
    for gpus in (2, 3, None):
        session.check_gpus([experiment, with_gpus(experiment, 2)], gpus)
    with pytest.raises(experiments.ConfigError) as error:
        session.check_gpus([with_gpus(experiment, 2)], 1)
    assert str(error.value) == (
        "--resources gpu=1: a run of smoke may use 2 GPUs; "
        "allowed: a number from 2 on, or no such option, or training.device: cpu in the experiment"
    )
    with pytest.raises(experiments.ConfigError, match=r"gpu=0: a run of smoke may use 1 GPU; allowed: a number from 1"):
        session.check_gpus([with_gpus(experiment, 1)], 0)
    session.check_gpus([with_gpus(experiment, 1, "cpu")], 0)


def test_only_inputs_of_the_future_are_dated_anew(tmp_path):
    now = time.time()
    for name, seconds in (("old", -1000), ("new", 1000)):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (now + seconds, now + seconds))
    session.date_future_inputs(str(tmp_path / name) for name in ("old", "new", "none", "new"))
    assert (tmp_path / "old").stat().st_mtime == pytest.approx(now - 1000)
    assert now - 1 < (tmp_path / "new").stat().st_mtime < now + 100
    assert not (tmp_path / "none").exists()


def test_the_plan_has_the_runs_to_train(experiment, tmp_path):
    first = experiment.runs()[0]
    session.write_plan(tmp_path, experiment, [first], 3)
    written = json.loads((tmp_path / "smoke/plan.json").read_text())
    assert written == {"runs": {f"runs/{first.name}": provenance.run_fingerprint(first.to_dict())}, "at_once": 3}
    assert (tmp_path / "smoke" / plan.EXPERIMENT).read_text() == experiment.to_json()
    assert plan.experiments(tmp_path) == [tmp_path / "smoke"]
    session.write_plan(tmp_path, experiment, [], 3)  # all are archived
    assert plan.states(tmp_path / "smoke") == []


BEGIN = (
    "import signal, sys; from pathlib import Path; from softmax_rewards.training import session\n"
    "signal.signal(signal.SIGTERM, lambda *received: sys.exit(7))\n"
    "session.begin(Path(sys.argv[1]), []); print('held', flush=True); sys.stdin.read()\n"
)


def test_a_request_to_end_reaches_the_jobs_and_then_the_workflow(tmp_path):
    (tmp_path / "job.py").write_text("import time; print('at work', flush=True); time.sleep(600)")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", BEGIN, str(tmp_path)], cwd=ROOT, **pipes) as main:
        assert main.stdout.readline() == "held\n"
        with pytest.raises(RuntimeError, match=f"process {main.pid} \\(snakemake\\) is at work here"):
            session.begin(tmp_path, [])
        environment = {**os.environ, holders.MARK: str(tmp_path.resolve())}
        with subprocess.Popen([sys.executable, tmp_path / "job.py"], env=environment, **pipes) as job:
            assert job.stdout.readline() == "at work\n"
            main.send_signal(signal.SIGTERM)
            assert job.wait(60) == -signal.SIGTERM
        assert main.wait(60) == 7


def test_a_lock_of_snakemake_is_explained(tmp_path, capsys):
    locks = tmp_path / "locks"
    session.explain_lock(tmp_path, locks)
    locks.mkdir()
    session.explain_lock(tmp_path, locks)
    assert capsys.readouterr().err == ""
    (locks / "0.input.lock").touch()
    session.explain_lock(tmp_path, locks)
    assert capsys.readouterr().err == f"[workflow] {holders.explanation(tmp_path)}\n"


def test_a_full_disk_is_told(tmp_path, capsys, monkeypatch):
    session.explain_full_disk(tmp_path)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 0))
    session.explain_full_disk(tmp_path)
    assert capsys.readouterr().err.startswith(f"[workflow] {tmp_path}: the disk is full; make room and start again")


def test_estimates_are_for_a_gpu_and_for_this_machine(tmp_path, capsys, monkeypatch):
    speed = trial.Speed(start=5.0, answer_tokens=40.0, rollout=1e-5, position=2e-3, update=3e-5, memory=500_000_000)
    monkeypatch.setattr(trial, "measure", lambda run, folder: speed)
    names = ("countdown-qwen2.5-3b", "countdown-mini", "countdown-smollm2")
    session.print_estimates([experiments.load(ROOT / f"config/experiments/{name}.yaml") for name in names], 2, tmp_path)
    large, mini, gpu, processor = capsys.readouterr().err.splitlines()
    assert large.startswith("[estimate] countdown-qwen2.5-3b: 45 runs") and "GPU-hours" in large
    assert mini.startswith("[estimate] countdown-mini: 60 runs") and "core-hours" in mini
    assert "GPU-hours" in gpu and "core-hours" in processor


def test_a_failed_trial_is_told(tmp_path, capsys, monkeypatch):
    def fail(run, folder):
        raise RuntimeError("the trial step failed: MemoryError")

    monkeypatch.setattr(trial, "measure", fail)
    session.print_estimates([experiments.load(ROOT / "config/experiments/countdown-mini.yaml")], 2, tmp_path)
    line = "[estimate] countdown-mini: no estimate for this machine's processor, the trial step failed: MemoryError\n"
    assert capsys.readouterr().err == line


def test_a_damaged_trial_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(trial, "_identity", lambda run: "kept")
    (tmp_path / "kept.json").write_text("{")
    session.print_estimates([experiments.load(ROOT / "config/experiments/countdown-mini.yaml")], 2, tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("[estimate] countdown-mini: no estimate for this machine's processor, ")
    assert f"{tmp_path / 'kept.json'}: not a readable JSON file" in line


def test_equal_settings_share_a_folder(experiment):
    run = experiment.runs()[0]
    other = dataclasses.replace(experiment, name="other", seeds=(7,)).runs()[-1]
    assert folders.task_key(run) == folders.task_key(other)
    assert folders.model_key(run) == folders.model_key(other)
    harder = dataclasses.replace(experiment, task={**experiment.task, "numbers": 4}).runs()[0]
    assert folders.task_key(harder) != folders.task_key(run)
    assert folders.model_key(harder) != folders.model_key(run), "its base model learned from other puzzles"
    assert folders.task_key(run).startswith("countdown-")
