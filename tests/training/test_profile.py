"""The profile of a workflow adds up, whatever the runs have recorded."""

import json

import pytest

from softmax_rewards.training import profile
from softmax_rewards.training.profile import Job


@pytest.fixture
def run(tmp_path):
    """The folder of a run with two steps and all phases."""
    folder = tmp_path / "runs/baseline/seed-0"
    folder.mkdir(parents=True)
    (folder / "timing.csv").write_text("step,rollout_s,update_s,seconds\n1,1.0,2.0,3.0\n2,1.5,2.5,4.0\n")
    (folder / "timing.json").write_text(json.dumps({"start_s": 2.0, "evaluation_s": 3.0, "final_evaluation_s": 4.0}))
    return folder


def test_a_training_job_is_divided_and_the_rest_is_left_over(run):
    jobs = [Job("train", 1, 100.0, 120.0, run / "run.json"), Job("bandit", 2, 100.0, 105.0, run / "bandit.csv")]
    measured = profile.measure(jobs, cores=2)
    assert measured["core_s"] == {
        "analysis": 10.0,
        "training: update": 4.5,
        "final evaluation": 4.0,
        "training: files and checks": 4.0,
        "training: evaluation": 3.0,
        "training: rollout": 2.5,
        "training: start": 2.0,
    }
    assert (measured["wall_s"], measured["jobs"], measured["idle"]) == (20.0, 2, 10.0)


def test_parts_of_a_continued_run_are_scaled_to_the_job(run):
    measured = profile.measure([Job("train", 1, 0.0, 8.0, run / "run.json")], cores=1)
    assert sum(measured["core_s"].values()) == pytest.approx(8.0, abs=0.3)  # each part is rounded
    assert measured["core_s"]["training: update"] == pytest.approx(8 * 4.5 / 16, abs=0.06)


def test_a_run_without_timing_files_is_one_part(tmp_path):
    measured = profile.measure([Job("train", 2, 0.0, 3.0, tmp_path / "run.json")], cores=2)
    assert measured["core_s"] == {"training: files and checks": 6.0}


def test_it_is_printed_and_written_and_says_nothing_without_jobs(run, tmp_path, capsys):
    profile.finish([], 2, tmp_path)
    assert not (tmp_path / "profile.json").exists()
    profile.finish([Job("pages", 1, 0.0, 30.0, run / "index.html")], 2, tmp_path)
    printed = capsys.readouterr().out
    assert "1 jobs took 0.5 minutes on 2 cores" in printed
    assert "pages" in printed
    assert "50.0%" in printed
    assert json.loads((tmp_path / "profile.json").read_text())["core_s"] == {"pages": 30.0}
