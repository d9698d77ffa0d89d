"""Signal-to-noise of a batch's gradient, predicted from rewards and weights.

Score vectors of different samples are assumed to be independent, with mean 0 and equal length. Along the true gradient
a score is assumed to be proportional to c - p (right or not, minus the success rate). The mean of weight times score
over n samples then has mean ~ E[w (c - p)] and standard deviation ~ sqrt(E[w^2]/n). This models weights, not a policy:
only ratios between schemes can be compared with what is measured (`verdicts/signal_noise.py`).
"""

from typing import Any

import numpy as np

from softmax_rewards import weighting
from softmax_rewards.weighting.study.populations import Population, by_right


def at_success(scheme: str, hyperparameters: dict[str, Any], success: float, group_size: int) -> tuple[float, float]:
    """Signal E[w (c - p)] and noise sqrt(E[w^2]) per sample, at success rate p, for 0/1 rewards; exact.

    The ratio is at most sqrt(p (1 - p)). A common factor cancels: a scheme that couples groups is shown each
    composition once.
    """
    groups = by_right(success, group_size)
    w = weighting.compute(scheme, groups.rewards, groups.correct, **hyperparameters)
    signal = _signals(w, groups.correct, success) @ groups.counts
    # Rounded, so that a scheme without signal gives 0 on every machine.
    return round(float(signal), 15), float(np.sqrt(np.mean(w**2, axis=-1) @ groups.counts))


def moments(w: np.ndarray, groups: Population) -> tuple[np.ndarray, np.ndarray]:
    """Signal and mean squared weight [G] of each distinct group, for weights w [G, N] of groups as they were seen."""
    # A constant has no expected signal. Without it, the signal of a finite sample is free of the constant's noise.
    constant = w.mean(axis=-1) @ groups.counts / groups.counts.sum()
    return _signals(w - constant, groups.correct, success_of_prompts(groups)), np.mean(w**2, axis=-1)


def of_groups(scheme: str, hyperparameters: dict[str, Any], groups: Population) -> float:
    """The predicted ratio per square root of the number of samples, for groups as they were seen."""
    w = weighting.compute(scheme, groups.rewards, groups.correct, **hyperparameters)
    signal, square = (part @ groups.counts / groups.counts.sum() for part in moments(w, groups))
    return float(signal / np.sqrt(square)) if square > 0 else 0.0


def success_of_prompts(groups: Population) -> np.ndarray:
    """Success rate of each group's prompt [G, 1]: the group's own, drawn towards that of all groups.

    Bühlmann's credibility: the more groups differ beyond what chance gives at one success rate, the more a group's own
    rate counts. It matters only for schemes whose mean weight differs between groups.
    """
    rates, share = groups.correct.mean(axis=-1), groups.counts / groups.counts.sum()
    size, total = groups.rewards.shape[1], groups.counts.sum()
    mean = rates @ share
    spread = (rates - mean) ** 2 @ share * total / max(total - 1, 1)
    chance = rates * (1 - rates) @ share / (size - 1)
    credibility = max(0.0, 1 - chance / spread) if spread > 0 else 0.0
    return (mean + credibility * (rates - mean))[:, None]


def _signals(weights: np.ndarray, correct: np.ndarray, success: float | np.ndarray) -> np.ndarray:
    """Each group's part [G] of the signal, the mean over its samples of w (c - p); success: p, or each p [G, 1]."""
    return np.mean(weights * (correct - success), axis=-1)
