"""The toy of search: stated figures, every sequence of decisions, a simulation, rules of the exchange rate."""

import itertools
import math

import numpy as np
import pytest

from softmax_rewards import weighting
from softmax_rewards.weighting.study import search_path
from softmax_rewards.weighting.study.exchange_rate import exchange_rate
from softmax_rewards.weighting.study.search_toy import Learner, Search, gradient, outcome, probabilities

CENTERED = Learner("softmax_centered", {"tau": 0.5})
LEARNERS = {"linear": Learner("linear"), "dr_grpo": Learner("dr_grpo"), "centered": CENTERED}
REWARDS = {"right": 1.1, "formed": 0.1, "lost": 0.0, "cut": 0.0}
# Computed elsewhere, before this module was written: (h, B), success of the base at q = .8 in percent, and for each of
# LEARNERS where training from there comes to rest, and the success there.
STATED = [
    ((0.03, 3), 7.1, (0.14, 3.5), (0.46, 4.9), (0.72, 6.6)),
    ((0.045, 3), 10.6, (0.18, 5.4), (0.60, 8.6), (1.0, 12.9)),
    ((0.064, 2), 11.2, (0.06, 6.8), (0.36, 8.6), (0.72, 10.7)),
    ((0.064, 3), 14.8, (0.24, 8.2), (0.78, 14.5), (1.0, 18.0)),
    ((0.064, 4), 17.5, (0.44, 10.6), (1.0, 23.2), (1.0, 23.2)),
]


@pytest.mark.parametrize(("setting", "base", "linear", "dr_grpo", "centered"), STATED)
def test_the_stated_figures(setting, base, linear, dr_grpo, centered):
    search = Search.plain(*setting)
    assert round(100 * search_path.at(search, 0.8).success, 1) == base
    for learner, stated in zip(LEARNERS.values(), (linear, dr_grpo, centered), strict=True):
        # The stated figures are on a grid with steps of 0.02: the last point before the rest, coming from 1.
        q = math.ceil(50 * search_path.stop(search, learner, 0.8)) / 50
        assert (q, round(100 * search_path.at(search, q).success, 1)) == stated


def test_dr_grpo_with_two_attempts_rests_where_paper_and_pencil_say():
    # Δp/ΔF = h(1 − h) / (2q(1 − h)²) is 0.1 there.
    h = 0.064
    q = search_path.stop(Search.plain(h, 2), LEARNERS["dr_grpo"], 0.8)
    assert q == pytest.approx(h / (0.2 * (1 - h)), abs=1e-3)


# ---- enumeration and simulation -----------------------------------------------------------------


def paths(search, hit, go_on):
    """Every answer: (kind, its probability, the derivative of its log-probability for each logit, attempts)."""
    number, found = len(search.fits), []

    def ended(kind, k, chance, score):
        kept = (1 - search.loss) ** (k - 1)
        for outcome_, share in ((kind, kept), ("lost", 1 - kept)):
            found.append((outcome_, chance * search.ends[k - 1] * share, score, k))
        found.append(("cut", chance * (1 - search.ends[k - 1]), score, k))

    def attempt(k, chance, score):  # the search has decided to make attempt k
        if k > number:
            found.append(("cut", chance, score, k - 1))
            return
        found.append(("cut", chance * (1 - search.fits[k - 1]), score, k - 1))
        chance, q, unit = chance * search.fits[k - 1], go_on[k - 1], np.eye(number)[k - 1]
        ended("right", k, chance * hit, score)
        ended("formed", k, chance * (1 - hit) * (1 - q), score - q * unit)
        attempt(k + 1, chance * (1 - hit) * q, score + (1 - q) * unit)

    attempt(1, 1.0, np.zeros(number))
    return found


TINY = Search(((0.3, 0.6), (0.05, 0.4)), (0.9, 0.8), (1.0, 0.7), 0.2)


def test_probabilities_add_up_over_every_sequence_of_decisions():
    go_on = np.array([0.6, 0.3])
    figures, _ = probabilities(TINY, go_on)
    for (hit, _), found in zip(TINY.hits, figures, strict=True):
        every = paths(TINY, hit, go_on)
        expected = [sum(chance for kind, chance, *_ in every if kind == name) for name in REWARDS]
        assert found == pytest.approx([*expected, sum(chance * k for _, chance, _, k in every)])
        assert sum(expected) == pytest.approx(1)
    success = sum(share * figures[i][0] for i, (_, share) in enumerate(TINY.hits))
    assert outcome(TINY, go_on).success == pytest.approx(success)


