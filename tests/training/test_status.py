"""What is said of runs: from made-up folders, from any half-written file, and of a real run that is killed."""

import dataclasses
import fcntl
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_rewards.config import experiments
from softmax_rewards.training import progress, run_state, status
from softmax_rewards.training.run_state import Locks, RunState

SMOKE = experiments.load(Path(__file__).parents[1] / "smoke" / "smoke.yaml")
NO_LOCKS = Locks({})


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def finish(folder, code="c0de", steps=4, success=0.25):
    """The small files of a finished, evaluated run that the state is read from."""
    write(folder / "evaluations.csv", f"step,success\n0,0.1\n{steps},{success}\n")
    write(folder / "timing.csv", "step,seconds\n" + "".join(f"{step},2\n" for step in range(1, steps + 1)))
    record = {"fingerprint": code, "device": "cpu", "config": {"training": {"steps": steps}}}
    write(folder / "run.json", json.dumps(record))
    write(folder / "evaluation.json", "{}")


def begin(folder, saved=2, code="c0de"):
    """A run with a checkpoint, two steps done since and a third half written."""
    rows = [{"step": step, "seconds": 3.0} for step in range(1, saved + 3)]
    write(folder / "state/timing.jsonl", lines(*rows) + '{"step": 5, "sec')
    write(folder / "state/evaluations.jsonl", lines({"step": 0, "success": 0.5}) + '{"step": 2, "success": 0.7')
    identity = {"identity": f"{code} data base"}
    write(folder / f"state/checkpoint-{saved:08d}/state.json", json.dumps(identity))


@pytest.fixture
def experiment(tmp_path):
    """A started experiment: four runs of the smoke experiment, of which none has begun."""
    folder = tmp_path / "results" / "smoke"
    names = [f"runs/{ablation}/seed-{seed}" for ablation in ("baseline", "softmax-0.5") for seed in (0, 1)]
    progress.write_plan(folder, dict.fromkeys(names, "c0de"), at_once=2)
    write(folder / run_state.EXPERIMENT, SMOKE.to_json())
    return folder


def states(experiment, locks=NO_LOCKS):
    return {(run.ablation, run.seed): run for run in run_state.read(experiment, locks)}


def test_every_state_is_told_from_the_files(experiment):
    runs, logs = experiment / "runs", experiment / "logs/train"
    finish(runs / "baseline/seed-0")
    begin(runs / "baseline/seed-1")
    begin(runs / "softmax-0.5/seed-0")
    write(
        logs / "softmax-0.5-seed-0.log", 'Traceback (most recent call last):\n  File "x"\nValueError: no such thing\n'
    )
    found = states(experiment)
    assert {key: run.state for key, run in found.items()} == {
        ("baseline", 0): "finished",
        ("baseline", 1): "interrupted",
        ("softmax-0.5", 0): "failed",
        ("softmax-0.5", 1): "waiting",
    }
    whole = found["baseline", 0]
    assert (whole.step, whole.steps, whole.success, whole.device, whole.note) == (4, 4, 0.25, "cpu", "")
    cut = found["baseline", 1]
    assert (cut.step, cut.steps, cut.success, cut.pace, cut.left) == (2, 4, 0.5, 3.0, None)
    assert cut.note == "resumable from step 2"
    assert found["softmax-0.5", 0].note == "ValueError: no such thing (goes on from step 2)"
    assert found["softmax-0.5", 1].steps == 4


@pytest.mark.parametrize(
    ("log", "state"),
    [
        ("", "interrupted"),
        ("Traceback (most recent call last):\n  File\nKeyboardInterrupt\n", "interrupted"),
        ("lib/x.py:3: UserWarning: slow\n  warn(slow)\n", "interrupted"),
        ("lib/x.py:3: UserWarning: slow\n  warn(slow)\nRuntimeError: boom", "failed"),
        ("train.py: error: the following arguments are required: --run\n", "failed"),
    ],
)
def test_only_an_error_in_the_log_is_a_failure(experiment, log, state):
    begin(experiment / "runs/baseline/seed-0")
    write(experiment / "logs/train/baseline-seed-0.log", log)
    assert states(experiment)["baseline", 0].state == state


def test_the_reason_of_a_failure_cannot_draw_on_the_terminal(experiment):
    write(experiment / "logs/train/baseline-seed-0.log", "ValueError: \033[2J\a\x9b1mred\u2028\u202e.")
    assert r"ValueError: \x1b[2J\x07\x9b1mred\u2028\u202e." in status.page([experiment], NO_LOCKS)


