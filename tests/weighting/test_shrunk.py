"""The scheme `shrunk`: its formula in exact fractions, no bias by full enumeration, groups of several sizes."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as configure
from hypothesis import strategies as st

from softmax_rewards import weighting
from softmax_rewards.weighting.schemes import batch_std, shrunk

seldom = configure(deadline=None, derandomize=True, max_examples=40)


def weights(rewards, correct=None, **chosen):
    rewards = np.asarray(rewards, dtype=float)
    return weighting.compute("shrunk", rewards, rewards >= 1 if correct is None else correct, **chosen)


# ---- the formula, in fractions ------------------------------------------------------------------


def mean(values):
    return sum(values) / Fraction(len(values))


def exact_lambda(others, size):
    """Credibility of `size` - 1 samples, from the other groups (Bühlmann and Straub)."""
    if len(others) < 2:
        return Fraction(1)
    means, number = [mean(group) for group in others], sum(map(len, others))
    overall = mean([value for group in others for value in group])
    spread = sum(len(group) * (m - overall) ** 2 for group, m in zip(others, means, strict=True))
    if spread == 0:
        return Fraction(1)
    squares = sum((value - m) ** 2 for group, m in zip(others, means, strict=True) for value in group)
    within = squares / (number - len(others))
    degrees = number - Fraction(sum(len(group) ** 2 for group in others), number)
    between = max(Fraction(0), (spread - (len(others) - 1) * within) / degrees)
    return (size - 1) * between / ((size - 1) * between + within) if between else Fraction(0)


def exact_baselines(groups):
    """b_i of every sample; also p_i, if the values are verdicts."""
    baselines = []
    for q, group in enumerate(groups):
        others = groups[:q] + groups[q + 1 :]
        own = exact_lambda(others, len(group))
        elsewhere = mean([value for other in others for value in other]) if others else Fraction(0)
        baselines.append([own * mean(group[:i] + group[i + 1 :]) + (1 - own) * elsewhere for i in range(len(group))])
    return baselines


def exact_weights(rewards, alpha):
    correct = [[Fraction(int(reward >= 1)) for reward in group] for group in rewards]
    success = [[max(p, Fraction(1, 1000)) for p in group] for group in exact_baselines(correct)]
    return [
        [float((r - b) / p**alpha) for r, b, p in zip(*group, strict=True)]
        for group in zip(rewards, exact_baselines(rewards), success, strict=True)
    ]


LEVELS = (Fraction(0), Fraction(1, 8), Fraction(9, 8))  # exact as floats too


@pytest.mark.parametrize("alpha", [0, 1])
@seldom
@given(data=st.data())
def test_against_fractions(alpha, data):
    samples = data.draw(st.integers(2, 5))
    group = st.lists(st.sampled_from(LEVELS), min_size=samples, max_size=samples)
    groups = data.draw(st.lists(group, min_size=1, max_size=6))
    found = weights([[float(r) for r in row] for row in groups], alpha=alpha)
    assert found == pytest.approx(np.array(exact_weights(groups, alpha)), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("alpha", [0, 1])
@seldom
@given(data=st.data())
def test_groups_of_several_sizes_count_by_their_size(alpha, data):
    groups = data.draw(st.lists(st.lists(st.sampled_from(LEVELS), min_size=2, max_size=5), min_size=1, max_size=6))
    flat = np.array([float(r) for group in groups for r in group])
    sizes = np.array([len(group) for group in groups])
    found = weighting.compute_unequal("shrunk", flat, flat >= 1, sizes, alpha=alpha)
    exact = [w for group in exact_weights(groups, alpha) for w in group]
    assert found == pytest.approx(exact, rel=1e-10, abs=1e-12)


# ---- limits -------------------------------------------------------------------------------------


@seldom
@given(data=st.data())
def test_with_lambda_1_it_is_rloo(data):
    row = st.lists(st.sampled_from((0.0, 0.1, 1.1)), min_size=6, max_size=6)
    few = np.array(data.draw(st.lists(row, min_size=1, max_size=2)))
    assert weights(few) == pytest.approx(weighting.compute("rloo", few, few >= 1), abs=1e-14)
    # Groups without noise but of different means: all credibility is the group's own.
    group = np.array([data.draw(row)])
    constant = np.repeat([[0.0], [0.1], [1.1], [1.1]], 6, axis=1)
    mixed = np.concatenate([group, constant])
    assert weights(mixed)[0] == pytest.approx(weighting.compute("rloo", group, group >= 1)[0], abs=1e-12)


def test_lambda_is_1_if_the_other_groups_do_not_differ():
    rewards = np.array([[1.1, 0, 0, 0], [0.1] * 4, [0.1] * 4, [0.1] * 4])
    assert weights(rewards)[0] == pytest.approx(weighting.compute("rloo", rewards, rewards >= 1)[0], abs=1e-14)
    # Equal means but noise within the groups: no difference either. The order within a group rounds its mean.
    rewards[1:] = [[0.1, 0.2, 0.3, 0.7], [0.7, 0.3, 0.1, 0.2], [0.2, 0.7, 0.1, 0.3]]
    assert weights(rewards)[0] == pytest.approx(weighting.compute("rloo", rewards, rewards >= 1)[0], abs=1e-14)


def test_groups_that_differ_by_chance_only_share_one_baseline():
    rng = np.random.default_rng(0)
    rewards = (rng.random((4000, 8)) < 0.2).astype(float)
    assert weights(rewards) == pytest.approx(rewards - 0.2, abs=0.02)


def test_an_all_wrong_group_is_pushed_away():
    rewards = np.array([[0.0] * 4, [1.1, 0, 0, 0], [1.1, 1.1, 0, 0], [0.0] * 4])
    assert (weights(rewards)[0] < 0).all()


def test_clipping_cuts_large_weights_only():
    rewards = np.zeros((6, 8))
    rewards[0, 0] = rewards[1, :3] = 1.1
    free = weights(rewards, alpha=1)
    assert np.array_equal(weights(rewards, alpha=1, clip=5), np.clip(free, -5, 5)) and np.abs(free).max() > 50


@seldom
@given(shift=st.sampled_from((0.0, 3.0, -1e6)), scale=st.sampled_from((1e-3, 1.0, 1e300)))
def test_shift_and_scale_of_the_rewards(shift, scale):
    rewards = np.random.default_rng(1).choice([0.0, 0.125, 1.125], size=(7, 4))
    correct = rewards > 1
    moved = weights((rewards + shift) * scale, correct)
    assert moved == pytest.approx(weights(rewards, correct) * scale, rel=1e-8, abs=1e-9 * scale)


def test_thousands_of_groups_and_none():
    rewards = np.random.default_rng(2).choice([0.0, 0.1, 1.1], size=(8192, 8))
    assert np.isfinite(weights(rewards, alpha=1)).all()
    assert weights(np.zeros((0, 8))).shape == (0, 8)


# ---- no bias, by enumeration --------------------------------------------------------------------

SUCCESS = (0.1, 0.5, 0.8)  # of three prompts, each with two samples


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_unbiased_by_enumeration(alpha):
    """A policy with one logit per prompt answers right with probability p. The score of a sample is c - p.

    The expected reward of a prompt is p, with the gradient p (1 - p) in its logit. The expected weighted score is that
    gradient, times E[p_i^-alpha] of the estimates, in which the sample itself has no part.
    """
    outcomes = np.array(list(itertools.product((0, 1), repeat=6))).reshape(-1, 3, 2)
    p = np.array(SUCCESS)[:, None]
    chance = np.prod(np.where(outcomes, p, 1 - p), axis=(1, 2))
    w = np.array([weights(batch, batch > 0, alpha=alpha) for batch in outcomes])
    gradient = np.einsum("o,oqn,oqn->q", chance, w, outcomes - p) / 2
    estimates = np.array([[[max(float(x), 1e-3) for x in g] for g in exact_baselines(_fractions(b))] for b in outcomes])
    factor = np.einsum("o,oqn->q", chance, estimates**-alpha) / 2
    assert gradient == pytest.approx(p[:, 0] * (1 - p[:, 0]) * factor, rel=1e-12)
    if alpha == 0:
        assert factor == pytest.approx(1)


def _fractions(batch):
    return [[Fraction(int(value)) for value in group] for group in batch]


# ---- groups of several sizes in one array --------------------------------------------------------


def test_equal_sizes_are_the_special_case():
    rewards = np.random.default_rng(3).choice([0.0, 0.1, 1.1], size=(5, 4))
    for scheme in (shrunk, batch_std):
        flat = scheme.unequal(rewards.ravel(), rewards.ravel() >= 1, np.full(5, 4))
        assert np.array_equal(flat.reshape(5, 4), scheme.weights(rewards, rewards >= 1))
