"""The endpoints of runs, the noise of their evaluations, and the pooled base model."""

import math

import numpy as np
import pandas as pd
import pytest
from planted import SOFTMAX, finished_run

from softmax_rewards.common import stats
from softmax_rewards.verdicts import measures, summary
from softmax_rewards.verdicts.evidence import LINEAR, Evidence

STARTS = (0.10, 0.07, 0.09, 0.08, 0.11)


def ten_runs(**changes):
    return [
        finished_run(name, seed, (start, 0.1, 0.12), **changes)
        for name in ("baseline", "half")
        for seed, start in enumerate(STARTS)
    ]


def test_the_base_model_is_the_step_0_of_all_seeds_together():
    """Old: each run had its own base success, with a standard deviation of a point and more. New: one number, known to
    the standard error of 5 × 1024 answers. Runs of the same seed have the same step 0, which counts once."""
    table = measures.measure(ten_runs())
    assert set(table["base"].round(12)) == {0.09}
    assert table["base_error"].iloc[0] == pytest.approx(math.sqrt(0.09 * 0.91 / 5120), rel=0.01)
    assert table["base_answers"].iloc[0] == 5120 and table["base_right"].iloc[0] == round(0.09 * 5120)
    assert table["base_format"].iloc[0] == pytest.approx(0.9)


def test_an_evaluation_of_the_base_model_replaces_its_step_0():
    base = {"name": "b", "puzzles": 1024, "samples": 32, "success": 0.085, "success_error": 0.0012}
    base |= {"formatted": 0.8, "length": 33.0, "pass@16": 0.4}
    table = measures.measure(ten_runs(base=base))
    assert table["base"].unique().tolist() == [0.085] and table["base_error"].unique().tolist() == [0.0012]
    assert table["base_answers"].unique().tolist() == [32768] and table["base_pass@16"].unique().tolist() == [0.4]
    # It was made without a hidden budget, so it says nothing about runs that have one.
    hidden = measures.measure(ten_runs(base=base, training={"hidden_budget": 0.2}))
    assert set(hidden["base"].round(12)) == {0.09}


def test_the_base_models_mean_reward_is_known_to_the_spread_between_the_seeds():
    rewards = [0.19, 0.21, 0.20, 0.22, 0.18]
    runs = [finished_run("baseline", seed, (0.09, 0.1, 0.12), reward=value) for seed, value in enumerate(rewards)]
    table = measures.measure(runs)
    assert table["base_reward"].iloc[0] == pytest.approx(0.2)
    assert table["base_reward_error"].iloc[0] == pytest.approx(np.std(rewards, ddof=1) / math.sqrt(5))
    assert measures.measure(ten_runs())["base_reward"].isna().all()  # the first series did not evaluate it


def test_the_noise_of_every_endpoint_is_that_of_a_simulation():
    """Steps at uneven distances. Step 0 is the same in all runs of a seed, so its noise is left out."""
    steps, rate, puzzles = np.array([0, 10, 30, 40, 80]), 0.1, 400
    rng = np.random.default_rng(0)
    curves = np.column_stack([np.full(3000, rate), rng.binomial(puzzles, rate, (3000, 4)) / puzzles])
    found = measures.of_curve(pd.DataFrame({"step": steps, "success": rate, "puzzles": puzzles}))
    simulated = {
        "auc": np.std([stats.area(steps, curve) for curve in curves]),
        "final": curves[:, -1].std(),
        "first_half": curves[:, 1:4].mean(axis=1).std(),
    }
    for endpoint, deviation in simulated.items():
        assert found[f"{endpoint}_noise"] == pytest.approx(deviation, rel=0.05), endpoint


def test_a_curve_without_a_single_right_answer_has_noise():
    found = measures.of_curve(pd.DataFrame({"step": [0, 10], "success": [0.0, 0.0], "puzzles": 1024}))
    assert 0 < found["final_noise"] < 0.002