@pytest.mark.parametrize(
    "learner",
    [
        Learner("linear", group_size=2),
        Learner("linear", group_size=2, skip_unfinished=True),
        Learner("softmax", {"tau": 0.5}, group_size=2),
        Learner("linear_plus_one", group_size=2, format_reward=0.0),
    ],
    ids=str,
)
def test_the_gradient_is_that_of_every_group_one_by_one(learner):
    go_on, expected = np.array([0.6, 0.3]), np.zeros(2)
    f = learner.format_reward
    rewards = {"right": 1 + f, "formed": f, "lost": 0.0, "cut": 0.0}
    for hit, share in TINY.hits:
        for group in itertools.product(paths(TINY, hit, go_on), repeat=2):
            kinds = [kind for kind, *_ in group]
            [w] = weighting.compute(
                learner.scheme,
                np.array([[rewards[kind] for kind in kinds]]),
                np.array([[kind == "right" for kind in kinds]]),
                **learner.hyperparameters,
            )
            chance = share * math.prod(chance for _, chance, *_ in group)
            for weight, (kind, _, score, _) in zip(w, group, strict=True):
                expected += chance * weight * score / 2 * (not learner.skip_unfinished or kind != "cut")
    assert gradient(TINY, learner, go_on) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scheme", ["linear", "batch_std"])
def test_the_gradient_is_that_of_sampled_groups(scheme, q=0.7, h=0.15):
    """REINFORCE in 40,000 groups of 8: attempts, hits and decisions drawn one by one."""
    rng = np.random.default_rng(0)
    shape = (40_000, 8)
    searching, score = np.ones(shape, bool), np.zeros(shape)
    reward, correct = np.zeros(shape), np.zeros(shape, bool)
    for _ in range(3):
        hit = searching & (rng.random(shape) < h)
        goes_on = searching & ~hit & (rng.random(shape) < q)
        stops = searching & ~hit & ~goes_on
        score += (1 - q) * goes_on - q * stops
        reward += 1.1 * hit + 0.1 * stops
        correct |= hit
        searching = goes_on
    terms = (weighting.compute(scheme, reward, correct) * score).mean(axis=1)
    expected = gradient(Search.plain(h, 3), Learner(scheme), np.full(3, q)).sum()
    assert abs(terms.mean() - expected) < 4 * terms.std() / 200


# ---- the exchange rate --------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["linear", "dr_grpo", "raft"])
@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_search_goes_on_if_it_gains_more_than_the_exchange_rate(scheme, q):
    search = Search.plain(0.064, 3)
    low, here, high = (search_path.at(search, q + step) for step in (-1e-5, 0, 1e-5))
    gain = (high.success - low.success) / (low.formatted - high.formatted)
    rate = exchange_rate(scheme, {}, here.success, here.formatted)
    assert np.sign(search_path.slope(search, Learner(scheme), q)) == np.sign(gain - rate)


@pytest.mark.parametrize("scheme", ["linear", "dr_grpo"])
@pytest.mark.parametrize("loss", [0.05, 0.15, 0.3, 0.4, 0.6])
def test_under_a_hidden_budget_search_goes_on_if_an_attempt_earns_what_it_may_lose(scheme, loss):
    """h(1 − s)/s > X, whatever q is."""
    h, q = 0.064, 0.5
    search = Search.plain(h, 60, loss)
    here = search_path.at(search, q)
    rate = exchange_rate(scheme, {}, here.success, here.formatted)
    assert np.sign(search_path.slope(search, Learner(scheme), q)) == np.sign(h * (1 - loss) / loss - rate)


def test_without_a_format_reward_and_with_cut_answers_left_out_search_goes_on():
    search = Search.plain(0.064, 3)
    for learner in LEARNERS.values():
        unpaid = Learner(learner.scheme, learner.hyperparameters, format_reward=0.0)
        assert search_path.stop(search, unpaid, 0.8) == pytest.approx(1 - search_path.LEAST)
    filtered = search_path.stop(search, Learner("linear", skip_unfinished=True), 0.8)
    assert filtered > 0.8 > search_path.stop(search, Learner("linear"), 0.8)


def test_larger_groups_open_the_trap_and_hopeless_prompts_bring_the_others_together():
    search, mixed = Search.plain(0.064, 3), Search.plain(((0.0, 0.75), (0.256, 0.25)), 3)
    rests = [search_path.stop(search, Learner("linear", group_size=size), 0.8) for size in (8, 16, 32)]
    assert rests == sorted(rests) and rests[2] > rests[0] + 0.1
    gaps = []
    for kind in (search, mixed):
        ends = [search_path.at(kind, search_path.stop(kind, LEARNERS[name], 0.8)).success for name in LEARNERS]
        assert ends == sorted(ends)
        gaps.append(ends[2] - ends[1])
    assert gaps[1] < gaps[0] / 3


def test_a_policy_that_counts_its_attempts_escapes_in_the_end():
    search = Search.plain(0.064, 3)
    best = outcome(search, np.array([1.0, 1.0, 0.0]))
    walked = {name: search_path.walk(search, learner, 0.8, 20, 0.4) for name, learner in LEARNERS.items()}
    for table in walked.values():
        assert table.iloc[0]["success"] == pytest.approx(search_path.at(search, 0.8).success)
        assert table.iloc[-1]["reward"] == pytest.approx(best.reward, rel=0.01)
    early = [walked[name].iloc[5]["success"] for name in LEARNERS]
    assert early == sorted(early) and early[0] < search_path.at(search, 0.8).success - 0.01
