"""Outcomes of a difference. Each experiment is made up so that the rule of the first series decides it wrongly."""

import math
from dataclasses import replace

import numpy as np
import pytest
from planted import SOFTMAX, counted, evidence, verdict
from scipy import stats as reference

from softmax_rewards.verdicts import paired
from softmax_rewards.verdicts.evidence import BASE, LINEAR, Contrast
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED


def leads(gain, lead, half_width, seeds=10, **known):
    """The baseline's AUC gains `gain`; softmax leads by `lead`, with exactly this half-width of the 95 % interval."""
    planned = evidence({"baseline": 2 * gain, "half": 2 * gain}, seeds=seeds)
    z = np.linspace(-1, 1, seeds)
    deviation = half_width * math.sqrt(seeds) / reference.t.ppf(0.975, seeds - 1)
    auc = planned.measures["auc"].copy()
    auc["half"] = auc["baseline"] + lead + deviation * z / z.std(ddof=1)
    return replace(planned, measures=planned.measures.assign(auc=auc), **known)


def old_rule(row):
    """The old outcome of a difference in points, without Holm: ±2 points came before the sign."""
    if row["low"] > -2 and row["high"] < 2:
        return "equivalent"
    return "not resolved" if row["low"] <= 0 <= row["high"] else "sign"


def test_a_small_harm_is_called_worse():
    """Old: −1.0 [−1.4, −0.5] is inside ±2 points, so "equivalent", though it is a quarter of the gain. New: worse."""
    row = verdict(leads(0.04, -0.0095, 0.0045), "C1")
    assert (row["low"], row["high"]) == pytest.approx((-1.4, -0.5))
    assert old_rule(row) == "equivalent"
    assert (row["outcome"], row["verdict"]) == (paired.WORSE, CONTRADICTED)
    assert row["plain"] == "No. Softmax at τ = 0.5 did worse than GRPO: about 0.9 right answers in 100 fewer." or (
        "did worse than GRPO: about 1 right answer in 100 fewer" in row["plain"]
    )


def test_what_counts_as_equal_grows_with_the_gain():
    """Old: with a gain of 25 points, +1 [−1.5, 3.5] was not resolved. New: inside ±5 points, so equivalent."""
    row = verdict(leads(0.25, 0.01, 0.025), "C1")
    assert old_rule(row) == "not resolved"
    assert (row["outcome"], row["verdict"]) == (paired.EQUIVALENT, CONTRADICTED)
    assert "inside ±5.0 points" in row["sentence"]


def test_what_counts_as_equal_shrinks_with_the_gain():
    """Old: with a gain of 4 points, 0 [−1.5, 1.5] was "equivalent". New: more than ±0.8 points, so not resolved."""
    row = verdict(leads(0.04, 0.0, 0.015), "C1")
    assert old_rule(row) == "equivalent"
    assert (row["outcome"], row["verdict"]) == (paired.UNCLEAR, UNRESOLVED)


def test_without_a_gain_of_the_baseline_nothing_counts_as_equal():
    """Old: 0 [−0.5, 0.5] was "equivalent" although nobody learned. New: a fifth of no gain is no margin."""
    known = leads(0.0, 0.0, 0.005)
    row = verdict(known, "C1")
    assert old_rule(row) == "equivalent"
    assert math.isnan(paired.margin(known, "auc")) and row["verdict"] == UNRESOLVED
    assert math.isnan(paired.margin(leads(-0.03, 0.0, 0.005), "auc"))
    assert math.isnan(paired.margin(leads(0.1, 0.0, 0.005), "entropy_early"))


def test_where_the_baseline_is_expected_to_lose_the_margin_is_a_fifth_of_the_predicted_gap():
    known = leads(-0.03, 0.0, 0.012, predicted_gap=0.1)
    assert paired.margin(known, "auc") == pytest.approx(0.02)
    assert paired.compare(known, Contrast(SOFTMAX, LINEAR)).outcome == paired.EQUIVALENT
    smaller = replace(known, predicted_gap=0.05)
    assert paired.compare(smaller, Contrast(SOFTMAX, LINEAR)).outcome == paired.UNCLEAR


def test_the_ratio_of_the_gains_stands_beside_the_difference():
    """Softmax gains 12 points where GRPO gains 10: a ratio of 1.2, with the limits of an inverted t test."""
    known = leads(0.10, 0.02, 0.01)
    row = verdict(known, "C1")
    gains = {name: known.measures.loc[name, "auc"] - known.measures.loc[name, "base"] for name in ("half", "baseline")}
    assert row["ratio"] == pytest.approx(gains["half"].mean() / gains["baseline"].mean())
    for limit in (row["ratio_low"], row["ratio_high"]):
        assert reference.ttest_1samp(gains["half"] - limit * gains["baseline"], 0).pvalue == pytest.approx(0.05)
    assert row["ratio_low"] < 1.2 < row["ratio_high"] and "times the gain of linear" in row["sentence"]
    assert math.isnan(verdict(known, "C7")["ratio"])  # entropy has no gain


