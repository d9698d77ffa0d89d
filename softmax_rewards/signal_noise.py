"""Signal-to-noise of a batch's gradient: predicted from rewards and weights, measured between two halves of a batch.

Predicted. Score vectors of different samples are taken to be independent with mean 0 and equal length, and along the
true gradient a score to be proportional to c - p (right or not, less the success rate). The mean of weight times score
over n samples then has mean ~ E[w (c - p)] and standard deviation ~ sqrt(E[w^2]/n). A model of weights, not of a
policy: only ratios between schemes can be compared with what is measured.

Measured. The gradients of two independent halves of a batch have E[g1·g2] = |signal|^2 and E[|g|^2] = |signal|^2 +
noise^2, so that their cosine c gives, for the half, signal/noise = sqrt(c/(1 - c)); the whole has sqrt(2) times that.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from softmax_rewards import temperature, weighting
from softmax_rewards.finished import FinishedRun, by_ablation
from softmax_rewards.populations import Population, by_right, from_log
from softmax_rewards.stats import mean_interval

UNDEFINED = 0.05  # share of steps without a cosine up to which the others stand for all
COLUMNS = ["ablation", "scheme", "tau", "seeds", "undefined", "cosine", "cosine_low", "cosine_high"]
COLUMNS += ["snr", "snr_low", "snr_high", "predicted", "predicted_cosine"]


def at_success(scheme: str, hyperparameters: dict[str, Any], success: float, group_size: int) -> tuple[float, float]:
    """Signal E[w (c - p)] and noise sqrt(E[w^2]) per sample, at success rate p, for 0/1 rewards; exact.

    The ratio is at most sqrt(p (1 - p)). A common factor cancels: a scheme that couples groups is shown each
    composition once.
    """
    groups = by_right(success, group_size)
    w = weighting.compute(scheme, groups.rewards, groups.correct, **hyperparameters)
    signal = _signals(w, groups.correct, success) @ groups.counts
    # Rounded: a scheme without signal gives 0, not the rounding errors of one machine.
    return round(float(signal), 15), float(np.sqrt(np.mean(w**2, axis=-1) @ groups.counts))


def moments(w: np.ndarray, groups: Population) -> tuple[np.ndarray, np.ndarray]:
    """Signal and mean squared weight [G] of each distinct group, for weights w [G, N] of groups as they were seen."""
    # A constant has no expected signal; without it that of a sample of groups is free of the constant's noise.
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
    own = max(0.0, 1 - chance / spread) if spread > 0 else 0.0
    return (mean + own * (rates - mean))[:, None]


def _signals(weights: np.ndarray, correct: np.ndarray, success: float | np.ndarray) -> np.ndarray:
    """Each group's part [G] of the signal, the mean over its samples of w (c - p); success: p, or each p [G, 1]."""
    return np.mean(weights * (correct - success), axis=-1)


def measured(runs: Sequence[FinishedRun], reward_range: tuple[float, float]) -> pd.DataFrame:
    """A row an arm whose runs logged `gradient_cosine`, columns COLUMNS; the first arm is the baseline.

    tau        of a constant temperature; NaN for a scheme without and for a schedule
    undefined  share of the steps without a cosine, where half a batch had no weight: such steps have no signal, so that
               the mean of the others is too high, and from UNDEFINED on not given
    cosine     its mean over the steps of a run, then over seeds, with the t interval over seeds
    snr        of a whole batch, from the cosine and its limits; a cosine below 0 gives 0
    predicted  `of_groups` of all groups that the arm trained on, per square root of the number of samples; NaN for a
               schedule, and in another setting than the baseline's, whose gradient may have other parts
    predicted_cosine  what that ratio makes of a half's, with one factor for all arms: least squares, weighted by seeds
    """
    rows = []
    for ablation, own in by_ablation(runs):
        if "gradient_cosine" not in own[0].metrics:
            continue
        config = own[0].record["config"]
        undefined = float(np.mean([run.metrics["gradient_cosine"].isna().mean() for run in own]))
        limits = (math.nan,) * 3
        if undefined < UNDEFINED:
            found = mean_interval([run.metrics["gradient_cosine"].mean() for run in own])
            limits = (found.estimate, found.low, found.high)
        scheme, hyperparameters = _setting(config["weighting"], reward_range)
        predicted = math.nan
        if hyperparameters is not None and config["training"] == runs[0].record["config"]["training"]:
            predicted = of_groups(scheme, hyperparameters, from_log(pd.concat([run.groups for run in own])))
        tau = (hyperparameters or {}).get("tau", math.nan)
        rows.append((ablation, scheme, tau, len(own), undefined, *limits, *map(of_cosine, limits), predicted))
    table = pd.DataFrame(rows, columns=COLUMNS[:-1]).astype({"predicted": float})
    # Of a half: (signal/noise)^2 = c/(1 - c).
    known = table.dropna(subset=["predicted", "cosine"])
    squares, odds = known["predicted"] ** 2, known["cosine"] / (1 - known["cosine"])
    scaled = table["predicted"] ** 2 * (known["seeds"] * squares @ odds) / (known["seeds"] * squares @ squares)
    return table.assign(predicted_cosine=scaled / (1 + scaled))


def of_cosine(cosine: float) -> float:
    """Signal-to-noise of a whole batch from the cosine of its halves' gradients."""
    return cosine if math.isnan(cosine) else math.sqrt(2 * max(0.0, cosine) / (1 - cosine)) if cosine < 1 else math.inf


def _setting(spec: Mapping[str, Any], reward_range: tuple[float, float]) -> tuple[str, dict[str, Any] | None]:
    """Scheme and hyperparameters of a config's weighting; None instead of these if τ follows a schedule."""
    hyperparameters = {name: value for name, value in spec.items() if name != "scheme"}
    tau = hyperparameters.get("tau")
    if temperature.is_schedule(tau):
        return spec["scheme"], None
    if tau is not None:
        hyperparameters["tau"] = temperature.resolve(tau, 0, reward_range)
    return spec["scheme"], hyperparameters