def test_names_of_folders_cannot_draw_on_the_terminal(tmp_path):
    name = "ablation\033]0;title\a\nrow"
    finish(tmp_path / name / f"runs/{name}/seed-0")
    shown = status.page([tmp_path / name], NO_LOCKS)
    assert shown.replace("\n", "").isprintable() and len(shown.splitlines()) == 3
    assert shown.count(r"ablation\x1b]0;title\x07\nrow") == 2


def test_only_the_end_of_a_long_log_is_read(experiment):
    write(experiment / "logs/train/baseline-seed-0.log", "x" * 10**6 + "\nValueError: short\n")
    assert states(experiment)["baseline", 0].note == "ValueError: short"


def test_what_other_code_left_behind_counts_as_nothing(experiment):
    finish(experiment / "runs/baseline/seed-0", code="older")
    begin(experiment / "runs/baseline/seed-1", code="older")
    found = states(experiment)
    assert (found["baseline", 0].state, found["baseline", 0].step) == ("waiting", 0)
    assert "other code" in found["baseline", 0].note
    assert found["baseline", 1].note == "starts anew: its checkpoint is of other code or settings"


def test_evaluation_is_part_of_a_run(experiment):
    folder = experiment / "runs/baseline/seed-0"
    finish(folder)
    (folder / "evaluation.json").unlink()
    assert states(experiment)["baseline", 0].note == "not evaluated yet"
    write(experiment / "logs/evaluate/baseline-seed-0.log", "ValueError: no model\n")
    run = states(experiment)["baseline", 0]
    assert (run.state, run.note) == ("failed", "evaluation: ValueError: no model")


def test_without_a_plan_the_folders_are_the_runs(tmp_path):
    finish(tmp_path / "x/runs/ablation/seed-10")
    begin(tmp_path / "x/runs/ablation/seed-9")
    (tmp_path / "x/runs/ablation/seed-9/.lock").touch()
    write(tmp_path / "x/runs/notes.txt", "not a run")
    assert [(run.seed, run.state) for run in run_state.read(tmp_path / "x", NO_LOCKS)] == [
        (9, "interrupted"),
        (10, "finished"),
    ]
    assert run_state.experiments(tmp_path) == [tmp_path / "x"]


def test_a_lock_is_seen_and_not_taken(experiment, tmp_path):
    folder = experiment / "runs/baseline/seed-0"
    begin(folder)
    lock, gpu = folder / ".lock", tmp_path / "gpu.lock"
    gpu.touch()
    lock.write_text(f"{os.getpid()}\n")
    assert states(experiment, Locks({"GPU-7": gpu}))["baseline", 0].state == "interrupted"
    with lock.open() as held, gpu.open() as lease:
        fcntl.flock(held, fcntl.LOCK_EX)
        run = states(experiment, Locks({"GPU-7": gpu}))["baseline", 0]
        assert (run.state, run.step, run.device, run.note) == ("running", 4, None, f"process {os.getpid()}")
        assert 0 <= run.left <= 3 * (4 - run.step) + 1
        fcntl.flock(lease, fcntl.LOCK_EX)
        assert states(experiment, Locks({"GPU-7": gpu}))["baseline", 0].device == "GPU-7"
        assert states(experiment, Locks({}))["baseline", 0].device == "cpu"


@pytest.mark.parametrize("jump", [-(10**9), -3600, 3600, 10**9])
def test_a_clock_that_jumps_makes_no_time_absurd(experiment, monkeypatch, capsys, jump):
    folder = experiment / "runs/baseline/seed-0"
    begin(folder, saved=1)
    (folder / ".lock").write_text(f"{os.getpid()} here\n")
    shown = progress.Progress(folder, 4)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    with (folder / ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run = states(experiment, Locks({}))["baseline", 0]
    assert run.state == "running" and 0 <= run.left <= 3 * (4 - run.step)
    shown.report(2, 0.5)
    assert re.search(r"left \d+ s, all runs \d+ s$", capsys.readouterr().out)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.data())
