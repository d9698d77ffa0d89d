"""Robust statistics against scipy, enumeration and exact fractions; and against rliable where it is installed."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats as reference

from softmax_rewards.verdicts import robust

SCORES = arrays.arrays(
    float,
    st.tuples(st.integers(1, 7), st.integers(1, 3)),
    elements=st.integers(-20, 20).map(lambda value: value / 10),
)


@settings(deadline=None, derandomize=True)
@given(SCORES)
def test_the_interquartile_mean_is_scipys_trimmed_mean(scores):
    assert robust.interquartile_mean(scores) == pytest.approx(reference.trim_mean(scores, 0.25, axis=None))


def test_the_interquartile_mean_leaves_an_outlier_out():
    scores = np.array([[0.1], [0.2], [0.3], [50.0]])
    assert robust.interquartile_mean(scores) == pytest.approx(0.25)
    assert robust.interquartile_mean(scores[:3]) == pytest.approx(0.2)  # too few to leave one out


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_the_probability_of_improvement_counts_every_pair(first, second):
    wins = sum(Fraction(1) if x > y else Fraction(1, 2) if x == y else 0 for x in first for y in second)
    expected = wins / (len(first) * len(second))
    x, y = np.array(first, float)[:, None], np.array(second, float)[:, None]
    assert robust.probability_of_improvement(x, y) == pytest.approx(float(expected))
    assert robust.probability_of_improvement(y, x) == pytest.approx(float(1 - expected))


def test_the_probability_of_improvement_is_a_mean_over_tasks():
    first, second = np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[0.0, 1.0]])
    assert robust.probability_of_improvement(first, second) == 0.5


def test_the_bootstrap_is_that_of_all_resamples():
    scores = np.array([[0.1], [0.4], [0.5], [0.9]])
    every = [reference.trim_mean(draw, 0.25) for draw in itertools.product(scores[:, 0], repeat=4)]
    got = robust.stratified_bootstrap(robust.interquartile_mean, scores, draws=40_000)
    assert got.estimate == pytest.approx(0.45)
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(every, [0.025, 0.975])), abs=0.01)


def test_the_bootstrap_is_stratified_by_task():
    """Runs differ between the tasks only: drawing within each changes nothing."""
    scores = np.tile([0.1, 0.5, 0.9, 0.2], (5, 1))
    got = robust.stratified_bootstrap(robust.interquartile_mean, scores)
    assert got.low == got.high == pytest.approx(got.estimate)


def test_the_bootstrap_repeats_itself_and_a_single_run_gives_no_interval():
    first, second = np.array([[0.1], [0.3], [0.2]]), np.array([[0.2], [0.4]])
    draw = [robust.stratified_bootstrap(robust.probability_of_improvement, first, second) for _ in range(2)]
    assert draw[0] == draw[1]
    assert 0 <= draw[0].low <= draw[0].estimate <= draw[0].high <= 1
    alone = robust.stratified_bootstrap(robust.interquartile_mean, [[0.3]])
    assert alone.estimate == 0.3 and math.isnan(alone.low) and math.isnan(alone.high)


@pytest.mark.parametrize("scores", [np.zeros((0, 1)), np.zeros(3)])
def test_scores_must_be_runs_by_tasks(scores):
    with pytest.raises(ValueError, match=r"\[runs, tasks\]"):
        robust.stratified_bootstrap(robust.interquartile_mean, scores)


def test_the_same_as_rliable():
    """Its metrics; its bootstrap needs a package that does not load beside the present pandas."""
    metrics = pytest.importorskip("rliable.metrics")
    rng = np.random.default_rng(0)
    for runs, others, tasks in [(8, 6, 2), (10, 10, 1), (5, 3, 4), (3, 7, 1)]:
        first, second = rng.normal(0.5, 0.2, (runs, tasks)), rng.normal(0.4, 0.2, (others, tasks)).round(1)
        assert robust.interquartile_mean(first) == pytest.approx(metrics.aggregate_iqm(first), rel=1e-12)
        improvement = metrics.probability_of_improvement(first.round(1), second)  # with ties
        assert robust.probability_of_improvement(first.round(1), second) == pytest.approx(improvement, rel=1e-12)
