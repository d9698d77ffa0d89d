"""The map of a log: against the canonical map, against exact sums prompt by prompt, and against a simulation."""

import math

import numpy as np
import pytest

from softmax_rewards import weighting
from softmax_rewards.weighting.study import log_map, scheme_map
from softmax_rewards.weighting.study.answer_lengths import Answers, measure
from softmax_rewards.weighting.study.exchange_rate import expected_weights
from softmax_rewards.weighting.study.populations import Population, composed, independent, weigh

REWARDS = np.array([1.1, 0.1, 0.0])
SETTINGS = [("linear", {}), ("dr_grpo", {}), ("softmax", {"tau": 0.5}), ("maxrl", {}), ("normal_scores", {})]


def log(kinds, rewards=REWARDS):
    """Groups of answers by kind [G, N], 0 right, 1 well formed, 2 unformatted, each with count 1."""
    return Population(rewards[kinds], kinds == 0, np.ones(len(kinds), int))


@pytest.mark.parametrize("point", scheme_map.POINTS)
def test_a_log_of_equal_prompts_has_the_canonical_figures(point):
    """Groups in exactly the canonical proportions. Two ways to X: one answer turned, and expected weights by kind."""
    groups = independent(*point, 8)
    chosen = [pair for pair in scheme_map.map_settings() if not weighting.couples_groups(pair[0])]
    table = log_map.table(groups, chosen)
    for (scheme, hyperparameters), row in zip(chosen, table.itertuples(), strict=True):
        expected = scheme_map.figures(scheme, hyperparameters, *point)
        found = (row.rho, row.tilt, row.x)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True), scheme
        assert row.x_alike == pytest.approx(expected.x, rel=1e-6, abs=1e-9, nan_ok=True), scheme
    assert table["paid"].tolist() == pytest.approx([0.1] * len(table))
    assert table["success"].iloc[0] == pytest.approx(point[0]) and table["well_formed"].iloc[0] == pytest.approx(
        point[1]
    )


@pytest.mark.parametrize("scheme", ["batch_std", "shrunk", "softmax_matched"])
def test_a_scheme_that_couples_groups_is_near_its_canonical_place(scheme):
    chosen = {"tau": 0.5} if scheme == "softmax_matched" else {}
    found = log_map.figures(independent(0.08, 0.98, 8), scheme, chosen)
    assert found == pytest.approx(scheme_map.figures(scheme, chosen, 0.08, 0.98), rel=0.02)


@pytest.mark.parametrize(("scheme", "chosen"), SETTINGS)
def test_x_of_unequal_prompts_against_exact_sums_for_each_prompt(scheme, chosen):
    """Three of four prompts are nearly hopeless. Below, a prompt counts by its right answers."""
    rates, formed, share = np.array([0.01, 0.3]), np.array([0.5, 0.8]), np.array([0.75, 0.25])
    by_prompt = [independent(rate, well, 8) for rate, well in zip(rates, formed, strict=True)]
    means = np.array([expected_weights(weigh(groups, scheme, chosen), groups) for groups in by_prompt])
    gained = share * rates @ (means[:, 0] - means[:, 1]) / (share @ rates)
    paid = share * (1 - formed) @ (means[:, 1] - means[:, 2]) / (share @ (1 - formed))
    both = Population(
        *(np.concatenate([getattr(groups, name) for groups in by_prompt]) for name in ("rewards", "correct")),
        np.concatenate([part * groups.counts for part, groups in zip(share, by_prompt, strict=True)]),
    )
    assert log_map.figures(both, scheme, chosen).x == pytest.approx(paid / gained, rel=1e-9, abs=1e-12)
    # The same from drawn groups and plain weights, answer by answer.
    rng = np.random.default_rng(0)
    prompt = rng.choice(2, 20_000, p=share)[:, None]
    uniform = rng.random((20_000, 8))
    kinds = (uniform > rates[prompt]).astype(int) + (uniform > formed[prompt])
    assert log_map.figures(log(kinds), scheme, chosen).x == pytest.approx(paid / gained, rel=0.05, abs=0.005)


def test_means_by_kind_would_compare_easy_prompts_with_hard_ones():
    """dr_grpo pays what the rewards say, whatever the prompts are."""
    rng = np.random.default_rng(0)
    rate = rng.beta(0.5, 4.5, (20_000, 1))
    uniform = rng.random((20_000, 8))
    groups = log((uniform > rate).astype(int) + (uniform > rate + (1 - rate) / 2))
    assert log_map.figures(groups, "dr_grpo", {}).x == pytest.approx(0.1, abs=1e-9)
    assert expected_weights(weigh(groups, "dr_grpo", {}), groups).exchange_rate > 0.11
    assert log_map.figures(groups, "linear", {}).x > log_map.alike(groups, "linear", {})


def test_many_levels_are_split_in_the_middle_of_their_range():
    rewards = np.array([[1.0, 0.5, 0.4, 0.2, 0.05, 0.0]])
    kinds = log_map.levels(Population(rewards, rewards == 1, np.ones(1, int)))
    assert kinds == pytest.approx((1.0, 0.4, 0.25 / 3, 0.4, 5, 1 / 6, 3 / 6))
    assert kinds.paid == pytest.approx((0.4 - 0.25 / 3) / 0.6)


def test_what_a_log_cannot_say_is_missing():
    binary = composed([1, 4, 0], [0, 0, 0], 8, (0.0, 1.0), np.array([5, 2, 3]))
    assert log_map.levels(binary) is None
    found = log_map.figures(binary, "linear", {})
    assert found.rho > 0 and found.tilt > 1 and math.isnan(found.x) and math.isnan(log_map.alike(binary, "linear", {}))
    assert log_map.levels(composed([0], [3], 8, (0.0, 1.1), np.array([5]))) is None  # nothing is right
    assert math.isnan(log_map.figures(composed([1, 3], [1, 1], 8, (0.0, 1.1), np.array([5, 2])), "linear", {}).tilt)
    small = composed([1, 4, 2], [1, 0, 1], 4, (0.0, 1.1), np.array([5, 2, 3]))
    assert math.isnan(log_map.figures(small, "linear", {}).tilt)


def test_lengths_by_hand():
    answers = Answers(np.array([1.1, 0.1, 0.1, 0.0, 0.0]), np.arange(5) < 1, np.array([50.0, 10.0, 20.0, 30.0, 40.0]))
    kinds = log_map.levels(Population(answers.rewards[None], answers.correct[None], np.ones(1, int)))
    found = measure(answers, kinds)
    assert found[:3] == (50, 15, 35)
    # Lengths −15, −5, 5, 15 from their mean, format ±1/2: covariance 5, variances 125 and 1/4.
    assert found.correlation == pytest.approx(-5 / math.sqrt(125 / 4))
    assert math.isnan(measure(answers._replace(lengths=np.ones(5)), kinds).correlation)
