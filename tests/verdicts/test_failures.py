"""Failure modes: each planted alone, none in healthy runs, none from passing noise."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import synthetic

from softmax_rewards.report import display
from softmax_rewards.verdicts import failures, finished

ABLATIONS = {name: synthetic.ABLATIONS[name] for name in ("baseline", "softmax-0.5")}
BEGIN = 60  # the step from which a failure is planted


@pytest.fixture(scope="session")
def healthy(tmp_path_factory):
    return synthetic.write_experiment(tmp_path_factory.mktemp("healthy"), ablations=ABLATIONS, seeds=2)


@pytest.fixture
def detect(healthy, tmp_path):
    """Failures found after `change`, {table: function of (frame, failing rows)}, was planted in softmax-0.5/seed-1."""

    def found(change, until=synthetic.STEPS, weighting=None):
        target = tmp_path / "runs" / "softmax-0.5" / "seed-1"
        shutil.copytree(healthy[0].parents[1], tmp_path / "runs")
        for name, planted in change.items():
            frame = pd.read_csv(target / f"{name}.csv")
            planted(frame, frame["step"].between(BEGIN, until))
            frame.to_csv(target / f"{name}.csv", index=False)
        runs = [finished.read(folder) for folder in sorted((tmp_path / "runs").glob("*/*"))]
        if weighting:
            runs[-1].record["config"]["weighting"] = weighting
        return failures.detect(runs, "baseline")

    return found


def setting(column, value):
    def planted(frame, failing):
        frame.loc[failing, column] = value

    return planted


def equal_rewards(frame, failing):
    frame.loc[failing & (frame["right"] == 1), "count"] = 1
    frame.loc[failing & (frame["right"] == 0), "count"] = 39


PLANTED = {
    "collapse to one sample": {"metrics": setting("tau", 0.05)},
    "flat weights": {"metrics": setting("tau", 100.0)},
    "gradient too large": {"metrics": setting("grad_norm", 8.0)},
    "gradient too small": {"metrics": setting("grad_norm", 0.2)},
    "entropy collapse": {"metrics": setting("entropy", 0.1)},
    "length explosion": {"metrics": setting("length", 130.0)},
    "unfinished answers": {"metrics": setting("finished", 0.7)},
    "dead groups": {"groups": equal_rewards},
    "success below base": {"evaluations": setting("success", 0.01)},
}


def test_every_mode_is_planted():
    assert set(PLANTED) == set(failures.MODES)


@pytest.mark.parametrize("mode", PLANTED)
def test_a_planted_failure_is_found_alone_where_it_began(detect, mode):
    (row,) = detect(PLANTED[mode]).to_dict("records")
    assert (row["ablation"], row["seed"], row["mode"]) == ("softmax-0.5", 1, mode)
    assert (row["step"], row["until"], row["measure"]) == (BEGIN, synthetic.STEPS, failures.MODES[mode])
    assert np.isfinite([row["value"], row["threshold"]]).all()


def test_healthy_runs_have_no_failure(detect):
    found = detect({})
    assert found.empty and list(found) == failures.COLUMNS


@pytest.mark.parametrize("mode", PLANTED)
def test_what_does_not_persist_is_no_failure(detect, mode):
    assert detect(PLANTED[mode], until=BEGIN + failures.PERSISTENCE - 2).empty


def test_the_value_is_what_was_planted(detect):
    (row,) = detect(PLANTED["dead groups"]).to_dict("records")
    assert row["value"] == pytest.approx(39 / 40) and row["threshold"] == failures.DEAD


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        ({"scheme": "uniform"}, ["flat weights"]),
        ({"scheme": "best_of_n"}, ["collapse to one sample"]),
        ({"scheme": "linear"}, []),
        ({"scheme": "softmax_matched", "tau": 0.5}, []),
    ],
)
def test_a_scheme_may_fail_from_the_first_step(detect, weighting, expected):
    found = detect({}, weighting=weighting)
    assert found["mode"].tolist() == expected and set(found["step"]) <= {1}


def test_a_failure_that_comes_again_counts_from_the_first_that_persists():
    values = np.array([0, 1, 1, 0, 1, 1, 1, np.nan, 1, 0, 1, 1, 1, 1.0])
    watch = failures.Watch("", np.arange(len(values)) + 1, values, 0.5, above=True, persistence=4)
    assert watch.began() == {"step": 5, "until": 9, "value": 1.0, "threshold": 0.5}


def test_a_fall_within_the_noise_of_an_evaluation_is_none(detect):
    assert detect({"evaluations": setting("success", 0.09 - 0.02)}).empty


def test_the_page_says_which_ablation_died_of_what(detect, healthy):
    runs = pd.DataFrame([(folder.parent.name, folder.name) for folder in healthy], columns=["ablation", "seed"])
    page = display.failures(detect(PLANTED["success below base"]), runs).data
    assert "These ablations fell below their base model: softmax-0.5." in page
    assert "success below base (1 of 2 seeds, from step 60)" in page and "<td >none</td>" in page
    nothing = pd.DataFrame(columns=failures.COLUMNS)
    assert "No run fell below its base model." in display.failures(nothing, runs).data


def test_what_the_base_cannot_be_compared_with_is_not_compared(healthy):
    """A hidden budget, another sampling and a placebo change what the logged figures mean."""
    run = finished.read(healthy[-1])
    known = {"success": 0.9, "name": "base"}
    assert replace(run, base=known).comparable_base == known
    watched = {watch.mode: watch for watch in failures.watches(run, None)}
    training = run.record["config"]["training"]
    training |= {"hidden_budget": 0.1, "temperature": 0.5, "placebo": 0.5}
    assert replace(run, base=known).comparable_base is None
    other = {watch.mode: watch for watch in failures.watches(replace(run, base=known), None)}
    assert {"collapse to one sample", "flat weights", "dead groups"} == watched.keys() - other.keys()
    assert other["success below base"].threshold == watched["success below base"].threshold
    assert other["entropy collapse"].threshold == failures.ENTROPY * run.metrics["entropy"].iloc[0]
    assert watched["entropy collapse"].threshold == failures.ENTROPY * run.evaluations["entropy"].iloc[0]
