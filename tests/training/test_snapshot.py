"""What is read of an experiment, also while its files appear, change, are half-written and vanish."""

import dataclasses
import json
import shutil

import pytest

from softmax_rewards.training import plan
from softmax_rewards.training.snapshot import Reader, course
from softmax_rewards.training.state import FILE, RunState

RUNNING = RunState("baseline", 0, "running", step=40, steps=80, fingerprint="c0de", success=0.3)


@pytest.fixture
def experiment(tmp_path):
    """An experiment of two runs, of which the first one is at work."""
    folder = tmp_path / "results" / "trial"
    settings = json.dumps({"ablations": {"baseline": {"training": {"steps": 80}}}})
    plan.write(folder, dict.fromkeys((f"runs/baseline/seed-{seed}" for seed in (0, 1)), "c0de"), 2, settings)
    RUNNING.write(folder / "runs/baseline/seed-0")
    (folder / "runs/baseline/seed-0/state").mkdir()
    return folder


def log_rows(experiment, text):
    (experiment / "runs/baseline/seed-0/state/evaluations.jsonl").write_bytes(text)


def killed(experiment, log, **changes):
    """The first run as its ended process left it, and the log of its job."""
    folder = experiment / "runs/baseline/seed-0"
    dataclasses.replace(RUNNING, **changes).write(folder)
    values = json.loads((folder / FILE).read_text()) | {"process": 0}
    (folder / FILE).write_text(json.dumps(values))
    (experiment / "logs/train").mkdir(parents=True)
    (experiment / "logs/train/baseline-seed-0.log").write_bytes(log)


def test_the_course_of_a_run_at_work(experiment):
    log_rows(experiment, b'{"step": 0, "success": 0.1}\n{"step": 10, "success": 0.3}\n')
    snapshot = Reader().read(experiment)
    assert (snapshot.name, snapshot.at_once) == ("trial", 2)
    assert [run.state for run in snapshot.runs] == ["running", "waiting"]
    assert snapshot.courses == {("baseline", 0): [0.1, 0.3]}


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        (b"", [0.3]),
        (b'{"success": 0.1}\n{"succ', [0.1, 0.3]),
        (b'{"success": 0.1}\n{"success": 0.2}', [0.1, 0.2, 0.3]),  # the log is behind the state
        (b'{"success": 0.1}\n{"success": null}\n[]\n{}\n{"success": "x"}\n{"success": NaN}\n7\n\xff\xfe', [0.1, 0.3]),
    ],
)
def test_a_log_that_is_being_written(experiment, text, rates):
    log_rows(experiment, text)
    assert course(experiment, RUNNING) == rates


def test_a_run_that_is_evaluated_has_its_course_in_a_table(experiment):
    folder = experiment / "runs/baseline/seed-0"
    shutil.rmtree(folder / "state")
    (folder / "evaluations.csv").write_text("step,success\n0,0.1\n10,\n20,0.3\n")
    dataclasses.replace(RUNNING, state="finished", evaluation="running", step=80).write(folder)
    assert Reader().read(experiment).courses == {("baseline", 0): [0.1, 0.3]}


def test_a_changed_state_is_read_again_and_no_other(experiment, monkeypatch):
    (experiment / "runs/baseline/seed-1").mkdir()
    dataclasses.replace(RUNNING, seed=1, state="finished", evaluation="done", step=80).write(
        experiment / "runs/baseline/seed-1"
    )
    folders = []
    read = RunState.read
    monkeypatch.setattr(RunState, "read", lambda folder: folders.append(folder.name) or read(folder))
    reader = Reader()
    reader.read(experiment)
    reader.read(experiment)
    assert folders == ["seed-0", "seed-1"]
    dataclasses.replace(RUNNING, step=41).write(experiment / "runs/baseline/seed-0")
    assert reader.read(experiment).runs[0].step == 41
    assert folders == ["seed-0", "seed-1", "seed-0"]


def test_files_may_vanish_and_come_back(experiment):
    reader = Reader()
    reader.read(experiment)
    file = experiment / "runs/baseline/seed-0" / FILE
    text = file.read_text()
    file.unlink()
    assert [run.state for run in reader.read(experiment).runs] == ["waiting", "waiting"]
    file.write_text(text[:40])
    assert reader.read(experiment).runs[0].state == "waiting"
    file.write_text(text)
    assert reader.read(experiment).runs[0].state == "running"
    shutil.rmtree(experiment)
    assert reader.read(experiment).runs == []


@pytest.mark.parametrize(
    ("log", "changes", "note"),
    [
        (b"...\nterminate called: out of \xff memory\n\n", {}, "log: terminate called: out of � memory (goes on"),
        (b"", {}, "goes on"),
        (b"a warning\n", {"note": "ValueError: x", "state": "failed"}, "ValueError: x (goes on"),
        (b"SystemError: y\n", {"state": "failed"}, "log: SystemError: y (goes on"),
    ],
)
def test_the_log_tells_what_the_run_could_not_record(experiment, log, changes, note):
    killed(experiment, log, saved=20, **changes)
    run = Reader().read(experiment).runs[0]
    assert run.note.startswith(note) and run.note.rstrip(")").endswith("goes on from step 20")
    assert run.state == changes.get("state", "interrupted")


def test_why_there_are_no_runs(tmp_path):
    assert Reader().read(tmp_path).remark == "no runs yet"
    plan.write(tmp_path, {}, 1, "{}")
    assert Reader().read(tmp_path).remark == "nothing to train: all runs are archived"
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/runs.parquet").touch()
    assert Reader().read(tmp_path / "kept").remark == "an archive of finished runs; nothing is trained here"
