"""The exchange rate X and the map: stated figures, a simulation, identities, schemes that couple groups."""

import math

import numpy as np
import pytest

from softmax_rewards import weighting
from softmax_rewards.weighting.study import log_map, populations, scheme_map, signal_noise
from softmax_rewards.weighting.study.exchange_rate import ExpectedWeights, exchange_rate, expected_weights

POINTS = ((0.02, 0.5), (0.08, 0.98), (0.3, 0.7))  # success, share of well-formed answers
CENTERED = {
    0.25: (0.054, 0.038, 0.018),
    0.5: (0.053, 0.048, 0.040),
    1.0: (0.068, 0.067, 0.065),
    2.0: (0.082, 0.082, 0.081),
}
# Computed elsewhere, before this module was written: scheme, hyperparameters, X at POINTS, digits.
STATED = [
    ("linear", {}, (0.955, 0.653, 0.179), 3),
    ("rloo", {}, (0.1, 0.1, 0.1), 3),
    ("dr_grpo", {}, (0.1, 0.1, 0.1), 3),
    *((scheme, {"tau": tau}, x, 3) for scheme in ("softmax", "softmax_centered") for tau, x in CENTERED.items()),
    ("maxrl", {}, (0, 0, 0), 3),
    ("passk", {}, (0, 0, 0), 3),
    ("normal_scores", {}, (1.30, 1.01, 1.00), 2),
    ("normal_scores_softmax", {"temperature": 0.5}, (0.42, 0.15, 0.18), 2),
    ("softmax_z", {"temperature": 0.5}, (0.30, 0.11, 0.05), 2),
]


@pytest.mark.parametrize(("scheme", "chosen", "stated", "digits"), STATED)
def test_the_stated_figures(scheme, chosen, stated, digits):
    found = [round(exchange_rate(scheme, chosen, *point), digits) for point in POINTS]
    assert found == pytest.approx(list(stated), abs=1e-9)


def test_stated_bounds_and_the_size_of_the_group():
    assert all(0 < exchange_rate("group_soft", {}, *point) <= 0.01 for point in POINTS)
    found = [round(exchange_rate("linear", {}, 0.08, 0.98, size), 2) for size in (8, 16, 32)]
    assert found == [0.65, 0.42, 0.21]


@pytest.mark.parametrize("scheme", ["linear", "softmax_ess", "shrunk", "batch_std"])
def test_against_a_simulation_answer_by_answer(scheme, point=(0.3, 0.7)):
    """No compositions and no expectations here: 20,000 drawn groups in one batch, and plain means over answers."""
    success, well_formed = point
    kinds = np.random.default_rng(0).choice(3, (20_000, 8), p=[success, well_formed - success, 1 - well_formed])
    w = weighting.compute(scheme, np.array([1.1, 0.1, 0.0])[kinds], kinds == 0)
    right, formed, unformatted = (w[kinds == kind].mean() for kind in range(3))
    assert exchange_rate(scheme, {}, *point) == pytest.approx((formed - unformatted) / (right - formed), abs=0.02)
    rho = np.mean(w * ((kinds == 0) - success)) / np.sqrt(np.mean(w**2))
    assert scheme_map.figures(scheme, {}, *point).rho == pytest.approx(rho, abs=0.005)


def test_x_follows_the_rewards_for_schemes_linear_in_them():
    assert exchange_rate("dr_grpo", {}, 0.1, 0.6, reward_range=(-3.0, 8.0)) == pytest.approx(0.1)
    assert exchange_rate("shrunk", {}, 0.1, 0.6) == pytest.approx(0.1, rel=0.01)


def test_no_contrast_is_no_rate():
    assert math.isnan(exchange_rate("uniform", {}, 0.1, 0.6))
    assert ExpectedWeights(2.0, 1.0, 1.0 - 1e-15).exchange_rate == 0
    groups = populations.independent(0.1, 1.0, 4)
    assert math.isnan(expected_weights(groups.rewards, groups).unformatted)


@pytest.mark.parametrize("wrong", [(-0.1, 0.5), (0.6, 0.5), (0.1, 1.1)])
def test_impossible_populations_are_named(wrong):
    with pytest.raises(ValueError, match=f"success {wrong[0]}, well_formed {wrong[1]}; allowed: 0 <= success"):
        exchange_rate("linear", {}, *wrong)


# ---- the map ------------------------------------------------------------------------------------


def test_tilt_of_known_schemes():
    """With rewards 0 and 1, g(k) is 1 for dr_grpo, 1/p^q for power and 1/sigma for the z-score."""
    groups = populations.by_right(0.3, 8)

    def tilt(scheme, **chosen):
        return log_map.tilt(populations.weigh(groups, scheme, chosen), groups)

    assert tilt("dr_grpo") == pytest.approx(1) and tilt("raft") == pytest.approx(1)
    assert tilt("maxrl") == pytest.approx(4) and tilt("power", q=0.5) == pytest.approx(2)
    assert tilt("linear") == pytest.approx(math.sqrt(0.25 / (7 / 64)), rel=1e-3)
    assert tilt("passk") > tilt("maxrl")  # hard prompts count most
    assert math.isnan(tilt("uniform")) and math.isnan(tilt("group_soft"))


def test_rho_without_format_is_that_of_the_success_rate():
    for scheme, chosen in (("linear", {}), ("softmax", {"tau": 0.5}), ("maxrl", {})):
        groups = populations.independent(0.09, 0.09, 8, (0.0, 1.0))
        signal, noise = signal_noise.exact(populations.weigh(groups, scheme, chosen), groups, 0.09)
        assert (signal, noise) == pytest.approx(signal_noise.at_success(scheme, chosen, 0.09, 8))


def test_the_map_has_every_scheme_at_every_point(monkeypatch):
    assert {scheme for scheme, _ in scheme_map.map_settings()} == set(weighting.names()) and scheme_map.POINTS == POINTS
    shown = [setting for setting in scheme_map.map_settings() if not weighting.couples_groups(setting[0])]
    monkeypatch.setattr(scheme_map, "map_settings", lambda: shown)
    table = scheme_map.table()
    assert (table.groupby(["scheme", "setting"]).size() == len(POINTS)).all()
    bound = np.sqrt(table["success"] * (1 - table["success"]))
    assert (table["rho"] <= bound).all() and table["rho"].notna().all()


# ---- schemes that couple groups -----------------------------------------------------------------


def test_a_small_batch_is_weighted_as_it_is():
    groups = populations.composed([1, 2, 0], [1, 0, 2], 4, (0.0, 1.1), np.array([2, 1, 3]))
    rows = [0, 0, 1, 2, 2, 2]
    whole = weighting.compute("shrunk", groups.rewards[rows], groups.correct[rows])
    assert populations.weigh(groups, "shrunk", {}) == pytest.approx(whole[[0, 2, 3]], rel=1e-12)


def test_rare_groups_do_not_change_the_estimates():
    """All prompts are alike here, so every group's baseline is the mean reward, however odd the group."""
    groups = populations.by_right(0.05, 8)
    w = populations.weigh(groups, "shrunk", {})
    assert w[:6] == pytest.approx(groups.rewards[:6] - 0.05, abs=0.01)
