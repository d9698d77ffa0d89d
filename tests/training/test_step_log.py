"""The step log against sums written out sample by sample."""

import math

import numpy as np
import pytest
import torch

from softmax_rewards.config.run import Training
from softmax_rewards.data.tasks import Score
from softmax_rewards.policy.decoding import Completions
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.training import step_log

GROUPS, SIZE, LONGEST = 12, 8, 30


@pytest.fixture(scope="module")
def rollouts():
    dice = np.random.default_rng(1)
    rows = GROUPS * SIZE
    lengths = torch.tensor(dice.integers(1, LONGEST + 1, rows))
    tokens = torch.zeros((rows, LONGEST))
    finished = torch.tensor(dice.random(rows) < 0.8)
    rates = np.repeat([0, 0, 0.15, 0.15, 0.4, 0.4, 0.4, 0.6, 0.6, 0.8, 1, 1], SIZE)
    scores = []
    for rate in rates:
        correct, formatted = bool(dice.random() < rate), bool(dice.random() < 0.5)
        scores.append(Score(correct + 0.1 * formatted, correct, formatted, int(dice.integers(0, 7)), 0, False))
    completions = Completions(tokens.long(), tokens, tokens, lengths, finished)
    return Rollouts([[1]] * GROUPS, [""] * GROUPS, completions, [""] * rows, scores, SIZE)


WEIGHTS = np.random.default_rng(2).normal(size=(GROUPS, SIZE))


@pytest.mark.parametrize("aggregation", ["token-mean", "seq-mean", "constant"])
@pytest.mark.parametrize("skip", [False, True])
def test_shares_of_weight_and_gradient(rollouts, aggregation, skip):
    settings = Training(loss_aggregation=aggregation, skip_unfinished=skip, skip_equal=skip)
    row = step_log.row(settings, rollouts, rollouts, WEIGHTS)
    mass, squares, negative = dict.fromkeys(("0", "to_25", "to_50", "below_100", "100"), 0.0), [0.0, 0.0], 0.0
    for group in range(GROUPS):
        scores = rollouts.scores[group * SIZE : (group + 1) * SIZE]
        right = sum(score.correct for score in scores)
        name = "0" if right == 0 else "to_25" if right <= 2 else "to_50" if right <= 4 else "below_100"
        for sample in range(SIZE):
            finished = rollouts.completions.finished[group * SIZE + sample]
            if skip and (not finished or len({score.reward for score in scores}) == 1):
                continue
            weight = WEIGHTS[group, sample]
            # The gradient of `seq-mean` is a mean over each answer's tokens, the others are sums.
            tokens = 1 if aggregation == "seq-mean" else rollouts.lengths[group, sample]
            mass["100" if right == SIZE else name] += abs(weight) * tokens
            negative += abs(weight) * tokens * (weight < 0)
            squares[right > 0] += weight**2
    assert all(mass.values())
    for name, value in mass.items():
        assert row[f"mass_{name}"] == pytest.approx(value / sum(mass.values()))
    assert row["mass_negative"] == pytest.approx(negative / sum(mass.values()))
    assert row["weight_all_wrong"] == pytest.approx(squares[0] / sum(squares))


def test_weights_of_zero_have_no_shares(rollouts):
    row = step_log.row(Training(), rollouts, rollouts, np.zeros((GROUPS, SIZE)))
    assert math.isnan(row["weight_all_wrong"]) and math.isnan(row["mass_0"]) and math.isnan(row["corr_weight_length"])
    assert -1 < row["corr_format_length"] < 1


def test_the_correlation_is_that_of_deviations_from_the_group(rollouts):
    formatted, lengths = rollouts.field("formatted"), rollouts.lengths.astype(float)
    deviations = [np.concatenate([group - group.mean() for group in values]) for values in (formatted, lengths)]
    expected = np.corrcoef(*deviations)[0, 1]
    assert step_log.within_group_correlation(formatted, lengths) == pytest.approx(expected)
    # What differs between groups only has no part in it.
    shift = 100 * np.arange(GROUPS)[:, None]
    assert step_log.within_group_correlation(formatted, lengths + shift) == pytest.approx(expected)
    assert math.isnan(step_log.within_group_correlation(np.full((GROUPS, SIZE), 0.1) + shift, lengths))


def test_how_often_a_search_goes_on_after_a_wrong_attempt(rollouts):
    went_on, at_risk = dict.fromkeys(range(1, 5), 0), dict.fromkeys(range(1, 5), 0)
    for score, finished in zip(rollouts.scores, rollouts.completions.finished.tolist(), strict=True):
        for attempt in range(1, score.attempts + 1):
            index = min(attempt, 4)
            if attempt < score.attempts:
                went_on[index] += 1
                at_risk[index] += 1
            elif finished and not score.correct:
                at_risk[index] += 1
    shares = step_log.continuation(rollouts)
    assert shares == pytest.approx({f"continued_{index}": went_on[index] / at_risk[index] for index in at_risk})
