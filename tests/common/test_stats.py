"""Statistics against definitions, enumeration, exact fractions and scipy."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from softmax_rewards.common import stats


def test_mean_interval_is_scipys_one_sample_t():
    values = [0.11, 0.14, 0.09, 0.2]
    expected = reference.ttest_1samp(values, 0)
    got = stats.mean_interval(values)
    assert (got.low, got.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert got.p == pytest.approx(expected.pvalue)
    assert (got.estimate, got.n, got.deviation) == (
        pytest.approx(0.135),
        4,
        pytest.approx(np.std(values, ddof=1)),
    )


def test_t_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for seeds in (3, 10):
        intervals = [stats.mean_interval(row) for row in rng.normal(0.5, 2.0, (4000, seeds))]
        covered = np.mean([interval.low <= 0.5 <= interval.high for interval in intervals])
        assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 4000)


def test_one_seed_or_none_gives_no_interval():
    one = stats.mean_interval([0.3])
    assert one.estimate == 0.3 and one.n == 1
    assert math.isnan(one.low) and math.isnan(one.high) and math.isnan(one.p)
    assert math.isnan(stats.mean_interval([]).estimate)
    assert not stats.equivalent(one, 0.02)
    assert math.isnan(stats.minimum_detectable_effect(0.1, 1))


def test_values_without_spread_have_an_interval_of_no_width():
    assert stats.mean_interval([0.25, 0.25])[:5] == (0.25, 0.25, 0.25, 0.0, 2)
    assert stats.mean_interval([0.0, 0.0]).p == 1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.019, 0.019, True), (-0.02, 0.01, False), (0.001, 0.019, True), (-0.01, 0.03, False)],
)
def test_equivalence_needs_the_whole_interval_inside_the_margin(low, high, expected):
    interval = stats.Interval(0.0, low, high, 0.5, 3, 0.01)
    assert stats.equivalent(interval, 0.02) is expected
    assert not stats.equivalent(interval, math.nan)  # no margin is known


def brute_holm(p: list[float]) -> list[float]:
    """By definition: the smallest level at which the step-down procedure still rejects each hypothesis."""
    levels = sorted({min(1.0, (len(p) - rank) * value) for value in p for rank in range(len(p))} | {1.0})
    adjusted = [1.0] * len(p)
    for level in reversed(levels):
        for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
            if p[index] * (len(p) - rank) > level:
                break
            adjusted[index] = level
    return adjusted


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 64).map(lambda n: n / 64), min_size=1, max_size=7))
def test_holm_is_the_smallest_level_that_rejects(p):
    np.testing.assert_allclose(stats.holm(p), brute_holm(p))


def test_holm_counts_a_member_without_result():
    adjusted = stats.holm([0.01, math.nan, 0.02])
    assert adjusted[0] == pytest.approx(0.03) and adjusted[2] == pytest.approx(0.04) and np.isnan(adjusted[1])


@pytest.mark.parametrize("seeds", [2, 3, 10, 30])
def test_minimum_detectable_effect_has_the_power_it_states(seeds):
    effect = stats.minimum_detectable_effect(0.03, seeds)
    critical = reference.t.ppf(0.975, seeds - 1)
    power = reference.nct.sf(critical, seeds - 1, effect * math.sqrt(seeds) / 0.03)
    assert power == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize(("successes", "trials"), [(0, 128), (4, 128), (49, 128), (128, 128)])
def test_wilson_is_scipys(successes, trials):
    expected = reference.binomtest(successes, trials).proportion_ci(method="wilson")
    assert stats.wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_two_proportion_z_of_the_reported_differences():
    assert round(stats.two_proportion_z(0.19, 128, 0.11, 128), 1) == 1.8
    assert round(stats.two_proportion_z(0.38, 128, 0.17, 128), 1) == 3.9
    assert stats.two_proportion_z(0.0, 10, 0.0, 10) == 0
    assert stats.two_proportion_z(1.0, 10, 0.0, 10) == math.inf


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 100)), min_size=2, max_size=9), st.data())
def test_area_equals_exact_fractions(points, data):
    xs = [Fraction(x) for x in itertools.accumulate(gap for gap, _ in points)]
    ys = [Fraction(y, 100) for _, y in points]

    def exact(until: Fraction) -> Fraction:
        total = Fraction(0)
        for (x0, x1), (y0, y1) in zip(itertools.pairwise(xs), itertools.pairwise(ys), strict=True):
            end = min(x1, until)
            if end > x0:
                at_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
                total += (y0 + at_end) / 2 * (end - x0)
        return total / (until - xs[0])

    x, y = [float(v) for v in xs], [float(v) for v in ys]
    assert stats.area(x, y) == pytest.approx(float(exact(xs[-1])))
    until = data.draw(st.integers(int(xs[0]) + 1, int(xs[-1])))
    assert stats.area(x, y, until) == pytest.approx(float(exact(Fraction(until))))


def test_area_refuses_what_has_none():
    with pytest.raises(ValueError, match="two or more"):
        stats.area([0], [0.1])
    with pytest.raises(ValueError, match="increasing"):
        stats.area([0, 10, 10], [0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match="until = 30"):
        stats.area([0, 20], [0.1, 0.1], 30)


def test_puzzle_bootstrap_is_close_to_the_normal_interval_and_repeatable():
    rng = np.random.default_rng(1)
    values = rng.choice([-1, 0, 1], size=1024, p=[0.1, 0.7, 0.2])
    got = stats.puzzle_bootstrap(values, seed=0)
    half = 1.96 * values.std() / math.sqrt(1024)
    assert (got.low, got.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.004)
    assert got == pytest.approx(stats.puzzle_bootstrap(values, seed=0), nan_ok=True)


@pytest.mark.parametrize("members", [1, 3, 7])
def test_the_strictest_confidence_is_that_of_holms_first_step(members):
    level = 1 - stats.strictest_confidence(members)
    others = [1.0] * (members - 1)
    assert stats.holm([0.99 * level, *others])[0] < 0.05 < stats.holm([1.01 * level, *others])[0]
    assert stats.strictest_confidence(0) == stats.strictest_confidence(1) == stats.CONFIDENCE
