"""A scheme for another project's trainer: samples in any order, groups of any size, τ at the trainer's step."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from softmax_rewards import weighting
from softmax_rewards.weighting import temperature

LARGEST_GROUP = 1024  # size of the group on which a scheme is tried out; `passk` refuses a k above the group size
ROUNDING = 1e-5  # share of the reward range; needed because trainers store rewards in float32

_warned: set[tuple[float, ...]] = set()  # ranges; a trainer may make a new `Scheme` for every batch


@dataclass(frozen=True)
class Scheme:
    """A scheme with its hyperparameters, and what it must know about the rewards of a task.

    weighting     {"scheme": name, hyperparameter: value}, as in a config; `tau` may be "auto" or a schedule
    reward_range  the lowest and the highest reward that a sample can get
    threshold     a sample with at least this reward is right; default: the highest reward
    Raises ValueError, one line, for a name, a hyperparameter, a range or a threshold that is not allowed.

    Every reward is compared with the range. A reward outside it is an error where τ or what is right follows from the
    range, because the weights would be wrong. Elsewhere it is a warning, once.
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
        self._weights(zeros, zeros, zeros)

    def right(self, rewards: np.ndarray) -> np.ndarray:
        """Which samples are right: rewards [B] → bool [B]. A reward of NaN is not right.

        Raises ValueError for a reward above the range if the range decides what is right and the scheme asks for it.
        """
        low, high = self.reward_range
        rewards = np.asarray(rewards)
        above = rewards[rewards > high + ROUNDING * (high - low)]
        if self.threshold is None and len(above) and self._uses_right:
            decides = "its upper end decides what is right"
            raise ValueError(f"{self._outside(above)}, and {decides}; allowed: a range of all rewards, or a threshold")
        return rewards >= (high if self.threshold is None else self.threshold) - ROUNDING * (high - low)

    def weights(self, rewards: np.ndarray, right: np.ndarray, groups: np.ndarray, step: int = 0) -> np.ndarray:
        """Weights [B] (float64) of samples in any order. A sample alone in its group gets weight 0.

        rewards  [B], finite
        right    [B], 0/1
        groups   [B], labels; samples of one prompt have the same label
        step     the trainer's update, counted from 0
        Raises ValueError for what `weighting.compute` refuses, for a reward outside the range if τ is a share of the
        range, and for groups of several sizes if the scheme couples the groups of a batch and has no rule for them.
        """
        rewards = np.asarray(rewards, dtype=np.float64)
        self._check_range(rewards)
        return self._weights(rewards, np.asarray(right), groups, step)

    def _check_range(self, rewards: np.ndarray) -> None:
        low, high = self.reward_range
        rounding = ROUNDING * (high - low)
        outside = rewards[(rewards < low - rounding) | (rewards > high + rounding)]
        if not len(outside):
            return
        tau = self.weighting.get("tau")
        if tau == "auto" or (isinstance(tau, Mapping) and "auto" in tau):
            raise ValueError(f"{self._outside(outside)}, and tau is a share of it; allowed: a range of all rewards")
        if (low, high) not in _warned:
            _warned.add((low, high))
            hint = "check the reward functions and their weights; this scheme's weights do not depend on the range"
            warnings.warn(f"{self._outside(outside)}: {hint}", stacklevel=3)

    def _outside(self, rewards: np.ndarray) -> str:
        """The reward that is farthest outside the range, in words."""
        low, high = self.reward_range
        farthest = rewards[np.argmax(np.abs(rewards - (low + high) / 2))]
        return f"reward {farthest:.6g} is outside reward_range ({low:g}, {high:g})"

    @cached_property
    def _uses_right(self) -> bool:
        """Whether the weights depend on what is right. It is tried out on one group, right nowhere or in places."""
        rewards, group = np.linspace(*self.reward_range, LARGEST_GROUP), np.zeros(LARGEST_GROUP)
        nowhere, places = (self._weights(rewards, right, group) for right in (group, np.arange(LARGEST_GROUP) % 2))
        return not np.array_equal(nowhere, places)

    def _weights(self, rewards: np.ndarray, right: np.ndarray, groups: np.ndarray, step: int = 0) -> np.ndarray:
        hyperparameters = {key: value for key, value in self.weighting.items() if key != "scheme"}
        if "tau" in hyperparameters:
            hyperparameters["tau"] = temperature.resolve(hyperparameters["tau"], step, self.reward_range)
        scheme = self.weighting["scheme"]
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
