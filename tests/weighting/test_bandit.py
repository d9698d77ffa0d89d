"""The bandit against enumeration of whole sequences, exact objectives, the trainer's loss and torch's Adam."""

import itertools
from math import comb

import numpy as np
import pandas as pd
import pytest
import torch
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_rewards import weighting
from softmax_rewards.policy.objective import policy_loss, sample_scales, token_log_probs
from softmax_rewards.weighting.study import analysis, bandit, signal_noise
from softmax_rewards.weighting.study import bandit_training as training

RANGE = (0.0, 1.1)
REWARDS = np.array([1.1, 0.1, 0.0])  # of the kinds of arms
UNEVEN = bandit.Bandit(np.array([0.1, 0.25, 0.05, 0.6]), np.array([0, 1, 2, 2]), RANGE)
TWO_VALUED = bandit.Bandit(np.array([0.1, 0.25, 0.05, 0.6]), np.array([0, 2, 2, 2]), RANGE)
SETTINGS = analysis.settings(3, taus=(0.25, 1.0))


def named(setting):
    return " ".join(map(str, (setting[0], *setting[1].values())))


def weigh(setting, problem, group):
    """Weights of one group of arms, in the order of its pulls, straight from the scheme."""
    scheme, chosen = setting
    kinds = problem.kinds[list(group)][None]
    return weighting.compute(scheme, REWARDS[kinds], kinds == 0, **chosen)[0]


def gradient(problem, group, w):
    """The mean over the pulls of w ∇log π, in the logits."""
    scores = np.eye(len(problem.policy))[list(group)] - problem.policy
    return w @ scores / len(group)


def enumerated(problem, size, setting):
    """Mean and covariance of a group's gradient over all K^N sequences of pulls."""
    groups = list(itertools.product(range(len(problem.policy)), repeat=size))
    chances = np.array([problem.policy[list(group)].prod() for group in groups])
    found = np.array([gradient(problem, group, weigh(setting, problem, group)) for group in groups])
    mean = chances @ found
    return mean, (found - mean).T @ ((found - mean) * chances[:, None])


def mean_of(problem, scheme, size, **chosen):
    return bandit.exact(problem, bandit.table(scheme, chosen, size, RANGE))[0]


def along_success(problem, slope):
    """Gradient in the logits of an objective of success p whose derivative in p is `slope`."""
    p = problem.policy[0]
    return slope * p * (np.eye(len(problem.policy))[0] - problem.policy)


# ---- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [UNEVEN, TWO_VALUED], ids=["partial reward", "two-valued"])
@pytest.mark.parametrize("setting", SETTINGS, ids=named)
def test_mean_and_covariance_are_those_of_all_sequences(problem, setting):
    scheme, chosen = setting
    mean, covariance = bandit.exact(problem, bandit.table(scheme, chosen, 3, RANGE))
    expected = enumerated(problem, 3, setting)
    np.testing.assert_allclose(mean, expected[0], atol=1e-14)
    np.testing.assert_allclose(covariance, expected[1], atol=1e-13)


@pytest.mark.parametrize("size", [2, 3, 8, 64])
def test_expected_gradients_are_those_of_the_exact_objectives(size):
    reward = UNEVEN.policy * (REWARDS[UNEVEN.kinds] - UNEVEN.policy @ REWARDS[UNEVEN.kinds])
    np.testing.assert_allclose(mean_of(UNEVEN, "rloo", size), reward, atol=1e-12)
    # Its mean includes the sample itself.
    np.testing.assert_allclose(mean_of(UNEVEN, "dr_grpo", size), (size - 1) / size * reward, atol=1e-12)
    np.testing.assert_allclose(mean_of(UNEVEN, "raft", size), along_success(UNEVEN, 1.0), atol=1e-12)
    # log p cut after N - 1 terms, -Σ (1-p)^k/k: groups without a right pull have no weight.
    p = UNEVEN.policy[0]
    cut = sum((1 - p) ** (k - 1) for k in range(1, size))
    np.testing.assert_allclose(mean_of(UNEVEN, "maxrl", size), along_success(UNEVEN, cut), atol=1e-12)
    np.testing.assert_allclose(mean_of(TWO_VALUED, "best_of_n", size), along_success(TWO_VALUED, cut), atol=1e-12)


def test_linear_is_dr_grpo_divided_by_the_groups_deviation():
    p, size = TWO_VALUED.policy[0], 8
    slope = 0.0
    for right in range(1, size):
        rate = right / size
        contrast = 1.1 / (1.1 * np.sqrt(rate * (1 - rate)) + 1e-4)
        chance = comb(size, right) * p**right * (1 - p) ** (size - right)
        # E[Σ w (c - p)]/N = contrast · K(N-K)/N², and p (1-p) · slope is its mean.
        slope += chance * contrast * rate * (1 - rate) / (p * (1 - p))
    np.testing.assert_allclose(mean_of(TWO_VALUED, "linear", size), along_success(TWO_VALUED, slope), atol=1e-12)


