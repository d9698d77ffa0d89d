"""The hidden budget: how many attempts it allows, and what is left of a text with more."""

import numpy as np
import pytest

from softmax_rewards.data import budget
from softmax_rewards.data.scoring import score
from softmax_rewards.data.tasks import countdown, multiplication

PUZZLE = {"nums": [3, 5, 7], "target": 22, "solution": "3*5+7"}
RIGHT = "3+5*7=3+35=38no\n3+5+7=8+7=15no\n3*5+7=15+7=22yes</think>\n<answer>3*5+7</answer>"


@pytest.mark.parametrize("loss", [0.1, 0.5, 0.9])
def test_another_attempt_is_allowed_with_the_same_probability_each_time(loss):
    allowed = budget.draw(loss, 40_000, 0, "rollout", 3, "hidden budget")
    assert allowed.min() == 1 and (allowed == np.floor(allowed)).all()
    for attempts in (1, 2, 3):
        expected = (1 - loss) ** attempts
        error = np.sqrt(expected * (1 - expected) / len(allowed))
        assert abs((allowed > attempts).mean() - expected) < 5 * error


def test_a_larger_loss_never_allows_more_and_the_largest_allows_one():
    draws = [budget.draw(loss, 1000, 0, "rollout", 3) for loss in (1e-12, 0.2, 0.5, 0.99, 1)]
    assert all((more >= fewer).all() for more, fewer in zip(draws, draws[1:], strict=False))
    assert draws[0].min() > 100 and (draws[-1] == 1).all()
    assert (draws[1] == budget.draw(0.2, 1000, 0, "rollout", 3)).all()
    assert (draws[1] != budget.draw(0.2, 1000, 0, "rollout", 4)).any()


@pytest.mark.parametrize("template", ["compact", "chat"])
@pytest.mark.parametrize(("task", "row"), [(countdown, PUZZLE), (multiplication, {"a": 47, "b": 86})])
def test_a_text_is_cut_in_the_first_attempt_over_the_budget(task, row, template):
    dice, options = np.random.default_rng(0), task.Options(persistence=1.0, max_attempts=5)
    for _ in range(20):
        text = task.trace(row, dice, options, template)
        attempts = task.score(text, row, options).attempts
        for allowed in range(1, attempts):
            cut = budget.cut(text, allowed, lambda part: task.score(part, row, options))
            verdict = task.score(cut, row, options)
            assert text.startswith(cut) and "</think>" not in cut
            assert (verdict.attempts, verdict.reward, verdict.correct, verdict.formatted) == (allowed, 0, False, False)
            assert task.score(text[: len(cut) + 1], row, options).attempts == allowed + 1


def test_an_answer_before_the_cut_is_not_paid():
    text = "3*5+7=22yes</think>\n<answer>3*5+7</answer>3+5+7=15no</think>"
    cut = budget.cut(text, 1, lambda part: countdown.score(part, PUZZLE))
    assert cut == "3*5+7=22yes"


def test_only_answers_over_their_budget_lose_their_verdict():
    task = {"name": "countdown"}
    texts = [RIGHT, RIGHT, RIGHT, "3*5+7=22yes</think>\n<answer>3*5+7</answer>"]
    settings = {"batch": "test", "seconds": 60}
    written = score(task, [PUZZLE], texts, **settings)
    assert score(task, [PUZZLE], texts, **settings, allowed=[np.inf] * 4) == written
    scores = score(task, [PUZZLE], texts, **settings, allowed=[1, 2, 3, 1])
    assert scores[2:] == written[2:] and [verdict.reward for verdict in written] == pytest.approx([1.1] * 4)
    assert [(verdict.reward, verdict.attempts) for verdict in scores[:2]] == [(0, 1), (0, 2)]
