"""Weighting: every scheme of the folder keeps the contract; closed-form facts against exact references."""

import inspect
import itertools
import math
from decimal import Decimal, getcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as configure
from hypothesis import strategies as st

from softmax_rewards import weighting
from softmax_rewards.common import plugins

getcontext().prec = 60
getcontext().Emin, getcontext().Emax = -(10**15), 10**15

LINEAR_EPSILON = 1e-4
UNRESOLVED = Decimal("1e-50")  # what the reference itself cannot resolve

SCHEMES = weighting.names()
SOFTMAXES = [scheme for scheme in SCHEMES if "tau" in weighting.hyperparameters(scheme)]
MEAN_ZERO = [
    *("linear", "softmax_centered", "softmax_scaled", "dr_grpo", "rloo", "maxrl", "passk"),
    *("power", "softmax_ess", "batch_std"),
]
MEAN_ONE = ["softmax", "linear_plus_one", "uniform", "best_of_n", "softmax_z", "normal_scores_softmax"]
TAUS = (0.1, 0.25, 0.5, 1.0, 2.0)
CANONICAL = np.array([[1.1, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0, 0.0]])
seldom = configure(deadline=None, derandomize=True, max_examples=25)


def weights(scheme, rewards, correct=None, tau=0.5, **more):
    rewards = np.asarray(rewards, dtype=float)
    correct = rewards >= 1 if correct is None else correct
    chosen = {"tau": tau} if scheme in SOFTMAXES else {}
    return weighting.compute(scheme, rewards, correct, **chosen, **more)


def two_valued(samples=8, low=0.0, high=1.0):
    """One group for each number of right samples, 0 .. N."""
    correct = np.arange(samples) < np.arange(samples + 1)[:, None]
    return np.where(correct, high, low), correct


@st.composite
def batches(draw):
    size = (draw(st.integers(1, 5)), draw(st.integers(4, 10)))
    picked = draw(st.lists(st.sampled_from((0.0, 0.1, 1.1)), min_size=size[0] * size[1], max_size=size[0] * size[1]))
    rewards = np.array(picked).reshape(size)
    return rewards, rewards >= 1


# ---- the contract, for every file of the folder -------------------------------------------------


def test_the_schemes_of_the_plan_are_there():
    assert {"linear", "raft", "softmax_masked", "softmax_matched", *MEAN_ZERO, *MEAN_ONE} <= set(SCHEMES)


@pytest.mark.parametrize("scheme", SCHEMES)
@seldom
@given(batch=batches(), tau=st.floats(1e-3, 1e3), seed=st.integers(0, 2**32 - 1))
def test_every_scheme_keeps_the_contract(scheme, batch, tau, seed):
    rewards, correct = batch
    before = rewards.copy(), correct.copy()
    w = weights(scheme, rewards, correct, tau)
    assert w.dtype == np.float64 and w.shape == rewards.shape and np.isfinite(w).all()
    assert np.array_equal(before[0], rewards) and np.array_equal(before[1], correct)
    assert np.array_equal(w, weights(scheme, rewards, correct, tau))
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(rewards.shape[1]), (len(rewards), 1)), axis=1)
    shuffled = weights(scheme, *(np.take_along_axis(x, order, 1) for x in batch), tau)
    assert shuffled == pytest.approx(np.take_along_axis(w, order, 1), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("scheme", SCHEMES)
@seldom
@given(batch=batches())
def test_groups_are_independent_unless_the_scheme_says_otherwise(scheme, batch):
    rewards, correct = batch
    if weighting.couples_groups(scheme):
        return
    alone = [weights(scheme, rewards[[q]], correct[[q]])[0] for q in range(len(rewards))]
    assert np.array_equal(weights(scheme, rewards, correct), alone)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_signature_and_documentation(scheme):
    module = plugins.load(plugins.SCHEMES, scheme)
    parameters = list(inspect.signature(module.weights).parameters.values())
    assert [p.name for p in parameters[:2]] == ["rewards", "correct"]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[2:])
    defaults = weighting.hyperparameters(scheme)
    assert all(default is not inspect.Parameter.empty for name, default in defaults.items() if name != "tau")
    numbers = weighting.numbers(scheme)
    assert numbers.keys() == defaults.keys() and all(number.description.endswith(".") for number in numbers.values())
    assert f"`{scheme}`" in module.__doc__ and module.weights.__doc__


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_empty_batch_gives_an_empty_batch(scheme):
    assert weights(scheme, np.zeros((0, 8))).shape == (0, 8)


