"""The toy of a measured base model: figures found again in simulated answers, and other policies predicted."""

import json

import numpy as np
import pytest

from softmax_rewards.data.tasks import Attempt
from softmax_rewards.training import search_counts
from softmax_rewards.weighting.study import search_base, search_path, search_prediction

MIXTURE = ((0.0, 0.25), (0.04, 0.5), (0.2, 0.25))
PUZZLES, SAMPLES = 400, 32


def simulated(q, limit=80, seed=0):
    """Searches with attempts of 18 to 22 tokens and 14 more for the answer, under a token limit: counts and success."""
    rng = np.random.default_rng(seed)
    chances = np.repeat([h for h, _ in MIXTURE], [round(share * PUZZLES) for _, share in MIXTURE])
    answers, right, closed, formatted, lengths = [], [], [], [], []
    for h in np.repeat(chances, SAMPLES):
        attempts, used, hit, goes_on = [], 0, False, True
        while goes_on and (used := used + int(rng.integers(18, 23))) <= limit:
            hit = bool(rng.random() < h)
            attempts.append(Attempt(hit, hit))
            goes_on = not hit and bool(rng.random() < q)
        answers.append(attempts)
        closed.append(not goes_on)
        formatted.append(not goes_on and used + 14 <= limit)
        right.append(hit and formatted[-1])
        lengths.append(min(used + 14 * (not goes_on), limit))
    right, closed, formatted, lengths = map(np.array, (right, closed, formatted, lengths))
    hits = [sum(attempt.hit for attempt in attempts) for attempts in answers]
    by_puzzle = {"attempts": [*map(len, answers)], "hits": hits}
    counts = search_counts.described(answers, right, SAMPLES) | {
        "endings": search_counts.endings(answers, closed, formatted),
        "tokens": search_counts.attempt_length(answers, lengths, formatted),
        "by_puzzle": {
            name: " ".join(map(str, np.reshape(values, (-1, SAMPLES)).sum(axis=1)))
            for name, values in by_puzzle.items()
        },
    }
    return json.loads(json.dumps(counts)), right.mean(), formatted.mean()


@pytest.fixture(scope="module")
def evaluated():
    return simulated(0.6)


@pytest.fixture(scope="module")
def base(evaluated):
    return search_base.read(evaluated[0], 80)


def test_the_figures_of_the_base_are_found_again(base, evaluated):
    search, q = base
    assert q == pytest.approx(0.6, abs=0.01)
    h, shares = np.array([h for h, _ in search.hits]), search.shares
    true_h, true_shares = np.array(MIXTURE).T
    assert shares.sum() == pytest.approx(1)
    assert h @ shares == pytest.approx(true_h @ true_shares, abs=0.004)
    spread, true_spread = (np.sqrt(p @ (x - p @ x) ** 2) for x, p in ((h, shares), (true_h, true_shares)))
    assert spread == pytest.approx(true_spread, abs=0.008)
    assert search.fits[:3] == pytest.approx((1, 1, 1)) and 0.4 < search.fits[3] < 0.7
    # Three attempts of 20 tokens and the answer need 74, four need 94.
    assert search.ends[:2] == pytest.approx((1, 1)) and search.ends[2] > 0.9 and search.ends[3] == 0
    counts, success, formatted = evaluated
    assert search_path.at(search, q)[:3] == pytest.approx((success, formatted, counts["attempts"]), abs=0.015)


@pytest.mark.parametrize("q", [0.2, 0.95])
def test_the_toy_of_the_base_predicts_a_policy_that_searches_otherwise(base, q):
    counts, success, formatted = simulated(q, seed=1)
    predicted = search_path.at(base[0], q)
    assert predicted[:3] == pytest.approx((success, formatted, counts["attempts"]), abs=0.03)


def test_where_nothing_was_measured_attempts_fit_by_their_length():
    counts, _, _ = simulated(0.3, limit=1000)
    search, _ = search_base.read(counts, 1000)
    assert len(search.fits) == 49 and set(search.fits) == set(search.ends) == {1.0}  # (1000 − 14) / 20


def test_old_evaluations_have_not_what_the_toy_needs(evaluated):
    counts = evaluated[0]
    assert search_base.measured(counts)
    assert not search_base.measured(None)
    assert not search_base.measured({name: counts[name] for name in counts if name != "endings"})
    assert not search_base.measured(counts | {"tokens": None})


def test_the_schemes_are_predicted_in_the_order_of_what_they_pay_for_format(base):
    chosen = [learner for learner in search_prediction.learners() if learner.scheme not in ("shrunk", "batch_std")]
    table = search_prediction.table(*base, chosen)
    assert table["scheme"].tolist()[:2] == ["base", "linear"] and len(table) == len(chosen) + 1
    rest = table[~table["skip_unfinished"]].set_index(["scheme", "tau"])["go_on"].droplevel("tau")
    assert rest["linear"] < rest["base"] and rest["linear"] < rest["dr_grpo"] < rest["maxrl"] == rest["raft"]
    curves = search_prediction.curves(base[0], [learner for learner in chosen if learner.scheme == "linear"])
    assert curves["slope"].abs().max() == 1