@pytest.mark.parametrize("size", [2, 8, 32])
@pytest.mark.parametrize(
    ("with_constant", "without", "chosen"),
    [
        ("linear_plus_one", "linear", {}),
        ("softmax", "softmax_centered", {"tau": 0.5}),
        ("softmax", "softmax_centered", {"tau": 2.0}),
    ],
)
def test_the_constant_adds_variance_and_no_expected_gradient(with_constant, without, chosen, size):
    mean, covariance = bandit.exact(UNEVEN, bandit.table(with_constant, chosen, size, RANGE))
    expected, smaller = bandit.exact(UNEVEN, bandit.table(without, chosen, size, RANGE))
    np.testing.assert_allclose(mean, expected, atol=1e-13)
    assert np.trace(covariance) > np.trace(smaller)
    np.testing.assert_allclose(mean_of(UNEVEN, "uniform", size), 0, atol=1e-14)


def test_with_two_values_every_mean_zero_scheme_is_g_of_k_times_the_deviation():
    found = set()
    for scheme, chosen in analysis.settings(8):
        right, wrong = bandit.table(scheme, chosen, 8, RANGE).weights[:, 0, [0, 2]].T
        k = np.arange(1, 8)
        right, wrong = right[1:8], wrong[1:8]
        if np.allclose(right * k + wrong * (8 - k), 0):
            g = (right - wrong) / 1.1
            np.testing.assert_allclose(right, g * 1.1 * (1 - k / 8), atol=1e-12)
            np.testing.assert_allclose(wrong, g * 1.1 * (0 - k / 8), atol=1e-12)
            found.add(scheme)
    # One group at a time, `shrunk` is `rloo`.
    others = {"power", "softmax_ess", "batch_std", "shrunk"}
    assert found >= {"linear", "softmax_centered", "softmax_scaled", "dr_grpo", "rloo", "maxrl", "passk"} | others


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.sampled_from(analysis.settings(6)), st.floats(0.01, 0.99), st.integers(2, 12))
def test_with_two_values_every_expected_gradient_lies_along_that_of_success(setting, success, arms):
    problem = bandit.bandit(success, 0.0, RANGE, arms)
    mean, _ = bandit.exact(problem, bandit.table(*setting, 6, RANGE))
    np.testing.assert_allclose(mean, mean @ problem.direction * problem.direction, atol=1e-12)


def test_maxrl_is_the_limit_of_the_centered_softmax_for_two_values():
    sharp = bandit.table("softmax_centered", {"tau": 1e-3}, 8, RANGE)
    maxrl = bandit.table("maxrl", {}, 8, RANGE)
    np.testing.assert_allclose(sharp.weights[:, 0, [0, 2]], maxrl.weights[:, 0, [0, 2]], atol=1e-12)
    for one, other in zip(bandit.exact(TWO_VALUED, sharp), bandit.exact(TWO_VALUED, maxrl), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)


@pytest.mark.parametrize("setting", [("linear", {}), ("softmax", {"tau": 0.5}), ("rloo", {})], ids=named)
def test_the_trainers_loss_gives_the_bandits_exact_gradient(setting):
    """A toy language model whose answers are one token is a bandit; the loss is the project's own."""
    scheme, chosen = setting
    model, size = toy.decoder(), 3
    parameters = list(model.parameters())

    def log_probs(rows):
        lengths = [1] * len(rows)
        ((read, batch),) = toy.batched(model, [toy.PROMPT], torch.tensor(rows)[:, None], lengths, range(len(rows)), 99)
        return token_log_probs(model, read, batch)[0], batch.samples

    def flat(parts):
        return torch.cat([part.flatten() for part in parts]).double().numpy()

    arms, _ = log_probs(range(toy.TOKENS))
    policy = arms.detach().double().exp().numpy()
    problem = bandit.Bandit(policy, np.array([0, 1, 2]), RANGE)
    scales = sample_scales(np.ones(size, dtype=int), np.ones(size, dtype=bool), "token-mean", 1)
    total = 0.0
    for group in itertools.product(range(toy.TOKENS), repeat=size):
        values, samples = log_probs(group)
        factors = torch.tensor(scales * weigh(setting, problem, group), dtype=torch.float32)
        loss = policy_loss(values, values.detach(), factors[samples], None)
        total = total - policy[list(group)].prod() * flat(torch.autograd.grad(loss, parameters))
    # The gradient in the logits sums to 0, so that through log π it is the same.
    mean = torch.tensor(mean_of(problem, scheme, size, **chosen))
    expected = flat(torch.autograd.grad((mean * arms).sum(), parameters))
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(total, expected, atol=1e-6)