# ---- facts about means, scales and limits -------------------------------------------------------


@pytest.mark.parametrize("tau", TAUS)
@seldom
@given(batch=batches())
def test_mean_zero_and_mean_one(tau, batch):
    for scheme in MEAN_ZERO:
        w = weights(scheme, *batch, tau)
        assert np.abs(w.mean(1)).max() <= 1e-12 * max(1, np.abs(w).max()), scheme
    for scheme in MEAN_ONE:
        assert weights(scheme, *batch, tau).mean(1) == pytest.approx(1, abs=1e-12), scheme


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("value", [0.0, 0.1, 1.1, -1e6, 1e6 / 3])
@pytest.mark.parametrize("right", [False, True])
def test_all_equal_groups(scheme, value, right):
    rewards = np.full((2, 7), value)
    w = weights(scheme, rewards, np.full((2, 7), right))
    assert (w == w[0, 0]).all()
    if scheme in (*MEAN_ONE, *MEAN_ZERO, "raft", "softmax_masked", "softmax_matched"):
        ones = [*MEAN_ONE, "raft"] if right else MEAN_ONE
        assert w[0, 0] == (scheme in ones)


@pytest.mark.parametrize("scheme", ["softmax", "softmax_centered", "softmax_masked"])
@seldom
@given(batch=batches(), tau=st.floats(0.05, 5), scale=st.floats(1e-3, 1e3))
def test_tau_proportional_to_the_range_is_an_identity(scheme, batch, tau, scale):
    rewards, correct = batch
    assert weights(scheme, rewards * scale, correct, tau * scale) == pytest.approx(
        weights(scheme, rewards, correct, tau), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("reward_range", [1e-3, 1.0, 1.1, 250.0])
def test_half_the_range_gives_e_squared(reward_range):
    w = weights("softmax", np.array([[1.0, 0.1, 0.3, 0.0]]) * reward_range, tau=reward_range / 2)
    assert w[0, 0] / w[0, 3] == pytest.approx(math.e**2, rel=1e-12)


@pytest.mark.parametrize("scheme", MEAN_ZERO)
@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("samples", [4, 8, 16])
def test_two_valued_rewards_leave_one_degree_of_freedom(scheme, tau, samples):
    rewards, correct = two_valued(samples)
    w = weights(scheme, rewards, correct, tau)
    g = (w[:, 0] - w[:, -1]) * (correct[:, 0] & ~correct[:, -1])
    assert w == pytest.approx(g[:, None] * (rewards - rewards.mean(1, keepdims=True)), abs=1e-12)


@seldom
@given(batch=batches())
def test_limits_in_tau(batch):
    rewards, _ = batch
    centered = rewards - rewards.mean(1, keepdims=True)
    errors = [np.abs(weights("softmax_scaled", *batch, tau) - centered).max() for tau in (1e2, 1e4, 1e6)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-6
    assert weights("softmax_scaled", *batch, 1e12) == pytest.approx(centered, abs=1e-11)
    assert weights("dr_grpo", *batch) == pytest.approx(centered, abs=1e-14)
    assert weights("softmax", *batch, 1e-4) == pytest.approx(weights("best_of_n", *batch), abs=1e-12)


def test_maxrl_is_the_sharp_limit_for_two_valued_rewards():
    rewards, correct = two_valued()
    assert weights("softmax_centered", rewards, correct, 1e-3) == pytest.approx(weights("maxrl", rewards, correct))


@seldom
@given(batch=batches())
def test_relations_between_schemes(batch):
    rewards, correct = batch
    samples = rewards.shape[1]
    w = {scheme: weights(scheme, *batch) for scheme in SCHEMES}
    leave_one_out = rewards - (rewards.sum(1, keepdims=True) - rewards) / (samples - 1)
    assert w["rloo"] == pytest.approx(samples / (samples - 1) * w["dr_grpo"], abs=1e-15)
    assert w["rloo"] == pytest.approx(leave_one_out, abs=1e-14)
    assert w["linear_plus_one"] == pytest.approx(w["linear"] + 1)
    assert w["softmax_centered"] == pytest.approx(w["softmax"] - 1, abs=1e-12)
    assert w["softmax_scaled"] == pytest.approx(0.5 * w["softmax_centered"], abs=1e-15)
    contrast = np.ptp(rewards, axis=1) > 0
    assert np.array_equal(w["softmax_masked"], w["softmax"] * contrast[:, None])
    assert np.array_equal(w["raft"], correct.astype(float))
    assert np.array_equal(w["uniform"], np.ones(rewards.shape))
    rms = [np.sqrt(np.mean(w[scheme] ** 2)) for scheme in ("softmax_matched", "linear")]
    assert rms[0] == pytest.approx(rms[1], abs=1e-15)
    if contrast.any():
        factor = w["softmax_matched"] / w["softmax"]
        assert factor == pytest.approx(factor[0, 0], rel=1e-12)
    else:
        assert not w["softmax_matched"].any()


def test_masking_is_by_exact_equality():
    nearly = np.array([[0.1, 0.1, 0.1, np.nextafter(0.1, 1)]])
    assert weights("softmax_masked", nearly) == pytest.approx(np.ones((1, 4)))
    assert not weights("softmax_masked", np.full((1, 4), 0.1)).any()


def test_format_amplification():
    group = [[0.1, 0, 0, 0, 0, 0, 0, 0]]
    formed, right = weights("linear", group)[0], weights("linear", [[1.1, 0, 0, 0, 0, 0, 0, 0]])[0]
    assert formed[0] == pytest.approx(2.64, abs=0.005) and right[0] == pytest.approx(2.64, abs=0.006)
    centered = weights("softmax_centered", group)[0, 0], weights("softmax_centered", [[1.1] + [0] * 7])[0, 0]
    assert centered == pytest.approx((0.19, 3.5), abs=0.006)


# ---- exact references ---------------------------------------------------------------------------


def exact_softmax(row, tau):
    tau, row = Decimal(float(tau)), [Decimal(float(r)) for r in row]
    best = max(row)
    e = [((r - best) / tau).exp() for r in row]
    return [len(row) * x / sum(e) for x in e]


def exact_z_score(row):
    row = [Fraction(float(r)) for r in row]
    mean = sum(row) / len(row)
    variance = sum((r - mean) ** 2 for r in row) / len(row)
    sigma = (Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt() + Decimal(LINEAR_EPSILON)
    return [Decimal((r - mean).numerator) / Decimal((r - mean).denominator) / sigma for r in row]


def assert_close(found, exact, rel):
    for x, reference in zip(found, exact, strict=True):
        assert abs(Decimal(float(x)) - reference) <= Decimal(rel) * abs(reference) + Decimal("1e-300")


extreme = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 0.1, 1.1, 1e6, -1e6, 1e6 + 1e-9]))
temperatures = st.floats(-6, 6).map(lambda power: 10.0**power)


