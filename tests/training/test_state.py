"""The state of runs: as it is written, after a process was killed, on another host; and of real runs."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import forks
import pytest

from softmax_rewards.common import files
from softmax_rewards.config import experiments
from softmax_rewards.training import plan, state_file
from softmax_rewards.training.state import FILE, RunState, exists, start_of

SMOKE = experiments.load(Path(__file__).parents[1] / "smoke" / "smoke.yaml")
BASELINE = SMOKE.run("baseline", 0)


@pytest.fixture
def experiment(tmp_path):
    """A started experiment: four runs of the smoke experiment, of which none has begun."""
    folder = tmp_path / "results" / "smoke"
    names = [f"runs/{ablation}/seed-{seed}" for ablation in ("baseline", "softmax-0.5") for seed in (0, 1)]
    plan.write(folder, dict.fromkeys(names, "c0de"), 2, SMOKE.to_json())
    return folder


@pytest.fixture
def ended():
    """The number of a process that has ended, and when it began."""
    with subprocess.Popen(["sleep", "60"]) as process:
        started = start_of(process.pid)
        process.kill()
    return process.pid, started


def left_by(out, state, **changes):
    """Write `state`, with the fields that the file has from its writer changed."""
    state.write(out)
    values = json.loads((out / FILE).read_text(encoding="utf-8"))
    files.write_json(values | changes, out / FILE)


def seen(experiment, ablation="baseline", seed=0):
    return {(run.ablation, run.seed): run for run in plan.states(experiment)}[ablation, seed]


def running(out, run=BASELINE, fingerprint="c0de"):
    return state_file.StateFile(out, run, fingerprint, "cpu")


def test_a_run_is_followed_from_its_beginning_to_its_end(experiment):
    out = experiment / "runs/baseline/seed-0"
    assert seen(experiment) == RunState("baseline", 0, "waiting", steps=4)
    with running(out) as state:
        state.begins(0)
        state.evaluated(0, 0.25)
        run = seen(experiment)
        assert (run.state, run.step, run.steps, run.success, run.device) == ("running", 0, 4, 0.25, "cpu")
        assert (run.note, run.seconds_left) == (f"process {os.getpid()}", None)
        state.stepped(1, 30.0)
        state.stepped(2, 50.0)
        state.saved(2)
        run = seen(experiment)
        assert (run.step, run.seconds_per_step) == (2, 40.0) and 70 < run.seconds_left <= 80
    run = seen(experiment)
    assert (run.state, run.step, run.seconds_left, run.note) == ("finished", 4, None, "not evaluated yet")
    record = {"config": BASELINE.to_dict(), "fingerprint": "c0de", "device": "cpu"}
    with state_file.evaluating(out, record):
        assert seen(experiment).note == f"being evaluated, process {os.getpid()}"
    run = seen(experiment)
    assert (run.state, run.note, run.success, run.seconds_per_step) == ("finished", "", 0.25, 40.0)
    with pytest.raises(ValueError), state_file.evaluating(out, record):
        raise ValueError("no model")
    run = seen(experiment)
    assert (run.state, run.note) == ("failed", "evaluation: ValueError: no model")
    with pytest.raises(KeyboardInterrupt), state_file.evaluating(out, record):
        raise KeyboardInterrupt
    assert seen(experiment).note == "not evaluated yet"


@pytest.mark.parametrize(
    ("error", "state", "note"),
    [
        (SystemExit(143), "interrupted", "goes on from step 2"),
        (KeyboardInterrupt(), "interrupted", "goes on from step 2"),
        (ValueError("no such thing\nmore"), "failed", "ValueError: no such thing (goes on from step 2)"),
        (SystemExit("rank 1 of 2: gone"), "failed", "rank 1 of 2: gone (goes on from step 2)"),
    ],
)
def test_how_a_run_ended_before_its_end(experiment, error, state, note):
    with pytest.raises(type(error)), running(experiment / "runs/baseline/seed-0") as file:
        file.saved(2)
        file.stepped(3, 1.0)
        raise error
    run = seen(experiment)
    assert (run.state, run.step, run.note, run.seconds_left) == (state, 2, note, None)


def test_a_killed_process_is_not_running_for_ever(experiment, ended):
    out, (process, started) = experiment / "runs/baseline/seed-0", ended
    own = RunState("baseline", 0, "running", step=3, steps=4, saved=2, fingerprint="c0de", seconds_left=1.0)
    left_by(out, own, process=process)
    run = seen(experiment)
    assert (run.state, run.step, run.note, run.seconds_left) == ("interrupted", 2, "goes on from step 2", None)
    left_by(out, own)
    assert seen(experiment).state == "running"
    left_by(out, own, started=started - 1)  # the number has gone to another process
    assert seen(experiment).state == "interrupted"
    left_by(out, dataclasses.replace(own, state="finished", step=4, evaluation="running"), process=process)
    assert (seen(experiment).state, seen(experiment).note) == ("finished", "not evaluated yet")


def test_a_process_that_nobody_waits_for_has_ended():
    with subprocess.Popen(["sleep", "60"]) as process:
        started = start_of(process.pid)
        assert exists(process.pid, started) and not exists(process.pid, started + 1)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # still a zombie afterwards
        assert not exists(process.pid, started)
    assert not exists(0, None) and not exists(10**30, None)


def test_of_another_host_only_the_time_of_writing_is_known(experiment, ended):
    own = RunState("baseline", 0, "running", step=3, steps=4, fingerprint="c0de", seconds_left=500.0)
    left_by(experiment / "runs/baseline/seed-0", own, process=ended[0], host="node-7", written=time.time() - 180)
    run = seen(experiment)
    assert (run.state, run.note) == ("running", "on node-7, written 3 min ago") and 300 < run.seconds_left <= 320


def test_what_other_code_left_behind_counts_as_nothing(experiment):
    own = RunState("baseline", 0, "finished", step=4, steps=4, success=0.5, fingerprint="older")
    for state in ("finished", "failed", "interrupted"):
        dataclasses.replace(own, state=state).write(experiment / "runs/baseline/seed-0")
        run = seen(experiment)
        assert (run.state, run.step, run.success) == ("waiting", 0, None)
        assert run.note == f"{state} with other code or settings"
    with running(experiment / "runs/baseline/seed-0") as file:
        file.begins(0)
        assert seen(experiment).success is None


def test_what_fails_before_training_begins_is_recorded(experiment, monkeypatch):
    out = experiment / "runs/baseline/seed-0"
    monkeypatch.setattr(state_file.provenance, "run_fingerprint", lambda run: "c0de")
    with pytest.raises(ValueError), state_file.starting(out, BASELINE):
        raise ValueError("no GPU")
    assert (seen(experiment).state, seen(experiment).note) == (
        "failed",
        "ValueError: no GPU (starts over: no checkpoint yet)",
    )
    with pytest.raises(SystemExit), state_file.starting(out, BASELINE):
        sys.exit(143)
    assert seen(experiment).state == "failed"
    with subprocess.Popen(["sleep", "60"]) as other:  # who trains the run already has the say
        own = RunState("baseline", 0, "running", fingerprint="c0de")
        left_by(out, own, process=other.pid, started=start_of(other.pid))
        with pytest.raises(RuntimeError), state_file.starting(out, BASELINE):
            raise RuntimeError("another process is training this run")
        assert (seen(experiment).state, seen(experiment).note) == ("running", f"process {other.pid}")
        other.kill()
    with pytest.raises(SystemExit), state_file.starting(out, BASELINE):  # a launcher whose rank was killed
        sys.exit("rank 0 of 2: killed")
    assert seen(experiment).note.startswith("rank 0 of 2: killed")


def test_of_several_ranks_one_writes(tmp_path, monkeypatch):
    with state_file.StateFile(tmp_path, BASELINE, "c0de", "cpu", is_main=False) as file:
        file.evaluated(0, 0.5)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ValueError), state_file.starting(tmp_path, BASELINE):
        raise ValueError
    assert not list(tmp_path.iterdir())


def test_steps_are_written_once_in_a_while_and_the_rest_at_once(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(RunState, "write", lambda state, folder: written.append(state.step))
    clock = itertools.count()
    monkeypatch.setattr(state_file.time, "monotonic", lambda: next(clock))
    with running(tmp_path) as file:
        for step in range(1, 101):
            file.stepped(step, 1.0)
        assert written == [0, 100]  # the first took 1 s, so that the next is 100 s later
        file.saved(101)
        file.evaluated(101, 0.5)
    assert written == [0, 100, 101, 101, 4]


def test_a_state_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise files.NotWritten(28, "No space left on device", "x")

    monkeypatch.setattr(RunState, "write", full)
    with running(tmp_path) as file:
        file.stepped(1, 1.0)
        file.evaluated(1, 0.5)


# --- Real runs ------------------------------------------------------------------------------------


def test_a_real_run_is_followed_until_it_is_killed(tiny, tmp_path):
    run, data, base = tiny
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, steps=10_000))
    out = tmp_path / "results/smoke/runs/softmax-0.5/seed-0"

    def now():
        (state,) = plan.states(out.parents[2])
        return state

    process = forks.start_training(run, data, base, out)
    try:
        while process.is_alive() and not list(out.glob("state/checkpoint-*")):
            time.sleep(0.02)
        live = now()
        assert (live.state, live.note, live.device) == ("running", f"process {process.pid}", "cpu")
        while now().step == 0:
            time.sleep(0.02)
        live = now()
        assert live.seconds_per_step > 0 and live.seconds_left > 0 and 0 <= live.success <= 1
    finally:
        process.kill()
        process.join()
    killed = now()
    assert (killed.state, killed.note) == ("interrupted", f"goes on from step {killed.step}")
    assert killed.step >= live.step - 1 > -1


def test_a_real_run_without_its_base_model_has_failed(tiny, tmp_path):
    run, data, _ = tiny
    out = tmp_path / "results/smoke/runs/softmax-0.5/seed-0"
    process = forks.start_training(run, data, tmp_path / "none", out)
    process.join()
    (state,) = plan.states(out.parents[2])
    assert process.exitcode == 1 and state.state == "failed" and "no readable manifest.json" in state.note
