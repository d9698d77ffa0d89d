"""A scheme for another project's trainer: flat samples, groups of any size, τ at the trainer's step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from softmax_rewards import weighting
from softmax_rewards.weighting import temperature

LARGEST_GROUP = 1024  # on which a scheme is tried out, so that hyperparameters like the k of `passk` fit
ROUNDING = 1e-5  # share of the reward range; trainers keep rewards in float32


@dataclass(frozen=True)
class Scheme:
    """The weighting of an ablation and the rewards of its task, for a trainer that knows neither.

    weighting     {"scheme": name, hyperparameter: value}, as in a config; `tau` may be "auto" or a schedule
    reward_range  the lowest and the highest reward that a sample can get
    threshold     the reward from which a sample is right; default: the highest
    Raises ValueError in one line for a name, a hyperparameter, a range or a threshold that is not allowed.
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
        zeros = np.zeros(LARGEST_GROUP)
        self.weights(zeros, zeros, zeros)

    def right(self, rewards: np.ndarray) -> np.ndarray:
        """Which samples are right; rewards [B] -> bool [B]."""
        low, high = self.reward_range
        threshold = high if self.threshold is None else self.threshold
        return np.asarray(rewards) >= threshold - ROUNDING * (high - low)

    def weights(self, rewards: np.ndarray, right: np.ndarray, groups: np.ndarray, step: int = 0) -> np.ndarray:
        """Weights [B] (float64) of samples in any order.

        rewards [B] finite; right [B] 0/1; groups [B] labels, the same for the samples of one prompt; `step` counts
        the trainer's updates from 0. Each group is weighed as `weighting.compute` does. A group of one has nothing to
        be compared with: its weight is 0. ValueError for what `weighting.compute` refuses, and for groups of several
        sizes where the scheme's weights depend on all groups of the batch.
        """
        hyperparameters = {key: value for key, value in self.weighting.items() if key != "scheme"}
        if "tau" in hyperparameters:
            hyperparameters["tau"] = temperature.resolve(hyperparameters["tau"], step, self.reward_range)
        scheme = self.weighting["scheme"]
        rewards, right = np.asarray(rewards, dtype=np.float64), np.asarray(right)
        _, label, counts = np.unique(groups, return_inverse=True, return_counts=True)
        sizes = np.unique(counts).tolist()
        if len(sizes) > 1 and weighting.couples_groups(scheme):
            raise ValueError(f"scheme {scheme!r}: groups of {', '.join(map(str, sizes))} samples; allowed: one size")
        weights = np.zeros(len(rewards))
        for size in sizes:
            if size > 1:
                rows = np.flatnonzero(counts[label] == size)
                rows = rows[np.argsort(label[rows], kind="stable")].reshape(-1, size)
                weights[rows] = weighting.compute(scheme, rewards[rows], right[rows], **hyperparameters)
        return weights