# ---- samples -------------------------------------------------------------------------------------


@pytest.mark.parametrize("formed", [0.0, 0.5])
def test_sampled_figures_agree_with_exact_ones_within_their_errors(formed):
    tables = [bandit.table(scheme, chosen, 8, RANGE) for scheme, chosen in analysis.settings(8)]
    table = bandit.signals(tables, RANGE, (formed,), seed=3)
    for name in ("signal", "noise", "snr"):
        z = (table[f"{name}_sampled"] - table[name]) / table[f"{name}_error"]
        assert z.abs().max() < 5, name
    assert table["predicted"].isna().all() == (formed > 0)
    assert set(table["scheme"]) == set(weighting.names())


def test_standard_errors_are_the_spread_of_repeated_samples():
    of, rng = bandit.table("softmax", {"tau": 0.5}, 8, RANGE), np.random.default_rng(0)
    draws = [bandit.sampled(UNEVEN, of, rng.multinomial(8, UNEVEN.policy, size=500)) for _ in range(300)]
    spread = np.std([estimate for estimate, _ in draws], axis=0)
    np.testing.assert_allclose(np.mean([error for _, error in draws], axis=0), spread, rtol=0.15)


def test_gradients_of_pulls_are_those_of_the_groups():
    rng = np.random.default_rng(1)
    groups = rng.integers(4, size=(20, 3))
    pulls = np.array([np.bincount(group, minlength=4) for group in groups])
    for setting in SETTINGS:
        found = bandit.gradients(UNEVEN, bandit.table(*setting, 3, RANGE), pulls)
        expected = [gradient(UNEVEN, group, weigh(setting, UNEVEN, group)) for group in groups]
        np.testing.assert_allclose(found, expected, atol=1e-14)


def test_many_arms_have_the_signal_to_noise_that_is_predicted_without_a_policy():
    """Scores then have nearly equal lengths, which is what that prediction supposes."""
    problem = bandit.bandit(0.01, 0.0, RANGE, arms=300)
    for scheme, chosen in analysis.settings(8, taus=(0.55,)):
        unit = {name: value / 1.1 if name == "tau" else value for name, value in chosen.items()}
        if not weighting.couples_groups(scheme):  # here it is shown one group at a time
            signal, noise = signal_noise.at_success(scheme, unit, 0.01, 8)
            found = bandit.figures(problem, bandit.table(scheme, chosen, 8, RANGE)).snr
            # The prediction's noise is a second moment, around 0 instead of the mean.
            around_zero = found / np.sqrt(1 + 8 * found**2)
            assert around_zero == pytest.approx(signal / noise, rel=0.04, abs=1e-12), scheme


def test_the_policy_and_its_kinds_of_arms():
    problem = bandit.bandit(0.1, 0.5, RANGE, arms=10)
    assert problem.policy.sum() == pytest.approx(1)
    assert problem.policy[0] == 0.1
    assert problem.kinds.tolist() == [0] + [1] * 4 + [2] * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.0, RANGE), "success 0.0"),
        ((0.1, 1.5, RANGE), "formed 1.5"),
        ((0.1, 0.0, RANGE, 1), "arms 1"),
        ((0.1, 0.0, (1.0, 1.0)), r"reward_range: \(1\.0, 1\.0\)"),
    ],
)
def test_wrong_bandits_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        bandit.bandit(*arguments)


# ---- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", training.RATES)
@pytest.mark.parametrize("setting", [("softmax", {"tau": 0.25}), ("linear", {})], ids=named)
def test_training_is_what_torchs_optimizers_do_with_the_gradients(optimizer, setting):
    problem, steps = bandit.bandit(0.2, 0.5, RANGE, arms=5), 30
    found = training.train(problem, [bandit.table(*setting, 4, RANGE)], optimizer, steps, 1, np.random.default_rng(5))

    logits = torch.tensor(np.log(problem.policy), requires_grad=True)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    taking = kind([logits], lr=training.RATES[optimizer], maximize=True)
    rng, expected = np.random.default_rng(5), []
    for _ in range(steps + 1):
        policy = torch.softmax(logits.detach(), 0).numpy()
        expected.append(policy[0])
        group = np.repeat(np.arange(5), rng.multinomial(4, policy))
        now = bandit.Bandit(policy, problem.kinds, RANGE)
        logits.grad = torch.tensor(gradient(now, group, weigh(setting, problem, group)))
        taking.step()
    assert found.shape == (steps + 1, 1, 1)
    np.testing.assert_allclose(found[:, 0, 0], expected, rtol=1e-6)