@configure(deadline=None, derandomize=True, max_examples=80)
@given(row=st.lists(extreme, min_size=2, max_size=8), tau=temperatures)
def test_softmax_against_exact_arithmetic(row, tau):
    exact = exact_softmax(row, tau)
    # exp amplifies the rounding of (r - max)/tau by its size, below 745 wherever the weight is not 0.
    assert_close(weights("softmax", [row], tau=tau)[0], exact, 5e-13)
    allowed = Decimal("5e-13") * max(abs(x - 1) for x in exact) + UNRESOLVED
    for scheme, unit in (("softmax_centered", Decimal(1)), ("softmax_scaled", Decimal(tau))):
        for found, reference in zip(weights(scheme, [row], tau=tau)[0], exact, strict=True):
            assert abs(Decimal(float(found)) - unit * (reference - 1)) <= unit * allowed


@configure(deadline=None, derandomize=True, max_examples=80)
@given(
    row=st.one_of(
        st.lists(extreme, min_size=2, max_size=8),
        st.lists(st.integers(-4, 4), min_size=2, max_size=8).map(lambda ulps: [1e6 + u * 2**-33 for u in ulps]),
    )
)
def test_linear_against_exact_arithmetic(row):
    exact = exact_z_score(row)
    scale = max(abs(x) for x in exact)
    for found, reference in zip(weights("linear", [row])[0], exact, strict=True):
        assert abs(Decimal(float(found)) - reference) <= Decimal("1e-14") * scale


