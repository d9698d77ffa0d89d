"""Dynamic sampling: groups whose rewards are all equal are replaced by groups of further prompts.

Source: DAPO (arXiv 2503.14476, section 3.2).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from softmax_rewards.policy.rollout import Rollouts


@dataclass(frozen=True)
class Collected:
    """The rollouts of a step, and what they took."""

    rollouts: Rollouts  # Q groups
    indices: np.ndarray  # [Q], which train puzzles they answer
    samples: int  # all samples of the step, also those of discarded groups
    tokens: int  # the generated tokens of all these samples


def collect(sample: Callable[[int], tuple[np.ndarray, Rollouts]], most_batches: int) -> Collected:
    """Sample batches of Q prompts until Q groups have contrast, at most `most_batches` batches.

    `sample(number)` returns the puzzle indices and the rollouts of batch `number`, from 0. A group has contrast if its
    rewards are not all equal. If too few groups have contrast, groups of the first batch without contrast fill the
    step, so that its size is constant.
    """
    indices, rollouts = sample(0)
    count = len(indices)
    contrast = _contrast(rollouts)
    for number in range(1, most_batches):
        if contrast.sum() >= count:
            break
        # Every rank has the rollouts of all ranks. So all ranks decide the same, and share the chosen groups later.
        further_indices, further = sample(number)
        indices, rollouts = np.concatenate((indices, further_indices)), rollouts.followed_by(further)
        contrast = _contrast(rollouts)
    samples, tokens = len(rollouts.scores), int(rollouts.lengths.sum())
    if len(indices) > count:
        # A stable sort: first the groups with contrast, then the others, each in the order of sampling.
        chosen = np.argsort(~contrast, kind="stable")[:count]
        indices, rollouts = indices[chosen], rollouts.groups(chosen.tolist())
    return Collected(rollouts, indices, samples, tokens)


def _contrast(rollouts: Rollouts) -> np.ndarray:
    """Whether the rewards of each group differ, bool `[Q]`."""
    return np.ptp(rollouts.field("reward"), axis=1) > 0
