"""Rules that choose a temperature beforehand, and what they cost."""

import numpy as np
import pandas as pd
import pytest

from softmax_rewards import weighting
from softmax_rewards.verdicts import tau_choice as cost_of_choice
from softmax_rewards.verdicts.evidence import Evidence
from softmax_rewards.weighting.study import analysis, signal_noise, tau_choice
from softmax_rewards.weighting.study.populations import Population, by_right

TAUS = [2.0, 0.1, 0.5, 1.0, 0.25]


def scaled(groups: Population, factor: float) -> Population:
    return Population(factor * groups.rewards, groups.correct, groups.counts)


def test_half_the_range_is_the_nearest_in_ratio():
    groups = by_right(0.1, 8)
    assert tau_choice.half_the_range("softmax", TAUS, groups, 1.0) == 0.5
    assert tau_choice.half_the_range("softmax", TAUS, groups, 1.5) == 1.0  # 0.75 is 3/2 of 0.5, 3/4 of 1.0
    assert tau_choice.lowest("softmax", TAUS, groups, 1.0) == 0.1


def test_effective_n_of_linear_by_hand():
    """One right answer of eight: the z-score's weights are 7 : −1 … −1, so N = 14²/56 = 3.5."""
    one = Population(np.array([[1.0] + 7 * [0.0]]), np.array([[True] + 7 * [False]]), np.ones(1))
    equal = Population(np.ones((1, 8)), np.ones((1, 8), bool), np.ones(1))
    both = Population(*(np.concatenate(parts) for parts in zip(vars(one).values(), vars(equal).values(), strict=True)))

    def effective_n(tau):
        w = weighting.compute("softmax", one.rewards, one.correct, tau=tau)[0]
        return w.sum() ** 2 / np.sum(w**2)

    best = min(TAUS, key=lambda tau: abs(np.log(effective_n(tau) / 3.5)))
    assert tau_choice.effective_n_of_linear("softmax", TAUS, both, 1.0) == best == 0.5


@pytest.mark.parametrize("scheme", ["softmax", "softmax_centered"])
@pytest.mark.parametrize("success", [0.02, 0.3])
def test_signal_to_noise_is_the_best_of_the_weight_analysis(scheme, success):
    def ratio(tau):
        signal, noise = signal_noise.at_success(scheme, {"tau": tau}, success, 8)
        return signal / noise

    found = tau_choice.signal_to_noise(scheme, analysis.TAUS, by_right(success, 8), 1.0)
    assert ratio(found) == pytest.approx(max(map(ratio, analysis.TAUS)), rel=1e-6)


def test_no_effective_n_is_like_linears_where_all_are():
    """Two-valued rewards give every scheme with mean 0 the same."""
    assert tau_choice.effective_n_of_linear("softmax_centered", TAUS, by_right(0.1, 8), 1.0) is None


@pytest.mark.parametrize("rule", tau_choice.RULES.values())
def test_rewards_and_temperatures_scaled_alike_change_no_choice(rule):
    for scheme in ("softmax", "softmax_centered"):
        chosen = rule(scheme, TAUS, by_right(0.1, 8), 1.0)
        scaled_alike = rule(scheme, [4 * tau for tau in TAUS], scaled(by_right(0.1, 8), 4.0), 4.0)
        assert scaled_alike == (None if chosen is None else 4 * chosen)


