"""Ratios, rare counts, floors and false discoveries, against enumeration, a brute-force inversion and scipy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from softmax_rewards.common import stats

VALUES = st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 100)), min_size=3, max_size=8)


def test_three_equal_counts_have_an_interval_as_wide_as_their_noise():
    """Old: three seeds with +5 right answers each gave +0.5 [+0.5, +0.5] points, p = 0. New: chance explains it."""
    noise = math.sqrt(2 * 0.1 * 0.9 / 1024)
    old, new = (stats.mean_interval([5 / 1024] * 3, floor=floor) for floor in (0.0, noise))
    assert old.low == old.high > 0 and old.p == 0
    assert new.low < 0 < new.high
    assert new.high - new.low == pytest.approx(2 * reference.norm.ppf(0.975) * noise / math.sqrt(3))
    assert new.p == pytest.approx(2 * reference.norm.sf(5 / 1024 / (noise / math.sqrt(3))))


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(-9, 9), min_size=2, max_size=6), st.integers(0, 9), st.integers(0, 9))
def test_a_floor_and_a_shared_error_only_widen(values, floor, shared):
    narrow, wide = stats.mean_interval(values), stats.mean_interval(values, floor=floor, shared=shared)
    assert wide.low <= narrow.low <= narrow.high <= wide.high and wide.p >= narrow.p
    if abs(wide.p - 0.05) > 1e-9:
        assert (wide.p < 0.05) == (not wide.low <= 0 <= wide.high)
    mirrored = stats.mean_interval([-value for value in values], floor=floor, shared=shared)
    assert (mirrored.low, mirrored.high, mirrored.p) == pytest.approx((-wide.high, -wide.low, wide.p))


def test_an_error_that_all_seeds_share_is_in_the_interval():
    """Old: a base model's success, estimated once, counted as exact, so the interval missed the truth in most cases."""
    rng = np.random.default_rng(0)
    draws = rng.normal(0, 0.01, (1000, 1)) + rng.normal(0, 0.005, (1000, 10))
    for shared, covers in ((0.0, (0.2, 0.4)), (0.01, (0.94, 1.0))):
        intervals = [stats.mean_interval(row, shared=shared) for row in draws]
        covered = np.mean([interval.low <= 0 <= interval.high for interval in intervals])
        assert covers[0] < covered <= covers[1]


def inverted(first, second, floors, ratios):
    """By definition: the ratios at which the test of "first − ratio·second has mean 0" does not reject."""
    kept = []
    for ratio in ratios:
        interval = stats.mean_interval(first - ratio * second, floor=math.hypot(floors[0], ratio * floors[1]))
        if interval.low <= 0 <= interval.high:
            kept.append(ratio)
    return min(kept), max(kept)


@pytest.mark.parametrize("floors", [(0.0, 0.0), (0.02, 0.02), (0.06, 0.01), (0.001, 0.05)])
def test_the_ratios_limits_are_those_of_an_inverted_test(floors):
    rng = np.random.default_rng(3)
    second = rng.normal(0.2, 0.02, 6)
    first = 0.8 * second + rng.normal(0, 0.02, 6)
    found, ratios = stats.ratio_interval(first, second, floors=floors), np.arange(0, 2, 0.001)
    assert (found.low, found.high) == pytest.approx(inverted(first, second, floors, ratios), abs=0.0011)
    assert found.estimate == pytest.approx(first.mean() / second.mean())
    if floors == (0.0, 0.0):  # then the test is scipy's
        assert reference.ttest_1samp(first - found.low * second, 0).pvalue == pytest.approx(0.05)
        assert reference.ttest_1samp(first - found.high * second, 0).pvalue == pytest.approx(0.05)


@settings(deadline=None, derandomize=True)
@given(VALUES, st.integers(0, 20), st.integers(0, 20), st.sampled_from([0.01, 3.0, 100.0]))
def test_a_ratio_scales_and_agrees_with_the_difference(pairs, floor, other, factor):
    first, second = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    found = stats.ratio_interval(first, second, floors=(floor, other))
    alike = stats.ratio_interval(factor * first, factor * second, floors=(factor * floor, factor * other))
    scaled = stats.ratio_interval(factor * first, second, floors=(factor * floor, other))
    assert alike[:3] == pytest.approx(found[:3], nan_ok=True, rel=1e-6, abs=1e-9)
    expected = tuple(factor * value for value in found[:3])
    assert scaled[:3] == pytest.approx(expected, nan_ok=True, rel=1e-6, abs=1e-9 * factor)
    if not math.isnan(found.low):
        assert found.low - 1e-9 <= found.estimate <= found.high + 1e-9
        if abs(found.p - 0.05) > 1e-6:
            assert (found.p < 0.05) == (not found.low <= 1 <= found.high)


