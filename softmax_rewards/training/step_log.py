"""The step log: what a step's weights push, and whether searches go on, as columns of the metrics table.

Everything here is computed from the rollouts and weights of a whole step, so every rank gets the same values. A value
that is not defined is NaN and leaves its cell empty.
"""

import math

import numpy as np

from softmax_rewards.config.run import Training
from softmax_rewards.policy.objective import sample_scales
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.update import sample_mask

LAST = 4  # attempts from this one on are counted together


def row(settings: Training, rollouts: Rollouts, batch: Rollouts, weights: np.ndarray) -> dict[str, float]:
    """All columns of the step. `weights[Q, N']` belong to the `batch`, which may add a reference answer to each group.

    Reference answers are left out, because the policy did not sample them.
    """
    size = rollouts.group_size
    weights = weights[:, :size]
    mask = sample_mask(settings, batch).reshape(-1, batch.group_size)[:, :size]
    correct, lengths = rollouts.field("correct", bool), rollouts.lengths
    scales = sample_scales(lengths.ravel(), mask.ravel(), settings.loss_aggregation, settings.max_new_tokens)
    return {
        "weight_all_wrong": _share(mask * weights**2, np.logical_not(correct.any(axis=1, keepdims=True))),
        **gradient_mass(scales.reshape(weights.shape) * weights, lengths, correct),
        "corr_format_length": within_group_correlation(rollouts.field("formatted"), lengths),
        "corr_weight_length": within_group_correlation(weights, lengths),
        **continuation(rollouts.as_written),
    }


def gradient_mass(factors: np.ndarray, lengths: np.ndarray, correct: np.ndarray) -> dict[str, float]:
    """Shares of the gradient mass Σ |s_i w_i| n_i by the pass rate of the group, and the share with a negative weight.

    `factors[Q, N]` are the s_i·w_i, `lengths[Q, N]` the numbers of tokens n_i. The mass is a sum over tokens, because
    the gradient is one.
    """
    mass, rates = np.abs(factors) * lengths, correct.mean(axis=1, keepdims=True)
    bins = {
        "mass_0": rates == 0,
        "mass_to_25": (rates > 0) & (rates <= 0.25),
        "mass_to_50": (rates > 0.25) & (rates <= 0.5),
        "mass_below_100": (rates > 0.5) & (rates < 1),
        "mass_100": rates == 1,
        "mass_negative": factors < 0,
    }
    return {name: _share(mass, chosen) for name, chosen in bins.items()}


def within_group_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """The pooled correlation of two values `[Q, N]` within groups: both are centered by the mean of their group.

    NaN if one of them is constant in every group.
    """
    first, second = _centered(one), _centered(other)
    scale = math.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum()) / scale if scale else math.nan


def continuation(rollouts: Rollouts) -> dict[str, float]:
    """How often the search goes on after a wrong attempt: after attempt 1, 2 and 3, and after any later one.

    A sample with A attempts went on after its first A − 1. Its last attempt counts as wrong if the answer is wrong. It
    is left out if the sample is unfinished, because such a search was cut off.
    """
    attempts = rollouts.field("attempts", int)
    finished = rollouts.completions.finished.cpu().numpy().reshape(attempts.shape)
    stopped = finished & ~rollouts.field("correct", bool)
    shares = {}
    for index in range(1, LAST + 1):
        last = index == LAST
        went_on = np.maximum(attempts - index, 0).sum() if last else (attempts > index).sum()
        ended = (stopped & ((attempts >= index) if last else (attempts == index))).sum()
        shares[f"continued_{index}"] = float(went_on / (went_on + ended)) if went_on + ended else math.nan
    return shares


def _share(values: np.ndarray, chosen: np.ndarray) -> float:
    """The share of the sum of `values` that is `chosen`; NaN if the sum is 0."""
    total = values.sum()
    return float((values * chosen).sum() / total) if total else math.nan


def _centered(values: np.ndarray) -> np.ndarray:
    """The values minus the mean of their group."""
    # A mean of equal numbers may be rounded. Then a constant group would seem to vary.
    varies = np.ptp(values, axis=1, keepdims=True) > 0
    return np.where(varies, values - values.mean(axis=1, keepdims=True), 0.0)
