"""The plan of an experiment, the line at each evaluation, and the time that is left."""

import dataclasses
import json

import pytest

from softmax_rewards.config import experiments
from softmax_rewards.training import plan, state_file
from softmax_rewards.training.state import RunState

SMOKE = experiments.load(experiments.Path("tests/smoke/smoke.yaml"))


def run(seed, steps=120):
    """A run of ablation "baseline" with fingerprint code-<seed>."""
    run = SMOKE.run("baseline", 0)
    return dataclasses.replace(run, seed=seed, training=dataclasses.replace(run.training, steps=steps))


def test_the_line_counts_finished_runs_and_tells_the_time_left(tmp_path, capsys):
    fingerprints = {f"runs/baseline/seed-{seed}": f"code-{seed}" for seed in range(4)}
    plan.write(tmp_path, fingerprints, 2, json.dumps({"ablations": {"baseline": {"training": {"steps": 120}}}}))
    for seed, code in [(0, "code-0"), (1, "of an earlier day")]:
        RunState("baseline", seed, "finished", fingerprint=code).write(tmp_path / f"runs/baseline/seed-{seed}")
    with state_file.StateFile(tmp_path / "runs/baseline/seed-2", run(2), "code-2", "cpu") as state:
        state.evaluated(0, 0.09)
        state.stepped(19, 0.25)
        state.stepped(20, 0.75)
        state.evaluated(20, 0.125)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "[train] run 2 of 4  baseline seed-2  step 0/120  success 9.0 %"
    # 0.5 s per step: 50 s for this run; of the other two, with 60 s each, one runs beside it.
    assert second == "[train] run 2 of 4  baseline seed-2  step 20/120  success 12.5 %  left 50 s, all runs 1 min"


def test_a_run_outside_the_workflow_is_alone(tmp_path, capsys):
    with state_file.StateFile(tmp_path / "alone/seed-0", run(0, steps=10), "code", "cpu") as state:
        state.begins(5)
        state.evaluated(5, 0.5)
    assert "run 1 of 1  alone seed-0  step 5/10  success 50.0 %\n" in capsys.readouterr().out


def test_without_a_plan_the_folders_are_the_runs(tmp_path):
    for seed in (10, 9):
        RunState("tau-1", seed, "finished", evaluation="done").write(tmp_path / f"x/runs/tau-1/seed-{seed}")
    (tmp_path / "x/runs/tau-1/seed-11").mkdir()
    (tmp_path / "x/runs/notes.txt").write_text("not a run")
    assert [(one.seed, one.state) for one in plan.states(tmp_path / "x")] == [
        (9, "finished"),
        (10, "finished"),
        (11, "waiting"),
    ]
    assert plan.experiments(tmp_path) == [tmp_path / "x"]


def test_time_left_shares_the_work_among_those_at_once():
    done = RunState("a", 0, "finished", step=100, steps=100, seconds_per_step=2.0)
    running = RunState("a", 1, "running", step=50, steps=100, seconds_per_step=2.0, seconds_left=90.0)
    waiting = [RunState("a", seed, steps=100) for seed in range(2, 5)]
    assert plan.time_left([done, running, *waiting], 2) == (90 + 3 * 200) / 2
    assert plan.time_left([done, running], 2) == 90
    assert plan.time_left([done], 2) is None
    assert plan.time_left(waiting, 2) is None
    assert plan.time_left([done, dataclasses.replace(waiting[0], steps=None)], 2) is None


@pytest.mark.parametrize("text", ["", "[]", '{"runs": {"runs/x": "c0de"}}'])
def test_an_experiment_that_was_not_planned_has_no_runs(tmp_path, text):
    (tmp_path / plan.PLAN).write_text(text)
    assert plan.states(tmp_path) == []
