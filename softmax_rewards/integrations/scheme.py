"""A scheme for another project's trainer: samples in any order, groups of any size, τ at the trainer's step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from softmax_rewards import weighting
from softmax_rewards.weighting import temperature

LARGEST_GROUP = 1024  # size of the group on which a scheme is tried out; `passk` refuses a k above the group size
ROUNDING = 1e-5  # share of the reward range; needed because trainers store rewards in float32


@dataclass(frozen=True)
class Scheme:
    """A scheme with its hyperparameters, and what it must know about the rewards of a task.

    weighting     {"scheme": name, hyperparameter: value}, as in a config; `tau` may be "auto" or a schedule
    reward_range  the lowest and the highest reward that a sample can get
    threshold     a sample with at least this reward is right; default: the highest reward
    Raises ValueError, one line, for a name, a hyperparameter, a range or a threshold that is not allowed.
    """

    weighting: Mapping[str, Any]
    reward_range: tuple[float, float]
    threshold: float | None = None

    def __post_init__(self) -> None:
        ends = self.reward_range
        if len(ends) != 2 or not (all(map(math.isfinite, ends)) and ends[0] < ends[1]):
            raise ValueError(f"reward_range: {ends}; allowed: two finite numbers, the lower one first")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ValueError(f"threshold: {self.threshold}; allowed: a finite number, or None for the highest reward")
        if "scheme" not in self.weighting:
            raise ValueError(
                f"weighting: {dict(self.weighting)}; allowed: a scheme among {', '.join(weighting.names())}"
            )
        # Wrong hyperparameters are refused here, before training, and not at the first batch.
        zeros = np.zeros(LARGEST_GROUP)
        self.weights(zeros, zeros, zeros)

    def right(self, rewards: np.ndarray) -> np.ndarray:
        """Which samples are right: rewards [B] → bool [B]."""
        low, high = self.reward_range
        threshold = high if self.threshold is None else self.threshold
        return np.asarray(rewards) >= threshold - ROUNDING * (high - low)

    def weights(self, rewards: np.ndarray, right: np.ndarray, groups: np.ndarray, step: int = 0) -> np.ndarray:
        """Weights [B] (float64) of samples in any order. A sample alone in its group gets weight 0.

        rewards  [B], finite
        right    [B], 0/1
        groups   [B], labels; samples of one prompt have the same label
        step     the trainer's update, counted from 0
        Raises ValueError for what `weighting.compute` refuses, and for groups of several sizes if the scheme couples
        the groups of a batch and has no rule for such groups.
        """
        hyperparameters = {key: value for key, value in self.weighting.items() if key != "scheme"}
        if "tau" in hyperparameters:
            hyperparameters["tau"] = temperature.resolve(hyperparameters["tau"], step, self.reward_range)
        scheme = self.weighting["scheme"]
        rewards, right = np.asarray(rewards, dtype=np.float64), np.asarray(right)
        _, label, counts = np.unique(groups, return_inverse=True, return_counts=True)
        sizes = np.unique(counts).tolist()
        weights = np.zeros(len(rewards))
        if len(sizes) > 1 and weighting.couples_groups(scheme):
            if not weighting.takes_unequal_groups(scheme):  # it needs the batch as one array [Q, N]
                said = ", ".join(map(str, sizes))
                raise ValueError(f"scheme {scheme!r}: groups of {said} samples; allowed: one size")
            order = np.argsort(label, kind="stable")
            order = order[counts[label[order]] > 1]
            weights[order] = weighting.compute_unequal(
                scheme, rewards[order], right[order], counts[counts > 1], **hyperparameters
            )
            return weights
        for size in sizes:
            if size > 1:
                members = np.flatnonzero(counts[label] == size)
                # Sorted by label, each row of `rows` holds the positions of one group.
                rows = members[np.argsort(label[members], kind="stable")].reshape(-1, size)
                weights[rows] = weighting.compute(scheme, rewards[rows], right[rows], **hyperparameters)
        return weights