def test_what_a_choice_costs():
    """Success falls by 1 point a τ of the grid, so that half the range, the fourth of five, loses 3."""
    taus = [0.1, 0.2, 0.3, 0.5, 1.0]
    ablations = {f"softmax-{tau}": tau for tau in taus}
    rows = {
        (ablation, seed): {"auc": 0.2 - 0.01 * place + 0.001 * seed * (place == 3)}
        for place, ablation in enumerate(ablations)
        for seed in range(3)
    }
    measures = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["ablation", "seed"])
    sweep = pd.DataFrame({"scheme": "softmax", "ablation": list(ablations), "tau": taus, "endpoint": "auc"})
    evidence = Evidence(measures, {}, "baseline")
    table = cost_of_choice.table(evidence, sweep, by_right(0.1, 8), 1.0).set_index("rule")
    assert (table["best"] == 0.1).all()
    half, lowest = table.loc["half the range"], table.loc["lowest tried"]
    assert half["tau"] == 0.5
    assert half["regret"] == pytest.approx(0.029)
    assert half["low"] < 0.029 < half["high"]
    assert (lowest["regret"], lowest["low"]) == (0, 0)
    assert lowest["high"] == 0  # every other τ is worse in every seed
    nothing = cost_of_choice.table(evidence, sweep.iloc[:0], by_right(0.1, 8), 1.0)
    assert list(nothing) == cost_of_choice.COLUMNS


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_limits_hold_although_the_best_is_chosen(seeds):
    """A true loss of 0.3 is inside in 95 of 100 experiments at least, those included in which the choice looks best."""
    rng = np.random.default_rng(0)
    taus, truth = [0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0], np.array([0.3, 0.2, 0.1, 0.0, 0.1, 0.2, 0.3])
    sweep = pd.DataFrame({"scheme": "softmax", "ablation": [f"a{tau}" for tau in taus], "tau": taus, "endpoint": "auc"})
    held = 0
    for _ in range(200):
        success = truth + 0.2 * rng.normal(size=(seeds, len(taus)))
        index = pd.MultiIndex.from_product([range(seeds), sweep["ablation"]], names=["seed", "ablation"])
        measures = pd.DataFrame({"auc": success.ravel()}, index=index).swaplevel()
        table = cost_of_choice.table(Evidence(measures, {}, "b"), sweep, by_right(0.1, 8), 1.0).set_index("rule")
        row = table.loc["half the range"]
        held += row["low"] <= 0.3 <= row["high"]
    assert held >= 185


def test_a_planted_share_of_the_range_is_found_by_the_fitted_rules():
    """Success peaks at a fifth of the range whatever base and N; the fits see it in the other cells."""
    grid = [0.1, 0.2, 0.4, 0.5, 1.0]
    cells = [(span, base, size) for span in (1.0, 2.0) for base in (0.02, 0.1, 0.3) for size in (4, 8)]
    swept = pd.DataFrame(
        [
            ("adam", "softmax", *cell, ratio * cell[0], seed, 0.5 - 0.1 * abs(np.log(ratio / 0.2)))
            for cell in cells
            for ratio in grid
            for seed in range(2)
        ],
        columns=["optimizer", "scheme", "range", "base", "group_size", "tau", "seed", "success"],
    )
    table = tau_choice.over_cells(swept).set_index("rule")
    for rule in tau_choice.FITTED:
        assert table.loc[rule, "regret"] == pytest.approx(0, abs=1e-12)
        assert table.loc[rule, "best"] == 1
    assert table.loc["half the range", "regret"] == pytest.approx(0.1 * np.log(0.5 / 0.2))
    assert table.loc["lowest tried", "regret"] == pytest.approx(0.1 * np.log(2))
    assert table["spread"].tolist() == pytest.approx([0.1 * np.log(5)] * len(table))


def test_a_planted_power_of_the_success_rate_is_found_by_its_fit_only():
    bases = (0.005, 0.02, 0.08, 0.32)
    grid = [0.05 * 4**power for power in range(4)]
    swept = pd.DataFrame(
        [
            ("adam", "softmax", 1.0, base, size, tau, seed, 0.5 - 0.1 * abs(np.log(tau / grid[place])))
            for place, base in enumerate(bases)
            for size in (4, 8)
            for tau in grid
            for seed in range(2)
        ],
        columns=["optimizer", "scheme", "range", "base", "group_size", "tau", "seed", "success"],
    )
    table = tau_choice.over_cells(swept).set_index("rule")
    assert table.loc["fitted to the success rate", "regret"] == pytest.approx(0, abs=1e-12)
    assert table.loc["fitted share of the range", "regret"] > 0.05
    assert table.loc["fitted to N", "regret"] > 0.05


def test_without_a_difference_no_rule_loses_anything():
    """Noise alone: the best of many τ looks better than it is, unless it is measured on other runs."""
    rng = np.random.default_rng(0)
    grid = [0.1, 0.2, 0.4, 0.5, 1.0]
    cells = [(base, size) for base in (0.01, 0.02, 0.1, 0.3) for size in (2, 4, 8, 16, 32)]
    swept = pd.DataFrame(
        [
            ("adam", "softmax", 1.0, *cell, tau, seed, rng.normal())
            for cell in cells
            for tau in grid
            for seed in range(10)
        ],
        columns=["optimizer", "scheme", "range", "base", "group_size", "tau", "seed", "success"],
    )
    table = tau_choice.over_cells(swept).set_index("rule")
    # 40 differences of means over 5 seeds have a mean with a standard error of 0.1; measured where found, it is 0.5.
    assert abs(table.loc["half the range", "regret"]) < 0.3
