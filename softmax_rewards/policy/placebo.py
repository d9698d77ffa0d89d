"""The placebo reward: drawn at random, whatever the answer is (`training.placebo`).

A policy that improves with it does not improve because of its rewards. Source: Spurious Rewards (arXiv 2506.10947).
"""

import dataclasses

from softmax_rewards.common.randomness import numpy_stream
from softmax_rewards.policy.rollout import Rollouts


def drawn(rollouts: Rollouts, probability: float, reward_range: tuple[float, float], *key: int | str) -> Rollouts:
    """The rollouts with random verdicts: right with this `probability`, and rewarded with an end of `reward_range`.

    The verdicts come from the random stream `key`.
    """
    lowest, highest = reward_range
    right = (numpy_stream(*key).random(len(rollouts.scores)) < probability).tolist()
    scores = [
        dataclasses.replace(score, reward=highest if lucky else lowest, correct=lucky)
        for score, lucky in zip(rollouts.scores, right, strict=True)
    ]
    return dataclasses.replace(rollouts, scores=scores)
