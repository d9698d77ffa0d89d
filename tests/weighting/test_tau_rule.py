"""The temperature rule: a planted maximum is found with its interval; anything else is declined.

scipy's isotonic regression and statsmodels' least squares are the oracles of its parts. A simulation with known curves
is the oracle of its error rates.
"""

import math

import numpy as np
import pytest
import statsmodels.api as statsmodels
from scipy import optimize

from softmax_rewards.weighting.study import seed_effects, tau_rule, unimodal

GRID = (0.1, 0.25, 0.5, 0.55, 0.75, 1.0, 2.0)
RANGE = 1.1


def planted(peak: float, seeds: int = 5, noise: float = 0.003, curvature: float = 0.03, taus=GRID, seed: int = 0):
    """Success [S, M] of a parabola in log(τ/range) with its maximum at the ratio `peak`."""
    rng = np.random.default_rng(seed)
    x = np.log(np.array(taus) / RANGE)
    return 0.3 - curvature * (x - math.log(peak)) ** 2 + rng.normal(0, noise, (seeds, len(taus)))


@pytest.mark.parametrize(("peak", "best"), [(0.3, 0.25), (0.5, 0.55), (0.8, 0.75)])
def test_finds_a_planted_interior_maximum(peak, best):
    fit = tau_rule.fit(GRID, planted(peak), RANGE)
    assert fit.interior and fit.reason == "" and fit.region == (fit.low, fit.high)
    assert fit.low < peak < fit.high and fit.may_peak_at(peak)
    assert fit.low < fit.best / RANGE < fit.high
    neighbors = {0.25: (0.25,), 0.55: (0.5, 0.55), 0.75: (0.75, 1.0)}[best]
    assert any(fit.ratio == pytest.approx(tau / RANGE) for tau in neighbors)


def test_interval_covers_the_planted_maximum_at_least_as_often_as_it_says():
    trials = 200
    fits = [tau_rule.fit(GRID, planted(0.5, 3, 0.004, seed=seed), RANGE) for seed in range(trials)]
    assert all(fit.interior for fit in fits[:50])
    covered = np.mean([fit.may_peak_at(0.5) for fit in fits if fit.interior])
    assert covered > 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials)


def test_a_plateau_that_falls_has_no_maximum_inside_the_grid():
    """The parabola's derivative is 0 well inside the grid for every seed, and the seeds agree closely."""
    plateau = np.where(np.array(GRID) <= 0.55, 0.12, 0.12 - 0.04 * np.log(np.array(GRID) / 0.55))
    success = plateau + np.random.default_rng(1).normal(0, 0.0005, (5, len(GRID)))
    x = np.log(np.array(GRID) / RANGE)
    c, b, _ = np.polyfit(x, success.T, 2)
    vertices = -b / (2 * c)
    assert (c < 0).all() and ((x[0] < vertices) & (vertices < x[3])).all() and vertices.std() < 0.05
    fit = tau_rule.fit(GRID, success, RANGE)
    assert not fit.interior and "no rise" in fit.reason
    assert fit.p_rise > 0.05 > fit.p_fall
    assert fit.region[0] == 0 and fit.may_peak_at(0.2) and not fit.may_peak_at(1.0)


def test_distances_are_those_of_isotonic_regression():
    rng = np.random.default_rng(0)
    means, runs = rng.normal(size=(20, 6)), np.array([3, 10, 10, 3, 5, 3])
    for curve, distances in zip(means, unimodal.distances(means, runs), strict=True):
        for k, distance in enumerate(distances):
            parts = ((curve[:k], runs[:k], True), (curve[k:], runs[k:], False))
            expected = sum(
                w @ (y - optimize.isotonic_regression(y, weights=w, increasing=increasing).x) ** 2
                for y, w, increasing in parts
                if len(y)
            )
            assert distance == pytest.approx(expected, abs=1e-12)


def test_missing_runs_are_least_squares_with_seeds_and_temperatures():
    success = np.random.default_rng(2).normal(size=(6, 5))
    success[[0, 2, 5, 5], [1, 3, 0, 4]] = np.nan
    layout = seed_effects.estimate(success)
    seed, tau = np.nonzero(np.isfinite(success))
    oracle = statsmodels.OLS(success[seed, tau], np.c_[np.eye(6)[seed], np.eye(5)[tau][:, 1:]]).fit()
    unit = np.eye(5)
    for index in range(1, 5):
        interval = layout.contrast(unit[index] - unit[0])
        expected = (oracle.params[5 + index], *oracle.conf_int()[5 + index], oracle.pvalues[5 + index])
        assert interval[:4] == pytest.approx(expected)


