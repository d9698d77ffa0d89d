"""A scheme for other trainers: groups in any order and of any size, τ of the step, what is right, what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_rewards import weighting
from softmax_rewards.integrations.scheme import Scheme

CENTRED = {"scheme": "softmax_centered", "tau": 0.5}


def test_each_group_is_weighed_alone_wherever_its_samples_stand():
    scheme = Scheme(CENTRED, (0.0, 1.0))
    found = scheme.weights([1, 0, 0, 1, 0], [1, 0, 0, 1, 0], ["b", "a", "b", "a", "a"])
    e = np.exp(2.0)
    assert found == pytest.approx(
        [2 * e / (e + 1) - 1, 3 / (e + 2) - 1, 2 / (e + 1) - 1, 3 * e / (e + 2) - 1, 3 / (e + 2) - 1]
    )


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_order_of_the_samples_changes_nothing(data):
    name = data.draw(st.sampled_from([name for name in weighting.names() if name != "passk"]))
    needs_tau = "tau" in weighting.hyperparameters(name)
    scheme = Scheme({"scheme": name, **({"tau": "auto"} if needs_tau else {})}, (0.0, 1.1))
    size = data.draw(st.integers(2, 5))
    groups = np.repeat(["q", "x", "a"], size if weighting.couples_groups(name) else [size, 2, 3])
    rewards = np.array(
        data.draw(st.lists(st.sampled_from([0.0, 0.1, 1.1]), min_size=len(groups), max_size=len(groups)))
    )
    order = np.array(data.draw(st.permutations(range(len(groups)))))
    straight = scheme.weights(rewards, rewards > 1, groups)
    assert np.allclose(scheme.weights(rewards[order], rewards[order] > 1, groups[order]), straight[order], atol=1e-12)


def test_a_group_of_one_gets_no_weight():
    found = Scheme(CENTRED, (0.0, 1.0)).weights([1, 1, 0], [1, 1, 0], [7, 5, 5])
    assert found[0] == 0 and found[1] > 0 > found[2]


def test_tau_follows_the_step():
    annealed = Scheme({"scheme": "softmax", "tau": {"from": 1.0, "to": 0.5, "steps": 10}}, (0.0, 1.0))
    for step, tau in ((0, 1.0), (5, 0.75), (10, 0.5), (99, 0.5)):
        right, wrong = annealed.weights([1, 0], [1, 0], [0, 0], step)
        assert right / wrong == pytest.approx(np.exp(1 / tau))


def test_auto_is_half_the_declared_range():
    right, wrong = Scheme({"scheme": "softmax", "tau": "auto"}, (-1.0, 3.0)).weights([3, -1], [1, 0], [0, 0])
    assert right / wrong == pytest.approx(np.exp(2))


def test_right_is_the_highest_reward_or_one_from_the_threshold_on():
    single = np.float32([1.0, 1.1, 0.1])  # a float32 1.1 is not the float64 one
    assert Scheme(CENTRED, (0.0, 1.1)).right(single).tolist() == [False, True, False]
    assert Scheme(CENTRED, (0.0, 1.1), threshold=1.0).right(single).tolist() == [True, True, False]
    assert not Scheme(CENTRED, (0.0, 1.1)).right([np.nan]).any()


@pytest.mark.parametrize("reward", [2.0, -0.2])
@pytest.mark.parametrize("tau", ["auto", {"auto": 0.25}])
def test_a_reward_outside_the_range_of_which_tau_is_a_share_is_refused(tau, reward):
    scheme = Scheme({"scheme": "softmax", "tau": tau}, (0.0, 1.1), threshold=1.0)
    scheme.weights(np.float32([1.1, 0.0]), [1, 0], [0, 0])  # the ends belong to it, also in float32
    said = rf"^reward {reward:g} is outside reward_range \(0, 1.1\), and tau is a share of it; allowed: [^\n]+$"
    with pytest.raises(ValueError, match=said):
        scheme.weights([reward, 0.1], [1, 0], [0, 0])


@pytest.mark.parametrize("name", weighting.names())
def test_a_reward_above_the_range_is_refused_where_its_end_decides_what_is_right(name):
    tau = {"tau": 0.5} if "tau" in weighting.hyperparameters(name) else {}
    rewards = np.array([2.0, 1.5, 1.0, 0.0] * 4)
    none, three = (weighting.compute(name, rewards[None], np.arange(16)[None] < count, **tau) for count in (0, 3))
    scheme = Scheme({"scheme": name, **tau}, (0.0, 1.0))
    if np.array_equal(none, three):  # the scheme does not ask what is right
        assert scheme.right(rewards).sum() == 12
    else:
        with pytest.raises(ValueError, match=r"^reward 2 is outside reward_range \(0, 1\), and its upper end decides"):
            scheme.right(rewards)
    assert Scheme({"scheme": name, **tau}, (0.0, 1.0), threshold=1.5).right(rewards).sum() == 8


def test_a_reward_outside_a_range_without_effect_is_said_once():
    rewards, right = np.array([2.0, 0.0, 1.0]), np.array([1, 0, 0])
    with pytest.warns(UserWarning, match=r"^reward 2 is outside reward_range \(0, 1.25\): check the reward functions"):
        found = Scheme({"scheme": "linear"}, (0.0, 1.25)).weights(rewards, right, [0, 0, 0])
    assert found == pytest.approx(weighting.compute("linear", rewards[None], right[None])[0])
    Scheme({"scheme": "linear"}, (0.0, 1.25)).weights(rewards, right, [0, 0, 0])  # another warning would be an error


@pytest.mark.parametrize(
    ("weights", "ends", "threshold", "said"),
    [
        ({"tau": 0.5}, (0, 1), None, "weighting"),
        ({"scheme": "sofmax", "tau": 0.5}, (0, 1), None, "nearest: 'softmax'"),
        ({"scheme": "softmax"}, (0, 1), None, "needs the hyperparameter 'tau'"),
        ({"scheme": "softmax", "tau": 0}, (0, 1), None, "tau: 0 is not allowed"),
        ({"scheme": "softmax", "tau": 1, "taus": 2}, (0, 1), None, "unknown hyperparameter"),
        ({"scheme": "passk", "k": 0}, (0, 1), None, "k is 0"),
        (CENTRED, (1, 1), None, "reward_range: "),
        (CENTRED, (0, np.inf), None, "reward_range: "),
        (CENTRED, (0, 1, 2), None, "reward_range: "),
        (CENTRED, (0, 1), np.nan, "threshold: nan"),
    ],
)
def test_what_is_wrong_is_refused_before_training_in_one_line(weights, ends, threshold, said):
    with pytest.raises(ValueError, match=said) as error:
        Scheme(weights, ends, threshold)
    assert "\n" not in str(error.value)


def test_a_scheme_that_couples_groups_wants_them_of_one_size():
    scheme = Scheme({"scheme": "softmax_matched", "tau": 0.5}, (0, 1))
    with pytest.raises(ValueError, match="groups of 2, 3 samples; allowed: one size"):
        scheme.weights([1, 0, 1, 0, 0], [1, 0, 1, 0, 0], [0, 0, 1, 1, 1])


@pytest.mark.parametrize("name", ["shrunk", "batch_std"])
def test_a_scheme_may_couple_groups_of_several_sizes(name):
    """The same weights as with one size, wherever the samples stand; a group of one counts nowhere."""
    scheme = Scheme({"scheme": name}, (0, 1))
    groups = np.array([0, 1, 1, 0, 2, 2, 2, 3, 3, 4, 3, 3])
    rewards = np.array([1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0], dtype=float)
    found = scheme.weights(rewards, rewards > 0, groups)
    assert found[groups == 4] == 0 and np.count_nonzero(found) > 6
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] != 4]
    sizes = np.array([2, 2, 3, 4])
    assert found[order] == pytest.approx(weighting.compute_unequal(name, rewards[order], rewards[order] > 0, sizes))
    if name == "batch_std":
        group = rewards[groups == 3]
        kept = rewards[groups != 4]
        assert found[groups == 3] == pytest.approx((group - group.mean()) / (kept.std() + 1e-4))


def test_nan_rewards_are_refused():
    with pytest.raises(ValueError, match="allowed: a finite number"):
        Scheme(CENTRED, (0, 1)).weights([np.nan, 0], [0, 0], [0, 0])
