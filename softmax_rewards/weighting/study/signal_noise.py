"""Signal-to-noise of a batch's gradient, predicted from rewards and weights.

The model makes two assumptions. Score vectors (gradients of the log-likelihood) of different samples are independent,
with mean 0 and equal length. Along the true gradient, a score is proportional to c - p: right (1) or wrong (0), minus
the success rate. Then the mean of weight times score over n samples has mean ~ E[w (c - p)] and standard deviation
~ sqrt(E[w^2]/n). This is a model of weights, not of a policy. Only ratios between schemes can be compared with
measurements (`verdicts/signal_noise.py`).
"""

from typing import Any

import numpy as np

from softmax_rewards.weighting.study.populations import Population, by_right, weigh


def at_success(scheme: str, hyperparameters: dict[str, Any], success: float, group_size: int) -> tuple[float, float]:
    """Exact signal E[w (c - p)] and noise sqrt(E[w^2]) per sample, at success rate p, for 0/1 rewards.

    The ratio is at most sqrt(p (1 - p)).
    """
    groups = by_right(success, group_size)
    return exact(weigh(groups, scheme, hyperparameters), groups, success)


def exact(w: np.ndarray, groups: Population, success: float) -> tuple[float, float]:
    """The same for weights w [G, N] of a population whose counts are probabilities.

    success  success rate, the same for all prompts
    """
    signal = _signals(w, groups.correct, success) @ groups.counts
    # Rounding makes the signal of a scheme without signal exactly 0 on every machine.
    return round(float(signal), 15), float(np.sqrt(np.mean(w**2, axis=-1) @ groups.counts))


def moments(w: np.ndarray, groups: Population) -> tuple[np.ndarray, np.ndarray]:
    """Signal [G] and mean squared weight [G] of each distinct group of a sample, for weights w [G, N]."""
    # A constant weight has no expected signal, but in a finite sample it has a random one. So it is left out.
    constant = w.mean(axis=-1) @ groups.counts / groups.counts.sum()
    return _signals(w - constant, groups.correct, success_of_prompts(groups)), np.mean(w**2, axis=-1)


def of_groups(scheme: str, hyperparameters: dict[str, Any], groups: Population) -> float:
    """The predicted ratio for a sample of groups, per square root of the number of samples."""
    w = weigh(groups, scheme, hyperparameters)
    signal, square = (part @ groups.counts / groups.counts.sum() for part in moments(w, groups))
    return float(signal / np.sqrt(square)) if square > 0 else 0.0


def success_of_prompts(groups: Population) -> np.ndarray:
    """Estimated success rate of each group's prompt [G, 1]: the group's own rate, shrunk towards the mean rate.

    Bühlmann's credibility: a group's own rate counts more if groups differ more than chance alone would make them. This
    matters only for schemes whose mean weight differs between groups.
    """
    rates = groups.correct.mean(axis=-1)
    mean, credibility = prompts(rates, groups.counts, groups.rewards.shape[1])
    return (mean + credibility * (rates - mean))[:, None]


def prompts(rates: np.ndarray, counts: np.ndarray, size: int) -> tuple[float, float]:
    """Mean success and credibility of a group's own rate, from rates [G] of right samples in groups of `size`."""
    share, total = counts / counts.sum(), counts.sum()
    mean = rates @ share
    spread = (rates - mean) ** 2 @ share * total / max(total - 1, 1)
    chance = rates * (1 - rates) @ share / (size - 1)
    return mean, max(0.0, 1 - chance / spread) if spread > 0 else 0.0


def _signals(weights: np.ndarray, correct: np.ndarray, success: float | np.ndarray) -> np.ndarray:
    """Each group's part [G] of the signal: mean over its samples of w (c - p). `success` is p, or p [G, 1] by group."""
    return np.mean(weights * (correct - success), axis=-1)