@pytest.mark.parametrize(
    "scheme",
    [
        *("linear", "linear_plus_one", "softmax", "softmax_centered", "softmax_masked", "softmax_ess", "softmax_z"),
        *("normal_scores", "normal_scores_softmax", "batch_std", "group_soft", "power", "signed", "reinforce_rej"),
    ],
)
@pytest.mark.parametrize("tau", [5e-324, 1e-300, 1.0, 1e300, 1.7e308])
def test_finite_for_every_finite_reward_and_positive_tau(scheme, tau):
    top = np.finfo(float).max
    rewards = [
        [top, -top, 0, 1],
        [top, top, top, top],
        [5e-324, 0, 0, 0],
        [1e308, 1e308, 1e308, -1e308],
        [1, 0, 0, 0],
    ]
    assert np.isfinite(weights(scheme, rewards, tau=tau)).all()


def test_softmax_of_the_largest_differences_is_right():
    w = weights("softmax", [[1e308, -1e308]], tau=1e308)[0]
    assert w == pytest.approx([2 / (1 + math.e**-2), 2 / (1 + math.e**2)])


@pytest.mark.parametrize(("samples", "k"), [(4, 4), (5, 2), (6, 1), (6, 3), (8, 4), (8, 8)])
def test_passk_is_the_mean_z_score_of_the_subsets_with_the_sample(samples, k):
    rewards, correct = two_valued(samples)
    found = weights("passk", rewards, correct, k=k)
    for row, w in zip(correct, found, strict=True):
        subsets = list(itertools.combinations(range(samples), k))
        value = {subset: Fraction(int(any(row[i] for i in subset))) for subset in subsets}
        mean = sum(value.values()) / len(subsets)
        spread = math.sqrt(mean * (1 - mean))
        for i in range(samples):
            mine = [value[subset] - mean for subset in subsets if i in subset]
            expected = float(sum(mine) / len(mine)) / spread if spread else 0.0
            assert w[i] == pytest.approx(expected, abs=1e-14)


def test_passk_of_one_is_the_z_score():
    rewards, correct = two_valued(8)
    assert weights("passk", rewards, correct, k=1) == pytest.approx(weights("linear", rewards, correct), abs=1e-3)


# ---- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SOFTMAXES)
@pytest.mark.parametrize("tau", [0, 0.0, -0.5, math.nan, math.inf, -math.inf, "0.5", None, True, [1.0]])
def test_wrong_temperatures_are_named(scheme, tau):
    with pytest.raises(ValueError) as error:
        weighting.compute(scheme, CANONICAL, CANONICAL > 1, tau=tau)
    assert str(error.value) == f"scheme {scheme!r}: tau is {tau!r}; allowed: a finite number > 0"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rewards_that_are_not_finite_are_named_with_their_place(scheme, bad):
    rewards = np.zeros((3, 4))
    rewards[2, 1] = bad
    with pytest.raises(ValueError, match=rf"rewards: the value at \[2, 1\] is {bad}"):
        weights(scheme, rewards)


@pytest.mark.parametrize(
    ("rewards", "correct", "message"),
    [
        (np.zeros(8), np.zeros(8), r"rewards has shape \(8,\)"),
        (np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.zeros((2, 1)), np.zeros((2, 1)), r"N = 1; a group needs N >= 2"),
        (np.zeros((2, 8)), np.zeros((2, 7)), r"correct has shape \(2, 7\), but rewards has shape \(2, 8\)"),
        (np.zeros((2, 8)), np.full((2, 8), 0.5), r"correct\[0, 0\] is 0\.5"),
    ],
)
def test_wrong_shapes_are_named(rewards, correct, message):
    with pytest.raises(ValueError, match=message):
        weighting.compute("linear", rewards, correct)


def test_wrong_hyperparameters_are_named():
    with pytest.raises(ValueError, match=r"needs the hyperparameter 'tau'"):
        weighting.compute("softmax", CANONICAL, CANONICAL > 1)
    with pytest.raises(ValueError, match=r"unknown hyperparameter of scheme 'softmax' 'tua' \(nearest: 'tau'\)"):
        weighting.compute("softmax", CANONICAL, CANONICAL > 1, tau=1.0, tua=1.0)
    with pytest.raises(
        ValueError, match=r"unknown scheme 'sofmax' \(nearest: 'softmax'\); allowed: batch_std, best_of_n"
    ):
        weighting.compute("sofmax", CANONICAL, CANONICAL > 1)


@pytest.mark.parametrize("k", [0, 9, -1, 2.0, True, "4"])
def test_passk_needs_a_k_that_fits_the_group(k):
    with pytest.raises(ValueError, match=rf"k is {k!r}; allowed: a whole number from 1 to N = 8"):
        weighting.compute("passk", CANONICAL, CANONICAL > 1, k=k)
