"""What the schemes become in their limits, against each other and against exact arithmetic."""

import math
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as configure
from hypothesis import strategies as st

from softmax_rewards import weighting
from softmax_rewards.weighting import concentration

seldom = configure(deadline=None, derandomize=True, max_examples=25)
LEVELS = (0.0, 0.1, 1.1)


def weights(scheme, rewards, correct=None, **chosen):
    rewards = np.asarray(rewards, dtype=float)
    return weighting.compute(scheme, rewards, rewards >= 1 if correct is None else correct, **chosen)


def two_valued(samples=8):
    """One group for each number of right samples, 0 .. N."""
    correct = np.arange(samples) < np.arange(samples + 1)[:, None]
    return correct.astype(float), correct


@st.composite
def batches(draw, values=LEVELS):
    groups, samples = draw(st.integers(1, 5)), draw(st.integers(2, 10))
    number = groups * samples
    picked = draw(st.lists(st.sampled_from(values), min_size=number, max_size=number))
    return np.array(picked).reshape(groups, samples)


# ---- power, signed, reinforce_rej ---------------------------------------------------------------


@pytest.mark.parametrize("samples", [2, 8, 16])
def test_power_is_dr_grpo_at_0_and_maxrl_at_1(samples):
    batch = two_valued(samples)
    assert weights("power", *batch, q=0) == pytest.approx(weights("dr_grpo", *batch), abs=1e-15)
    assert weights("power", *batch, q=1) == pytest.approx(weights("maxrl", *batch), rel=1e-15)


@pytest.mark.parametrize("q", [0, 1, 2, 3])
def test_power_against_fractions(q):
    rewards, correct = two_valued(6)
    for right, row in enumerate(weights("power", rewards, correct, q=q)):
        p = Fraction(right, 6)
        exact = [(int(c) - p) / p**q if right else 0 for c in correct[right]]
        assert row == pytest.approx([float(x) for x in exact], rel=1e-14)


@seldom
@given(batch=batches())
def test_signed_and_its_limits(batch):
    correct = batch >= 1
    assert np.array_equal(weights("signed", batch), np.where(correct, 0.1, -1.0))  # W-REINFORCE, lambda = 0.1
    assert np.array_equal(weights("signed", batch, right=1, wrong=0), weights("raft", batch))  # PSR
    assert np.array_equal(weights("signed", batch, right=0), correct - 1.0)  # NSR
    mixed = correct.any(1) & ~correct.all(1)
    rejected = weights("reinforce_rej", batch)
    assert np.array_equal(rejected, weights("signed", batch, right=1) * mixed[:, None])
    even = correct.mean(1) == 0.5
    assert np.array_equal(rejected[even], 2 * weights("dr_grpo", correct.astype(float))[even])


# ---- softmax_ess --------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [4, 8, 16])
@pytest.mark.parametrize("nu", [1.0, 1.5, 3.0, 4.0, 7.5])
def test_softmax_ess_reaches_its_size_or_the_nearest_one(samples, nu):
    w = weights("softmax_ess", *two_valued(samples), nu=nu) + 1
    right = np.arange(samples + 1)
    # A softmax has at least the size of the number of best samples, and at most N.
    lowest = np.where(right == 0, samples, right)
    assert concentration.effective_n(w) == pytest.approx(np.clip(nu, lowest, samples), rel=1e-9)


@pytest.mark.parametrize(("samples", "nu"), [(4, 2.5), (8, 4.0), (16, 3.0), (16, 15.9)])
def test_softmax_ess_agrees_with_the_closed_formula(samples, nu):
    rewards, correct = two_valued(samples)
    w = weights("softmax_ess", rewards, correct, nu=nu)
    for k in range(1, math.ceil(nu)):
        wrong = samples - k
        c = (k * wrong + math.sqrt(k * wrong * nu * (samples - nu))) / (k * (nu - k))
        exact = weights("softmax_centered", rewards[[k]], correct[[k]], tau=1 / math.log(c))
        assert w[[k]] == pytest.approx(exact, rel=1e-9)


@seldom
@given(
    row=st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=3, max_size=9, unique=True),
    nu=st.floats(1.01, 2.99),
    scale=st.floats(1e-3, 1e3),
)
def test_softmax_ess_reaches_its_size_for_any_rewards(row, nu, scale):
    w = weights("softmax_ess", [row], nu=nu)
    assert concentration.effective_n(w + 1) == pytest.approx(nu, rel=1e-9)
    assert weights("softmax_ess", [[scale * x - 7 for x in row]], nu=nu) == pytest.approx(w, rel=1e-6, abs=1e-6)
    # So every such group has weights of one size, as with the z-score.
    assert np.mean(w**2) == pytest.approx(len(row) / nu - 1, rel=1e-8)


@seldom
@given(batch=batches())
def test_softmax_ess_in_its_limits(batch):
    samples = batch.shape[1]
    assert not weights("softmax_ess", batch, nu=samples).any()
    assert not weights("softmax_ess", batch, nu=samples + 0.5).any()
    assert weights("softmax_ess", batch, nu=1) + 1 == pytest.approx(weights("best_of_n", batch), abs=1e-9)
    flat = weights("softmax_ess", batch, nu=samples - 1e-6) / math.sqrt(samples / (samples - 1e-6) - 1)
    assert flat == pytest.approx(weights("linear", batch), abs=5e-3)  # linear adds 1e-4 to sigma