def test_no_half_written_file_breaks_the_page(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("results") / "smoke"
    progress.write_plan(folder, {"runs/baseline/seed-0": "c0de", "runs/baseline/seed-1": "c0de"}, 2)
    write(folder / run_state.EXPERIMENT, SMOKE.to_json())
    finish(folder / "runs/baseline/seed-0")
    begin(folder / "runs/baseline/seed-1")
    for file in [path for path in sorted(folder.rglob("*")) if path.is_file()]:
        content = file.read_bytes()
        file.write_bytes(content[: data.draw(st.integers(0, len(content)), label=file.name)])
    text = status.page([folder], NO_LOCKS)
    assert text.startswith("smoke: ")
    shutil.rmtree(folder)
    assert status.page([folder], NO_LOCKS) == "smoke: no runs yet"


# --- The page -------------------------------------------------------------------------------------


def test_ranges_are_short():
    assert status.ranges([3, 0, 1, 2, 5, 10, 11]) == "0-3, 5, 10-11"


@settings(deadline=None)
@given(st.sets(st.integers(0, 60), min_size=1))
def test_ranges_say_every_number(numbers):
    ends = [list(map(int, part.split("-"))) for part in status.ranges(list(numbers)).split(", ")]
    assert [number for part in ends for number in range(part[0], part[-1] + 1)] == sorted(numbers)


def test_two_hundred_runs_fit_a_screen():
    ablations = [f"ablation-{number}" for number in range(10)]
    runs = [
        RunState(ablation, seed, "finished", 80, 80, 0.10 + seed / 1000, 2.0, None, "cpu")
        for ablation, seed in itertools.product(ablations, range(20))
    ]
    runs[25] = RunState("ablation-1", 5, "running", 40, 80, 0.12, 2.0, 80.0, "cpu", "process 1")
    runs[31] = RunState("ablation-1", 11, "failed", 40, 80, 0.12, 2.0, None, None, "ValueError: x")
    drawn = status.table(runs)
    assert len(drawn) == 1 + 10 + 2
    assert len({line.index("cpu") for line in drawn[1:] if "cpu" in line}) == 1
    assert drawn[2].split("  ")[0] == "ablation-1"
    (running,) = (line for line in drawn if "running" in line)
    assert " ".join(running.split()) == "ablation-1 5 running 40/80 12.0 % 1 min cpu process 1"
    (rest,) = (line for line in drawn if "ablation-1 " in line and "finished" in line)
    assert "0-4, 6-10, 12-19 (18)" in rest and "10.0 to 11.9 %" in rest
    assert status.summary(runs, 2) == "200 runs: 198 finished, 1 failed, 1 running; about 1 min left"


def test_time_left_shares_the_work_among_those_at_once():
    done = RunState("a", 0, "finished", 100, 100, pace=2.0)
    running = RunState("a", 1, "running", 50, 100, pace=2.0, left=90.0)
    waiting = [RunState("a", seed, "waiting", steps=100) for seed in range(2, 5)]
    assert status.time_left([done, running, *waiting], 2) == (90 + 3 * 200) / 2
    assert status.time_left([done, running], 2) == 90
    assert status.time_left([done], 2) is None
    assert status.time_left(waiting, 2) is None
    assert status.time_left([done, dataclasses.replace(waiting[0], steps=None)], 2) is None


def test_the_command_names_a_folder_that_is_not_there(capsys, tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as stopped:
        status.main([str(tmp_path / "gone")])
    assert str(stopped.value) == f"{tmp_path / 'gone'}: no such folder; allowed: results/<experiment>"
    with pytest.raises(SystemExit, match=r"--watch 0: allowed"):
        status.main(["--watch", "0"])
    monkeypatch.chdir(tmp_path)
    status.main([])
    assert capsys.readouterr().out == "results: no experiment was started yet\n"


def test_watching_draws_until_it_is_stopped(experiment, monkeypatch, capsys):
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        if len(waited) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", sleep)
    with pytest.raises(SystemExit):
        status.main([str(experiment), "--watch", "5"])
    assert waited == [5, 5]
    assert capsys.readouterr().out.count("smoke: 4 runs: 4 waiting\n") == 2


def test_a_real_run_is_followed_until_it_is_killed(tiny, tmp_path):
    run, data, base = tiny
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, steps=10_000))
    out = tmp_path / "results/smoke/runs/softmax-0.5/seed-0"
    inputs = ["--data", data / "manifest.json", "--base", base / "manifest.json", "--record", out / "run.json"]
    command = [sys.executable, "workflow/scripts/train.py", "--run", run.to_json(), *inputs]

    def seen():
        (found,) = run_state.read(out.parents[2], Locks({}))
        return found

    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(out.glob("state/checkpoint-*")):
            time.sleep(0.02)
        running = seen()
        assert (running.state, running.note, running.device) == ("running", f"process {process.pid}", "cpu")
        assert running.step >= 1 and running.pace > 0 and 0 <= running.success <= 1
        process.kill()
    killed = seen()
    assert (killed.state, killed.note) == ("interrupted", f"resumable from step {killed.step}")
    assert killed.step >= running.step - 1 > -1
