"""Forced jobs: what an earlier job kept is dropped, and nothing else."""

import pytest

from softmax_rewards.training import forced

RUN = "results/smoke/runs/baseline/seed-0"


@pytest.mark.parametrize(
    ("rule", "output", "dropped"),
    [
        ("train", f"{RUN}/run.json", {f"{RUN}/finished", f"{RUN}/state", f"{RUN}/evaluation"}),
        ("evaluate", f"{RUN}/evaluation.json", {f"{RUN}/evaluation"}),
        ("pages", "results/smoke/report/index.ipynb", {"results/smoke/logs/report"}),
        ("bandit", "results/smoke/analysis/bandit_signal.csv", set()),
    ],
)
def test_only_what_the_forced_job_would_take_over_is_dropped(tmp_path, rule, output, dropped):
    kept = {f"{RUN}/{name}" for name in ("finished", "state", "evaluation", "model")}
    kept |= {"results/smoke/logs/report", "results/smoke/logs/train", "results/smoke/analysis"}
    for name in kept:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").touch()
    forced.drop_kept(rule, tmp_path / output)
    assert {name for name in kept if not (tmp_path / name).exists()} == dropped
    forced.drop_kept(rule, tmp_path / "not/made/yet.json")  # there is nothing to drop