# ---- z-scores and ranks -------------------------------------------------------------------------


@seldom
@given(batch=batches(), temperature=st.floats(0.1, 10))
def test_softmax_z_is_the_softmax_of_the_z_scores(batch, temperature):
    z = weights("linear", batch)
    e = np.exp(z / temperature)
    found = weights("softmax_z", batch, temperature=temperature)
    assert found == pytest.approx(e / e.mean(1, keepdims=True), rel=1e-12)
    assert 1e6 * (weights("softmax_z", batch, temperature=1e6) - 1) == pytest.approx(z, abs=1e-4)
    assert weights("softmax_z", batch, temperature=1e-4) == pytest.approx(weights("best_of_n", batch), abs=1e-9)


def mid_ranks(row):
    """Ranks by their definition: ties share the mean of their positions."""
    ordered = sorted(row)
    places = {value: [i for i, other in enumerate(ordered, start=1) if other == value] for value in row}
    return [sum(places[value]) / len(places[value]) for value in row]


@seldom
@given(batch=batches())
def test_normal_scores_by_their_definition(batch):
    found = weights("normal_scores", batch)
    for row, scores in zip(batch, found, strict=True):
        exact = [NormalDist().inv_cdf((rank - 0.5) / len(row)) for rank in mid_ranks(row)]
        assert scores == pytest.approx(exact, abs=1e-9)
    e = np.exp(found / 0.5)
    softmax = weights("normal_scores_softmax", batch)
    assert softmax == pytest.approx(e / e.mean(1, keepdims=True), rel=1e-12)
    flat = 1e6 * (weights("normal_scores_softmax", batch, temperature=1e6) - 1)
    assert flat == pytest.approx(found - found.mean(1, keepdims=True), abs=1e-4)


@pytest.mark.parametrize("scheme", ["normal_scores", "normal_scores_softmax"])
@seldom
@given(batch=batches(values=(-3.0, -0.5, 0.0, 0.1, 1.1)))
def test_normal_scores_only_see_the_order(scheme, batch):
    correct, found = batch >= 1, weights(scheme, batch)
    for monotone in (np.exp, np.cbrt, lambda r: r**3, lambda r: 1e5 * r - 7):
        assert np.array_equal(weights(scheme, monotone(batch), correct), found)


@seldom
@given(batch=batches())
def test_normal_scores_of_equal_rewards_are_0(batch):
    assert not weights("normal_scores", np.repeat(batch[:, :1], batch.shape[1], axis=1)).any()


# ---- group_soft ---------------------------------------------------------------------------------


@seldom
@given(batch=batches())
def test_group_soft_has_no_contrast_within_a_group(batch):
    w = weights("group_soft", batch)
    assert np.array_equal(w, np.repeat(w[:, :1], batch.shape[1], axis=1))
    z = weights("linear", batch) / 0.5
    share = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert w[:, 0] == pytest.approx((share * batch).sum(1), rel=1e-12)
    assert weights("group_soft", batch, temperature=1e-4)[:, 0] == pytest.approx(batch.max(1), abs=1e-9)
    assert weights("group_soft", batch, temperature=1e9)[:, 0] == pytest.approx(batch.mean(1), abs=1e-8)


# ---- batch_std ----------------------------------------------------------------------------------


@seldom
@given(batch=batches())
def test_batch_std_divides_by_one_sigma(batch):
    w = weights("batch_std", batch)
    exact = (batch - batch.mean(1, keepdims=True)) / (batch.std() + 1e-4)
    assert w == pytest.approx(exact, abs=1e-12)
    assert weights("batch_std", batch[:1]) == pytest.approx(weights("linear", batch[:1]), rel=1e-12, abs=1e-12)
    equal = np.ptp(batch, axis=1) == 0
    assert not w[equal].any()


# ---- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "chosen", "message"),
    [
        ("softmax_ess", {"nu": 0.5}, "scheme 'softmax_ess': nu is 0.5; allowed: a finite number >= 1"),
        ("power", {"q": -1}, "scheme 'power': q is -1; allowed: a finite number from 0 to 10"),
        ("power", {"q": math.nan}, "scheme 'power': q is nan; allowed: a finite number from 0 to 10"),
        ("signed", {"wrong": 1}, "scheme 'signed': wrong is 1; allowed: a finite number <= 0"),
        ("signed", {"right": True}, "scheme 'signed': right is True; allowed: a finite number >= 0"),
        ("softmax_z", {"temperature": 0}, "scheme 'softmax_z': temperature is 0; allowed: a finite number > 0"),
        (
            "softmax_z",
            {"temperature": "auto"},
            "scheme 'softmax_z': temperature is 'auto'; allowed: a finite number > 0",
        ),
        ("shrunk", {"clip": 0}, "scheme 'shrunk': clip is 0; allowed: a finite number > 0, or null for none"),
        ("shrunk", {"alpha": None}, "scheme 'shrunk': alpha is None; allowed: a finite number from 0 to 10"),
    ],
)
def test_wrong_hyperparameters_are_named_with_what_is_allowed(scheme, chosen, message):
    with pytest.raises(ValueError) as error:
        weights(scheme, *two_valued(), **chosen)
    assert str(error.value) == message