def test_a_seed_that_lacks_some_temperatures_is_used():
    success = planted(0.5, seeds=10, noise=0.01)
    success += np.linspace(0, 1, 10)[:, None]  # plain means over different seeds would be far off
    success[3:, [0, 3, 6]] = np.nan
    fit, few = tau_rule.fit(GRID, success, RANGE), tau_rule.fit(GRID, success[:3], RANGE)
    assert fit.seeds == 10 and fit.interior
    width = {name: of.half_gain.high - of.half_gain.low for name, of in (("all", fit), ("few", few))}
    assert width["all"] < width["few"]
    truth = planted(0.5, seeds=1, noise=0)[0]
    np.testing.assert_allclose(np.diff(fit.means), np.diff(truth), atol=0.02)


def test_temperatures_without_a_common_seed_are_not_compared():
    success = planted(0.5, seeds=6)
    success[:3, 3:], success[3:, :3] = np.nan, np.nan
    fit = tau_rule.fit(GRID, success, RANGE)
    assert not fit.interior and "cannot be compared" in fit.reason and math.isnan(fit.p_rise)


@pytest.mark.parametrize(("peak", "best"), [(0.02, 0.1), (20.0, 2.0)])
def test_declines_a_maximum_at_the_edge(peak, best):
    fit = tau_rule.fit(GRID, planted(peak), RANGE)
    assert not fit.interior and fit.best == best and "edge" in fit.reason
    assert math.isnan(fit.ratio) and math.isnan(fit.low) and math.isnan(fit.high)
    assert fit.lead.low > 0 and not fit.may_peak_at(0.5)
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


X7 = np.log(np.array(GRID) / RANGE)
X9 = np.log(np.array((0.05, 0.1, 0.25, 0.5, 0.55, 0.75, 1, 2, 10)) / RANGE)


def curves(x):
    """Name → success in points [M] over x, and the place of its peak; None if it has none inside the grid."""
    position = np.arange(len(x))
    shapes = {"flat": (0 * x, None), "falling line": (-x, None), "rising line": (x, None)}
    for knee in (1, len(x) // 2, len(x) - 2):
        shapes[f"plateau, fall at {knee}"] = (-1.5 * np.maximum(0, x - x[knee]), None)
        shapes[f"plateau, cliff at {knee}"] = (-4.0 * (position > knee), None)
        shapes[f"rise, plateau at {knee}"] = (1.5 * np.minimum(0, x - x[knee]), None)
    places = {"grid": x[2], "between": (x[1] + x[2]) / 2, "half": math.log(0.5), "edge": 0.75 * x[0] + 0.25 * x[1]}
    for name, peak in places.items():
        shapes[f"parabola, {name}"] = (-2 * (x - peak) ** 2, peak)
        shapes[f"tent, {name}"] = (-2.5 * np.abs(x - peak), peak)
        shapes[f"skewed, {name}"] = (np.where(x < peak, 1.5 * (x - peak), -4 * (x - peak)), peak)
    return shapes


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("x", [X7, X9], ids=["7 temperatures", "9 temperatures"])
def test_error_rates(x, seeds):
    """False maxima in at most 5 %; an interval that misses the peak in at most 5 % of experiments, and in at most 7 %
    of those with an interval; power for a peak of 2 or more points. Spread of runs: 0.8 points, and a seed's level."""
    trials = 100
    rng = np.random.default_rng(seeds)
    allowed = 4 * math.sqrt(0.05 * 0.95 / trials)
    for name, (truth, peak) in curves(x).items():
        noise = rng.normal(0, 0.8, (trials, seeds, len(x))) + rng.normal(0, 0.8, (trials, seeds, 1))
        fits = [tau_rule.fit(np.exp(x), success, 1.0) for success in truth + noise]
        shown = np.array([fit.interior for fit in fits])
        if peak is None:
            assert shown.mean() <= 0.05 + allowed, name
            continue
        missed = np.array([fit.interior and not fit.low <= math.exp(peak) * (1 + 1e-9) for fit in fits])
        missed |= np.array([fit.interior and not math.exp(peak) <= fit.high * (1 + 1e-9) for fit in fits])
        assert missed.mean() <= 0.05 + allowed, name
        if shown.sum() >= 50:
            assert missed[shown].mean() <= 0.07, name
        if name in ("parabola, half", "tent, half", "parabola, grid"):
            assert shown.mean() >= 0.8, name
