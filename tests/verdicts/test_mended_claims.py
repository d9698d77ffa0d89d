"""Claims whose rule of the first series could be wrong: best rates, counts of search, the cold start, the overview."""

import math

import numpy as np
import pandas as pd
import pytest
from planted import SOFTMAX, evidence, judged, verdict
from scipy import stats as reference

from softmax_rewards.common.stats import mean_interval
from softmax_rewards.verdicts import judgment
from softmax_rewards.verdicts.evidence import LINEAR
from softmax_rewards.verdicts.plan import CLAIMS
from softmax_rewards.verdicts.rate_rules import at_best_rate, best_difference, best_rates
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED


def at_rates(many, few):
    """Softmax at `many` learning rates, GRPO at `few`; all train alike."""
    names = {"half": SOFTMAX} | {f"half-{n}": SOFTMAX for n in range(1, many)}
    names |= {"baseline": LINEAR} | {f"linear-{n}": LINEAR for n in range(1, few)}
    training = {name: {"learning_rate": 1e-4 * (1 + int(name[-1]))} for name in names if name[-1].isdigit()}
    return evidence(dict.fromkeys(names, 0.2), weightings=names, training=training, spread=0.0)


def test_the_best_of_six_rates_does_not_profit_from_its_luck():
    """Old: the best of six rates by all seeds against the best of two leads by a third of a standard deviation, though
    all are equal. New: each seed's rate is chosen by the other seeds, so the mean lead is 0."""
    rng, old, new = np.random.default_rng(0), [], []
    for _ in range(1500):
        six, two = rng.normal(0.2, 0.01, (6, 5)), rng.normal(0.2, 0.01, (2, 5))
        old.append(six.mean(axis=1).max() - two.mean(axis=1).max())
        new.append(at_best_rate(six).mean() - at_best_rate(two).mean())
    error = 0.01 * math.sqrt(2 / 5 / 1500)
    assert np.mean(old) > 15 * error and abs(np.mean(new)) < 3 * error


def test_the_best_rates_of_equals_seldom_differ_clearly():
    """The t interval of the cross-fitted lead is too narrow: of ten seeds and six rates each, a fifth of the
    experiments without any difference would have one. The wider limits keep below 5 %."""
    rng, narrow, wide = np.random.default_rng(0), 0, 0
    for _ in range(150):
        sides = rng.normal(0.2, 0.01, (2, 6, 10))
        crossed = mean_interval(at_best_rate(sides[0]) - at_best_rate(sides[1]))
        found = best_difference(*sides)
        assert found.low <= crossed.low and crossed.high <= found.high and found.p >= crossed.p
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)
        narrow += not crossed.low <= 0 <= crossed.high
        wide += not found.low <= 0 <= found.high
    assert narrow > 0.1 * 150 and wide <= 0.05 * 150