def test_runs_do_not_depend_on_their_neighbors_but_for_the_noise():
    """The constant alone learns nothing: over many runs its success stays what it was."""
    tables = [bandit.table(scheme, {}, 4, RANGE) for scheme in ("uniform", "rloo")]
    problem = bandit.bandit(0.3, 0.0, RANGE)
    found = training.train(problem, tables, "sgd", 20, 2000, np.random.default_rng(0))
    uniform, rloo = found[-1].mean(axis=-1) - 0.3
    error = found[-1, 0].std() / np.sqrt(2000)
    assert abs(uniform) < 4 * error < rloo


def test_another_optimizer_is_named():
    with pytest.raises(ValueError, match="optimizer 'rmsprop'; allowed: sgd, adam"):
        training.train(UNEVEN, [bandit.table("linear", {}, 2, RANGE)], "rmsprop", 1, 1, np.random.default_rng(0))


# ---- tables --------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(training, "SIZES", (2, 4))
    monkeypatch.setattr(training, "BASES", (0.1, 0.3))
    for name, value in {"STEPS": 20, "SEEDS": 3}.items():
        monkeypatch.setattr(training, f"FACTORIAL_{name}", value)
    for name, value in {"SUCCESS": 0.1, "STEPS": 20, "SEEDS": 3, "EVERY": 10}.items():
        monkeypatch.setattr(training, f"CURVE_{name}", value)
    monkeypatch.setattr(bandit, "SAMPLED", 100)


NAMES = {f"bandit_{name}.csv" for name in ("signal", "curves", "means", "temperature", "optimum", "rule", "choice")}


def test_equal_arguments_give_equal_bytes(small, tmp_path):
    folders = tmp_path / "one", tmp_path / "other"
    for folder in folders:
        training.write(folder, RANGE, 4, 0)
    one, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert one == other
    assert set(one) == NAMES
    for name in ("signal", "curves", "means"):
        assert set(pd.read_csv(folders[0] / f"bandit_{name}.csv")["scheme"]) == set(weighting.names())


def test_the_factorial_has_every_cell_once_and_equal_ratios_share_their_runs(small):
    swept = training.factorial(0)
    keys = [*training.CELL, "tau", "seed"]
    cells = len(training.RATES) * len(training.SWEPT) * len(training.RANGES) * 2 * 2
    assert len(swept) == len(swept[keys].drop_duplicates()) == cells * len(analysis.TAUS) * 3
    runs = swept.groupby(["optimizer", "scheme", "base", "group_size", "ratio", "seed"])["success"]
    assert (runs.nunique() == 1).all()
    assert (swept["ratio"] == 0.5).sum() == cells * 3  # range/2 is in the grid of every range
    assert len(training.optima(swept)) == cells


def swept(peak, span=1.0, sharp=0.05, seeds=5):
    """A factorial of one cell whose success is a parabola of log(τ/range) with its maximum at `peak`."""
    rng = np.random.default_rng(0)
    tau, seed = (x.ravel() for x in np.meshgrid(analysis.TAUS, np.arange(seeds)))
    success = 0.5 - sharp * np.log(tau / span / peak) ** 2 + 1e-3 * rng.normal(size=len(tau))
    cell = {"optimizer": "adam", "scheme": "softmax", "range": span, "base": 0.1, "group_size": 8}
    return pd.DataFrame(cell | {"tau": tau, "ratio": tau / span, "seed": seed, "success": success})


def test_optima_finds_the_peak_and_tells_half_the_range_from_others():
    (half,) = training.optima(swept(0.5)).to_dict("records")
    assert half["is_half"] and half["interior"]
    assert half["peak_low"] < 0.5 < half["peak_high"]
    (other,) = training.optima(swept(0.25)).to_dict("records")
    assert not other["is_half"] and other["best"] == 0.25
    assert other["peak"] == pytest.approx(0.25, rel=0.02)
    assert other["lead_low"] > 0
    (edge,) = training.optima(swept(0.02)).to_dict("records")
    assert not edge["interior"] and "edge" in edge["reason"]
    (wide,) = training.optima(swept(0.5, span=2.0)).to_dict("records")
    assert wide["is_half"] and wide["best"] == 1.0


def test_rule_counts_cells():
    peaks = pd.concat([training.optima(swept(peak)) for peak in (0.5, 0.25, 0.02)])
    (row,) = training.rule(peaks).to_dict("records")
    assert row == {
        "optimizer": "adam",
        "scheme": "softmax",
        "cells": 3,
        "is_half": 1,
        "beaten": 2,
        "at_edge": 1,
        "interior": 2,
        "holds_half": 1,
    }
