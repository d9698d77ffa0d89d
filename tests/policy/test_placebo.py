"""The placebo reward: drawn at random, and the verifier's verdicts stay beside it."""

import numpy as np
import pytest
import torch

from softmax_rewards.config.run import ConfigError, Training
from softmax_rewards.data.tasks import Score
from softmax_rewards.policy import placebo
from softmax_rewards.policy.decoding import Completions
from softmax_rewards.policy.rollout import Rollouts


def rollouts(reward):
    drawn = Completions(*torch.ones(4, 4000, 2), torch.ones(4000, dtype=torch.bool))
    scores = [Score(reward, reward > 1, True, 2, 1, False)] * 4000
    return Rollouts([[1]] * 1000, [""] * 1000, drawn, [""] * 4000, scores, 4)


def test_rewards_are_drawn_whatever_the_verifier_says():
    key = (0, "placebo", 3)
    before = rollouts(0.1)
    after = placebo.drawn(before, 0.3, (0.0, 1.1), *key)
    rewards, correct = after.field("reward"), after.field("correct", bool)
    assert (rewards == np.where(correct, 1.1, 0.0)).all()
    assert abs(correct.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 4000)
    assert (before.field("reward") == 0.1).all() and after.field("formatted").all()
    # Another ablation has other answers and the same draws.
    assert (placebo.drawn(rollouts(1.1), 0.3, (0.0, 1.1), *key).field("reward") == rewards).all()
    assert (placebo.drawn(before, 0.3, (0.0, 1.1), 0, "placebo", 4).field("reward") != rewards).any()


@pytest.mark.parametrize("teacher", [{"injection": 1.0}, {"imitation": 1.0}, {"target": 0.1}])
def test_no_teacher_beside_it(teacher):
    (name,) = teacher
    message = f"^training.placebo: 0.5 is not allowed; allowed: null beside training.{name}$"
    with pytest.raises(ConfigError, match=message):
        Training(placebo=0.5, **teacher)