def test_a_ratio_to_a_gain_that_may_be_0_has_no_limits():
    """Old: no ratio was given. A ratio without limits would look exact: here it is 4.3."""
    found = stats.ratio_interval([0.05, 0.04, 0.04], [0.03, -0.02, 0.02])
    assert found.estimate == pytest.approx(13 / 3) and math.isnan(found.low) and math.isnan(found.high)
    assert math.isnan(stats.ratio_interval([0.05], [0.03]).low) and stats.ratio_interval([0.06], [0.03]).estimate == 2
    assert math.isnan(stats.ratio_interval([], []).estimate)


def test_a_ratios_limits_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.02, (1500, 3, 5))  # of first, of second, and what both share
    second = 0.10 + noise[:, 1] + noise[:, 2]
    first = 0.13 + noise[:, 0] + noise[:, 2]
    found = [stats.ratio_interval(*pair) for pair in zip(first, second, strict=True)]
    covered = np.mean([interval.low <= 1.3 <= interval.high for interval in found if not math.isnan(interval.low)])
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 1500)


def enumerated_p(first, first_trials, second, second_trials):
    """Twice the smaller tail of the binomial distribution of the first count, given the total."""
    total, share = first + second, first_trials / (first_trials + second_trials)
    mass = [math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(total + 1)]
    return min(1.0, 2 * min(sum(mass[: first + 1]), sum(mass[first:])))


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 9), st.integers(0, 9), st.sampled_from([(1000, 1000), (500, 4000), (3000, 100)]))
def test_rare_counts_have_an_exact_test_that_agrees_with_its_limits(first, second, trials):
    low, high, p = stats.count_interval(first, trials[0], second, trials[1])
    assert p == pytest.approx(enumerated_p(first, trials[0], second, trials[1]))
    if trials[0] == trials[1] and first + second:
        assert p == pytest.approx(reference.binomtest(first, first + second).pvalue)
    difference = first / trials[0] - second / trials[1]
    assert low <= difference + 1e-12 and difference <= high + 1e-12
    assert (p < 0.05) == (not low <= 0 <= high)
    mirrored = stats.count_interval(second, trials[1], first, trials[0])
    assert mirrored == pytest.approx((-high, -low, p))


@pytest.mark.parametrize(("trials", "rate"), [((60, 60), 0.04), ((40, 160), 0.025)])
def test_the_exact_test_rejects_equal_rates_in_at_most_5_percent_of_cases(trials, rate):
    """All outcomes are enumerated. Old: equal counts of three seeds always rejected (1, 1, 1 against 0, 0, 0)."""
    chances = [reference.binom.pmf(range(13), n, rate) for n in trials]
    size = sum(
        chances[0][first] * chances[1][second]
        for first, second in itertools.product(range(13), repeat=2)
        if chances[0][first] * chances[1][second] > 1e-7
        and enumerated_p(first, trials[0], second, trials[1]) < 0.05
        and stats.count_interval(first, trials[0], second, trials[1])[2] < 0.05
    )
    assert 0 < size <= 0.05


def by_definition(p):
    """Benjamini and Hochberg: the smallest p_(j)·m/j over the ranks j from one's own rank on."""
    ordered = sorted(p)
    return [min(ordered[j] * len(p) / (j + 1) for j in range(ordered.index(value), len(p))) for value in p]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 1000).map(lambda n: n / 1000), min_size=1, max_size=12, unique=True))
def test_false_discovery_leaves_out_what_was_not_tested(p):
    adjusted = stats.false_discovery([math.nan, *p, math.nan])
    assert np.isnan(adjusted[[0, -1]]).all()
    np.testing.assert_allclose(adjusted[1:-1], by_definition(p))
    np.testing.assert_allclose(adjusted[1:-1], reference.false_discovery_control(p))


def test_false_discovery_of_nothing():
    assert np.isnan(stats.false_discovery([math.nan])).all() and len(stats.false_discovery([])) == 0
