"""Dynamic sampling: which groups are kept, in which order, and what is counted."""

import numpy as np
import pytest
import torch

from softmax_rewards.config.run import ConfigError, Training
from softmax_rewards.data.tasks import Score
from softmax_rewards.policy import dynamic_sampling
from softmax_rewards.policy.decoding import Completions
from softmax_rewards.policy.rollout import Rollouts

COUNT, SIZE, LONGEST = 4, 3, 5


def batches(contrasts):
    """A sampler whose batch b has contrast in its group g where contrasts[b][g] is true; and the batches it drew."""
    drawn = []

    def sample(number):
        drawn.append(number)
        groups = [100 * number + group for group in range(COUNT)]
        rows = [group for group in groups for _ in range(SIZE)]
        rewards = [float(varied and index == 0) for varied in contrasts[number] for index in range(SIZE)]
        lengths = torch.tensor([1 + row % LONGEST for row in range(len(rows))])
        tokens = torch.tensor(rows)[:, None].expand(-1, LONGEST)
        completions = Completions(tokens, tokens.float(), tokens.float(), lengths, lengths < LONGEST)
        scores = [Score(reward, reward > 0, True, row, 0, False) for reward, row in zip(rewards, rows, strict=True)]
        prompts = [[group] for group in groups]
        rollouts = Rollouts(prompts, list(map(str, groups)), completions, list(map(str, rows)), scores, SIZE, scores)
        return np.array(groups), rollouts

    return sample, drawn


@pytest.mark.parametrize(
    ("contrasts", "kept", "used"),
    [
        ([[1, 1, 1, 1], [1, 1, 1, 1]], [0, 1, 2, 3], 1),
        ([[1, 0, 1, 0], [0, 1, 1, 1], [1, 1, 1, 1]], [0, 2, 101, 102], 2),
        ([[0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]], [2, 103, 200, 0], 3),
        ([[0, 0, 0, 0], [0, 0, 0, 0]], [0, 1, 2, 3], 2),
        ([[0, 1, 0, 1]], [0, 1, 2, 3], 1),
    ],
)
def test_groups_with_contrast_come_first_and_equal_ones_fill_the_step(contrasts, kept, used):
    sample, drawn = batches(contrasts)
    collected = dynamic_sampling.collect(sample, len(contrasts))
    assert drawn == list(range(used))
    assert collected.indices.tolist() == kept
    assert collected.samples == used * COUNT * SIZE
    assert collected.tokens == used * sum(1 + row % LONGEST for row in range(COUNT * SIZE))
    rollouts = collected.rollouts
    rows = [group for group in kept for _ in range(SIZE)]
    assert rollouts.prompts == [[group] for group in kept] and rollouts.prompt_texts == list(map(str, kept))
    assert rollouts.texts == list(map(str, rows)) and rollouts.completions.tokens[:, 0].tolist() == rows
    assert [score.attempts for score in rollouts.scores] == rows == [score.attempts for score in rollouts.written]
    assert rollouts.lengths.shape == (COUNT, SIZE)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"injection": 1.0}, "1 beside training.injection, with which no group's rewards are equal"),
        ({"target": 0.1}, "1 beside training.target, with which no group's rewards are equal"),
        ({"placebo": 0.5}, "1 beside training.placebo, whose rewards do not depend on the answers"),
    ],
)
def test_what_it_has_no_meaning_with_is_refused(other, reason):
    with pytest.raises(ConfigError, match=f"^training.max_num_gen_batches: .*{reason}$"):
        Training(max_num_gen_batches=2, **other)
    assert Training(max_num_gen_batches=2, skip_equal=True, hidden_budget=0.3, imitation=1.0)
