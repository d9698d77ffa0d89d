"""The temperature rule: a planted maximum is found with its interval; anything else is declined."""

import math

import numpy as np
import pytest
from scipy import stats as reference

from softmax_rewards.weighting.study import tau_rule

GRID = (0.1, 0.25, 0.5, 0.55, 0.75, 1.0, 2.0)
RANGE = 1.1


def planted(peak: float, seeds: int = 5, noise: float = 0.003, curvature: float = 0.03, taus=GRID, seed: int = 0):
    """Success [S, M] of a parabola in log(τ/range) with its maximum at the ratio `peak`."""
    rng = np.random.default_rng(seed)
    x = np.log(np.array(taus) / RANGE)
    return 0.3 - curvature * (x - math.log(peak)) ** 2 + rng.normal(0, noise, (seeds, len(taus)))


@pytest.mark.parametrize("peak", [0.3, 0.5, 0.8])
def test_finds_a_planted_interior_maximum(peak):
    fit = tau_rule.fit(GRID, planted(peak), RANGE)
    assert fit.interior and fit.reason == ""
    assert fit.low < fit.ratio < fit.high
    assert fit.ratio == pytest.approx(peak, rel=0.1)
    assert fit.bracket[0] < fit.best / RANGE < fit.bracket[1]


def test_interval_covers_the_planted_maximum_as_often_as_it_says():
    trials = 600
    fits = [tau_rule.fit(GRID, planted(0.5, 3, 0.004, seed=seed), RANGE) for seed in range(trials)]
    assert all(fit.interior for fit in fits[:50])
    covered = np.mean([fit.low <= 0.5 <= fit.high for fit in fits if fit.interior])
    assert abs(covered - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials)


def test_limits_are_where_the_t_test_stops_rejecting():
    success = planted(0.5, 4)
    fit = tau_rule.fit(GRID, success, RANGE)
    x = np.log(np.array(GRID) / RANGE)
    c, b, _ = np.polyfit(x, success.T, 2)
    for limit in (fit.low, fit.high):
        p = reference.ttest_1samp(b + 2 * c * math.log(limit), 0).pvalue
        assert p == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize(("peak", "best"), [(0.02, 0.1), (20.0, 2.0)])
def test_declines_a_maximum_at_the_edge(peak, best):
    fit = tau_rule.fit(GRID, planted(peak), RANGE)
    assert not fit.interior and fit.best == best and "edge" in fit.reason
    assert math.isnan(fit.ratio) and math.isnan(fit.low) and math.isnan(fit.high)
    assert fit.lead.low > 0
    assert math.copysign(1, fit.slope.estimate) == (1 if peak > 1 else -1)


def test_declines_flat_and_convex_success():
    flat = tau_rule.fit(GRID, planted(0.5, curvature=0.0, noise=0.02, seed=5), RANGE)
    convex = tau_rule.fit(GRID, planted(0.5, curvature=-0.03), RANGE)
    assert not flat.interior and not convex.interior
    assert math.isnan(flat.ratio) and math.isnan(convex.ratio)


def test_declines_too_small_a_grid_and_a_single_seed():
    small = tau_rule.fit(GRID[:3], planted(0.5, taus=GRID[:3]), RANGE)
    single = tau_rule.fit(GRID, planted(0.5, seeds=1), RANGE)
    assert not small.interior and "grid is too small: 3" in small.reason
    assert not single.interior and "1 seed" in single.reason


def test_order_of_the_grid_does_not_matter_and_only_the_ratio_counts():
    success = planted(0.5)
    fit = tau_rule.fit(GRID, success, RANGE)
    assert tau_rule.fit(GRID[::-1], success[:, ::-1], RANGE) == fit
    scaled = tau_rule.fit([10 * tau for tau in GRID], success, 10 * RANGE)
    assert (scaled.ratio, scaled.low, scaled.high) == pytest.approx((fit.ratio, fit.low, fit.high))