def test_an_answer_that_is_right_at_every_evaluation_counts_once():
    """All evaluations of a run share puzzles and random numbers. One lucky puzzle is one right answer, not four."""
    curve = pd.DataFrame({"step": [0, 10, 20, 30, 40], "success": [0.0] + [1 / 1024] * 4, "puzzles": 1024})
    found = measures.of_curve(curve)
    assert (found["auc_right"], found["auc_answers"]) == (1, 1024)


def test_a_curve_without_numbers_of_answers_has_no_noise():
    """Logs of other trainers."""
    found = measures.of_curve(pd.DataFrame({"step": [0, 10, 20], "success": [0.1, 0.2, 0.3]}))
    assert found == pytest.approx({"auc": 0.2, "final": 0.3, "first_half": 0.2})


def test_a_curve_without_an_evaluation_in_its_first_half_has_no_mean_there():
    found = measures.of_curve(pd.DataFrame({"step": [0, 10], "success": [0.1, 0.2], "puzzles": 1024}))
    assert math.isnan(found["first_half"])


def test_success_at_the_end_is_that_of_the_final_evaluation_if_it_has_more_answers():
    more = {"success": 0.2, "answers": 4096}
    row = measures.measure([finished_run("baseline", 0, (0.09, 0.1, 0.19), evaluation=more)]).iloc[0]
    assert row["final"] == 0.2 and row["final_answers"] == 4096
    assert row["final_noise"] == pytest.approx(math.sqrt(0.2 * 0.8 / 4096), rel=0.01)
    row = measures.measure([finished_run("baseline", 0, (0.09, 0.1, 0.19))]).iloc[0]
    assert row["final"] == 0.19 and row["final_answers"] == 1024


def test_giving_up_is_counted_among_the_wrong_answers():
    """Old: softmax that is wrong more often seemed to admit defeat more often, though of its wrong answers it admits
    the same share."""
    shares = {}
    for name, success in (("baseline", 0.5), ("half", 0.2)):
        run = finished_run(name, 0, (success,) * 3, gave_up=0.4 * (1 - success))
        shares[name] = measures.measure([run])["gave_up"].iloc[0]
    assert shares == pytest.approx({"baseline": 0.4, "half": 0.4})


def compared(first, second):
    runs = [*first, *second]
    configs = {run.ablation: run.record["config"] for run in runs}
    known = Evidence(measures.measure(runs), configs, "baseline")
    return summary.comparisons(runs, "baseline", ["half"], known).set_index("endpoint")


def test_runs_of_different_length_are_compared_up_to_the_shorter_one():
    """The longer run's success, noise and counts behind step 20 must not enter: there it has found nothing yet."""
    short = [finished_run("baseline", seed, (0.1, 0.2, 0.3)) for seed in (0, 1)]
    long = [
        finished_run("half", seed, (0.1, 0.2, 0.3, 0.9), steps=(0, 10, 20, 40), weighting=SOFTMAX) for seed in (0, 1)
    ]
    table = compared(short, long)
    assert table.loc[["auc", "final"], "delta"].tolist() == pytest.approx([0, 0])
    same = compared(short, [finished_run("half", seed, (0.1, 0.2, 0.3), weighting=SOFTMAX) for seed in (0, 1)])
    assert table.loc["final", "high"] == pytest.approx(same.loc["final", "high"])
    assert table.loc["auc", "high"] == pytest.approx(same.loc["auc", "high"])


def test_success_at_the_end_has_the_same_answers_in_the_table_and_in_the_verdict():
    """The final evaluation has four answers per puzzle and says 0.2 and 0.3. The curves' last points say otherwise."""
    sides = [
        [
            finished_run(
                name, seed, (0.1, 0.2, 0.25), weighting=weighting, evaluation={"success": end, "answers": 4096}
            )
            for seed in (0, 1, 2)
        ]
        for name, weighting, end in (("baseline", LINEAR, 0.2), ("half", SOFTMAX, 0.3))
    ]
    row = compared(*sides).loc["final"]
    noise = math.sqrt((0.2 * 0.8 + 0.3 * 0.7) / 4096 / 3)
    assert row["delta"] == pytest.approx(0.1) and row["high"] - row["low"] == pytest.approx(2 * 1.96 * noise, rel=0.01)