def with_noisy_starts(hot_answers_right, base, seeds=5):
    """Evidence with softmax τ=1.0 at the end, and the measured step 0 of each run, of 1024 single answers."""
    known = counted({"baseline": [900] * seeds, "hot": hot_answers_right}, 4096, base)
    known.configs["hot"]["weighting"] = {"scheme": "softmax", "tau": 1.0}
    starts = 0.09 + np.array([0.011, -0.007, 0.012, -0.010, -0.006])
    return known, known.measures.loc["hot", "final"].to_numpy() - starts


def test_the_base_model_is_one_known_number():
    """Old: each run's own step 0, with a standard deviation of 1 point, hid a loss of 1.2 points. New: it is seen."""
    known, old = with_noisy_starts([315, 322, 318, 325, 316], (2949, 32768))
    assert reference.ttest_1samp(old, 0).pvalue > 0.05
    row = verdict(known, "C3a τ=1.0")
    assert (row["verdict"], row["outcome"]) == (SUPPORTED, paired.WORSE)


def test_the_standard_error_of_the_base_model_is_in_the_interval():
    """A base model's success from 256 answers is known to ±1.8 points only, so a loss of 1.2 points is not resolved."""
    known, _ = with_noisy_starts([315, 322, 318, 325, 316], (23, 256))
    interval = paired.compare(known, Contrast({"scheme": "softmax", "tau": 1.0}, BASE, "final")).interval
    least = 2 * 1.96 * known.measures["base_error"].iloc[0]
    assert interval.low < 0 < interval.high and interval.high - interval.low > least
    assert verdict(known, "C3a τ=1.0")["verdict"] == UNRESOLVED


def test_three_nearly_equal_counts_do_not_decide():
    """Old: 100 right answers of 1024 against 105, three times: +0.5 [+0.5, +0.5], "equivalent". New: not resolved."""
    known = counted({"baseline": [100] * 3, "half": [105] * 3}, 1024, (1000, 32768))
    row = verdict(known, "C1")
    assert row["low"] < -0.9 and row["high"] > 1.9 and row["p"] > 0.5
    assert (row["verdict"], row["outcome"]) == (UNRESOLVED, paired.UNCLEAR)
    ratio = (row["ratio_low"], row["ratio_high"])
    assert ratio[0] < 1 < ratio[1]  # its limits have the same floor


def test_three_single_answers_do_not_contradict():
    """Old: a base model of 0.1 % and three runs without a right answer gave −0.1 [−0.1, −0.1]: "contradicted"."""
    known = counted({"baseline": [0] * 3, "half": [0] * 3}, 1024, (3, 3072))
    row = verdict(known, "C11")
    assert row["verdict"] == UNRESOLVED and row["low"] < 0 < row["high"]
    assert row["p"] == pytest.approx(reference.binomtest(0, 3).pvalue)
    assert "exact test because few answers are right" in row["sentence"] and "four times in five" not in row["sentence"]


def test_an_exact_test_knows_that_the_base_model_has_more_answers():
    """Seven right answers of 5120 are many, where the base model had one of 32768."""
    known = counted({"baseline": [0] * 5, "half": [2, 1, 1, 1, 2]}, 1024, (1, 32768))
    row = verdict(known, "C11")
    share = 5120 / (5120 + 32768)
    assert row["verdict"] == SUPPORTED
    assert row["p"] == pytest.approx(
        max(2 * reference.binom.sf(6, 8, share), reference.ttest_1samp([2, 1, 1, 1, 2], 5120 / 32768 / 5).pvalue),
        rel=0.1,
    )
    assert 0 < row["low"] < row["effect"] < row["high"]


def test_a_single_seed_that_took_off_does_not_speak_for_the_others():
    """The exact test alone would call nine right answers of one seed an effect: p = 0.004 against none."""
    known = counted({"baseline": [0] * 5, "half": [9, 0, 0, 0, 0]}, 1024, (0, 32768))
    assert reference.binomtest(9, 9).pvalue < 0.01
    row = verdict(known, "C1")
    assert row["verdict"] == UNRESOLVED and row["p"] > 0.3
    every = counted({"baseline": [0] * 5, "half": [2, 2, 2, 2, 1]}, 1024, (0, 32768), p_holm={"half": 0.004})
    assert verdict(every, "C1")["verdict"] == SUPPORTED


@pytest.mark.parametrize("counts", [[30, 31, 30], [600, 610, 620]])
def test_many_right_answers_need_no_exact_test(counts):
    known = counted({"baseline": [30] * 3, "half": counts}, 1024, (900, 32768))
    assert not paired.compare(known, Contrast(SOFTMAX, LINEAR)).exact