def test_a_clear_lead_at_the_best_rates_is_found():
    """Softmax is 3 points better at its best rate of three, in five seeds with a standard deviation of half a point."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.2, 0.005, (2, 3, 5)) + np.array([[0.01, 0.04, 0], [-0.02, 0.01, 0]])[:, :, np.newaxis]
    found, flipped = best_difference(first, second), best_difference(second, first)
    assert 0 < found.low < 0.03 < found.high and found.p < 0.05
    assert flipped[:4] == pytest.approx((-found.estimate, -found.high, -found.low, found.p))


def test_every_rate_is_compared_on_the_same_seeds():
    """Old: a rate with lucky further seeds had the highest mean. New: only seeds that every rate has take part."""
    known = at_rates(2, 2)
    for name, value in {"half": 0.2, "half-1": 0.25, "baseline": 0.22, "linear-1": 0.2}.items():
        known.measures.loc[name, "auc"] = value
    known.measures.loc[("half", 4), "auc"] = 0.9
    lacking = known.measures.drop(index=[("half-1", 4), ("linear-1", 4)])
    finding = best_rates(SOFTMAX, LINEAR)(type(known)(lacking, known.configs, "baseline"))
    assert finding.interval.n == 4 and finding.interval.estimate == pytest.approx(0.03)


def test_near_equal_counts_at_the_best_rates_do_not_decide():
    known = at_rates(2, 2)
    known.measures["auc"] = 0.2
    known.measures.loc["half", "auc"] = 0.201
    assert verdict(known, "C1 best rates")["verdict"] == SUPPORTED
    known.measures["auc_noise"] = 0.02
    assert verdict(known, "C1 best rates")["verdict"] == UNRESOLVED


def test_self_checks_that_count_the_same_as_attempts_are_not_a_second_finding():
    """Old: each attempt ends with a check, so one count supported two claims. New: the second is not tested."""
    known = evidence({"baseline": 0.1, "half": 0.2}, attempts={"baseline": 2, "half": 4}, spread=0.1)
    known.measures[["auc", "final"]] += 1
    known.measures["self_checks"] = known.measures["attempts"]
    rows = judged(known, "C10a", "C10b")
    assert rows.loc["C10a", "verdict"] == SUPPORTED
    assert rows.loc["C10b", "seeds"] == 0 and "two counts" in rows.loc["C10b", "sentence"]
    known.measures["self_checks"] = np.tile([0.0, 1.0], 5)
    assert judged(known, "C10b").loc["C10b", "seeds"] == 5
    known.measures["attempts"] = known.measures["self_checks"] = 2.0  # neither varies
    assert judged(known, "C10b").loc["C10b", "seeds"] == 0


def cold(taught, alone):
    """A cold start with a base model of 0.1 %: GRPO with a reference answer, and imitation alone."""
    weightings = {"taught": LINEAR, "alone": LINEAR}
    training = {"taught": {"imitation": 1.0}, "alone": {"imitation": 0.0}}
    gains = {"baseline": 0.0, "taught": taught - 0.001, "alone": alone - 0.001}
    known = evidence(gains, weightings=weightings, training=training, spread=0.0003)
    known.measures[["base", "auc", "final"]] -= 0.089
    return verdict(known, "C12 imitation 1")


def test_a_cured_cold_start_reaches_2_percent_and_more_than_imitation_alone():
    """Old: 0.5 % after a base model of 0.1 % was a cure, although imitation alone reached 0.7 %. New: it is none."""
    assert cold(0.0052, 0.0072)["verdict"] == CONTRADICTED
    assert cold(0.01, 0.005)["verdict"] == CONTRADICTED  # more than imitation alone, but below 2 %
    assert cold(0.03, 0.04)["verdict"] == CONTRADICTED  # 2 %, but less than imitation alone
    assert cold(0.04, 0.03)["verdict"] == SUPPORTED
    assert "against 2.0 %" in cold(0.04, 0.03)["sentence"] and "imitation 0.0 3.0 %" in cold(0.04, 0.03)["sentence"]


def test_a_cure_without_a_run_of_imitation_alone_is_not_tested():
    known = evidence(
        {"baseline": 0.0, "taught": 0.03}, weightings={"taught": LINEAR}, training={"taught": {"imitation": 1.0}}
    )
    known.measures[["base", "auc", "final"]] -= 0.089
    assert "needs an ablation with linear with imitation 0.0" in verdict(known, "C12 imitation 1")["sentence"]


def test_the_overview_adjusts_for_the_number_of_verdicts():
    """Old: among many verdicts some are below 0.05 by chance. New: q says how many of those are to be expected."""
    weightings = {f"x{n}": {"scheme": "softmax", "tau": tau} for n, tau in enumerate((0.25, 0.75, 1.0, 2.0))}
    gains = {"baseline": 0.1, "half": 0.12} | dict.fromkeys(weightings, 0.11)
    tables = [
        judgment.judge(CLAIMS, evidence(gains, weightings=weightings, spread=spread), name, "mini", "countdown")
        for name, spread in (("first", 0.01), ("second", 0.02))
    ]
    table = judgment.overview(tables)
    tested = table["p"].notna()
    assert 10 < tested.sum() < len(table)
    expected = pd.Series(reference.false_discovery_control(table.loc[tested, "p"].astype(float)), table.index[tested])
    assert table.loc[tested, "q"].tolist() == pytest.approx(expected.tolist())
    assert table.loc[~tested, "q"].isna().all() and (table.loc[tested, "q"] >= table.loc[tested, "p"]).all()
