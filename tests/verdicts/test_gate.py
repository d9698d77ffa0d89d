"""The gate: whether anything learned. The old gate asked for the baseline's success at the end alone."""

import math
from dataclasses import replace

import numpy as np
import pytest
from planted import BASE_SUCCESS, counted, evidence, judged, verdict
from scipy import stats as reference

from softmax_rewards.common import stats
from softmax_rewards.verdicts import paired
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED

SEEDS = 5


def exactly(known, ablation, endpoint, mean, p):
    """Plant values whose t test against the base model has exactly this p."""
    t = reference.t.isf(p / 2, SEEDS - 1)
    z = np.array([-2, -1, 0, 1, 2]) / math.sqrt(2.5)
    known.measures.loc[ablation, endpoint] = BASE_SUCCESS + mean + z * abs(mean) * math.sqrt(SEEDS) / t


def ten(p, mean=0.02):
    """A baseline and ten planned ablations that did not learn, but one of them is above the base model with this p."""
    names = ["half", *(f"other-{number}" for number in range(9))]
    weightings = {name: {"scheme": name} for name in names[1:]}
    known = evidence(dict.fromkeys(["baseline", *names], 0.0), weightings=weightings, p_holm=dict.fromkeys(names, 1.0))
    for name in known.measures.index.unique("ablation"):
        exactly(known, name, "auc", 0.001, 0.9)
    exactly(known, "half", "auc", mean, p)
    return known


def test_a_planned_ablation_may_learn_where_the_baseline_fails():
    """Old: the baseline did not learn, so "softmax learns where GRPO fails" could never win. New: it can."""
    known = evidence({"baseline": 0.0, "half": 0.1}, p_holm={"half": 0.001})
    table = judged(known, "C1")
    assert table.loc["gate", "verdict"] == SUPPORTED and "half" in table.loc["gate", "sentence"]
    assert table.loc["C1", "verdict"] == SUPPORTED
    assert verdict(replace(known, p_holm={}), "C1")["verdict"] == UNRESOLVED  # it was not planned


def test_a_single_lucky_ablation_among_ten_does_not_open_the_gate():
    """Unadjusted, p = 0.02 would open the gate. Ten ablations and the baseline have such a p by chance every fifth
    time."""
    table = judged(ten(0.02), "C1")
    assert table.loc["gate", "verdict"] == UNRESOLVED and table.loc["gate", "p"] == pytest.approx(0.02)
    assert "of 11 planned ablations none is clearly better" in table.loc["gate", "sentence"]
    table = judged(ten(0.004), "C1")
    assert table.loc["gate", "verdict"] == SUPPORTED and "Holm's p = 0.044" in table.loc["gate", "sentence"]


def test_a_planned_ablation_without_runs_counts_in_the_gate_too():
    known = ten(0.0045)
    assert verdict(known, "gate")["verdict"] == SUPPORTED
    more = replace(known, p_holm={**known.p_holm, "never-run": math.nan})
    assert verdict(more, "gate")["verdict"] == UNRESOLVED


def test_a_clear_loss_does_not_open_the_gate():
    table = judged(ten(0.0001, mean=-0.02), "C1")
    assert table.loc["gate", "verdict"] == UNRESOLVED
    all_worse = evidence({"baseline": -0.05, "half": -0.1}, p_holm={"half": 0.01})
    table = judged(all_worse, "C1")
    assert table.loc["gate", "verdict"] == CONTRADICTED and "all are worse" in table.loc["gate", "sentence"]
    assert "whatever the weighting" in table.loc["gate", "plain"]


def test_the_gate_looks_at_the_whole_of_training():
    """Old: a baseline that gained 4 points and fell back at the end closed the gate. New: its mean success counts."""
    known = evidence({"baseline": 0.08, "half": 0.1})
    exactly(known, "baseline", "final", 0.004, 0.3)
    assert stats.mean_interval(known.measures.loc["baseline", "final"] - BASE_SUCCESS).low < 0
    assert verdict(known, "gate")["verdict"] == SUPPORTED


def test_where_the_baseline_is_expected_to_lose_success_the_gate_is_mean_reward():
    """All lose success, but their reward rises: training worked, and the losses can be compared."""
    gains = {"baseline": -0.05, "half": -0.01}
    known = evidence(gains, reward={"baseline": 0.3, "half": 0.3}, p_holm={"half": 0.001})
    table = judged(known, "C1")
    assert table.loc["gate", "verdict"] == CONTRADICTED and table.loc["C1", "verdict"] == UNRESOLVED
    table = judged(replace(known, gate="reward", predicted_gap=0.1), "C1")
    assert table.loc["gate", "verdict"] == SUPPORTED and table.loc["gate", "unit"] == ""
    assert "mean reward over training against the base model" in table.loc["gate", "sentence"]
    assert (table.loc["C1", "verdict"], table.loc["C1", "outcome"]) == (SUPPORTED, paired.BETTER)


def test_the_base_models_mean_reward_has_an_error_too():
    known = replace(evidence({"baseline": 0.0}, reward={"baseline": 0.22}), gate="reward")
    assert verdict(known, "gate")["verdict"] == SUPPORTED
    unsure = replace(known, measures=known.measures.assign(base_reward_error=0.02))
    assert verdict(unsure, "gate")["verdict"] == UNRESOLVED


def test_a_rare_success_is_tested_exactly_in_the_gate():
    """Old: three runs with one right answer each: +0.1 [+0.1, +0.1] above a base of 0, "learned". New: p = 0.25 at
    equal numbers of answers."""
    known = counted({"baseline": [1] * 3}, 1024, (0, 3072))
    row = verdict(known, "gate")
    assert row["verdict"] == UNRESOLVED and row["p"] == pytest.approx(0.25)
    row = verdict(counted({"baseline": [3, 3, 2]}, 1024, (0, 3072)), "gate")
    assert row["verdict"] == SUPPORTED and row["p"] == pytest.approx(
        reference.ttest_1samp([3, 3, 2], 0).pvalue, rel=0.05
    )
