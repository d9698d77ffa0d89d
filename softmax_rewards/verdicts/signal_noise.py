"""Signal-to-noise of a batch's gradient: measured from two halves of the batch, and predicted.

The gradients of two independent halves of a batch have E[g1·g2] = |signal|² and E[|g|²] = |signal|² + noise². So their
cosine c gives signal/noise = sqrt(c/(1 - c)) for a half, and sqrt(2) times that for the whole batch. The prediction
comes from `weighting/study/signal_noise.py`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from softmax_rewards.common.stats import mean_interval
from softmax_rewards.verdicts.finished import FinishedRun, by_ablation
from softmax_rewards.weighting import temperature
from softmax_rewards.weighting.study.populations import from_log
from softmax_rewards.weighting.study.signal_noise import of_groups

UNDEFINED = 0.05  # from this share of steps without a cosine on, no mean is given
COLUMNS = ["ablation", "scheme", "tau", "seeds", "undefined", "cosine", "cosine_low", "cosine_high"]
COLUMNS += ["snr", "snr_low", "snr_high", "predicted", "predicted_cosine"]


def measured(runs: Sequence[FinishedRun], reward_range: tuple[float, float]) -> pd.DataFrame:
    """One row per ablation whose runs logged `gradient_cosine`, columns COLUMNS. The first ablation is the baseline.

    tau        a constant temperature; NaN for a scheme without τ and for a schedule
    undefined  share of the steps without a cosine, because half a batch had no weight
    cosine     mean over the steps of a run, then over seeds, with the t interval over seeds
    snr        signal-to-noise of a whole batch, from the cosine and its limits; 0 for a cosine below 0
    predicted  `of_groups` of all groups that the ablation trained on, per square root of the number of samples; NaN for
               a schedule and for a setting other than the baseline's
    predicted_cosine  the cosine of a half that follows from `predicted` with one factor for all ablations, fitted by
                      least squares weighted by seeds
    """
    rows = []
    for ablation, members in by_ablation(runs):
        if "gradient_cosine" not in members[0].metrics:
            continue
        config = members[0].record["config"]
        undefined = float(np.mean([run.metrics["gradient_cosine"].isna().mean() for run in members]))
        limits = (math.nan,) * 3
        # Steps without a cosine have no signal. Leaving out many of them would make the mean of the others too high.
        if undefined < UNDEFINED:
            interval = mean_interval([run.metrics["gradient_cosine"].mean() for run in members])
            limits = (interval.estimate, interval.low, interval.high)
        scheme, hyperparameters = _setting(config["weighting"], reward_range)
        predicted = math.nan
        # In another setting the gradient may have other parts, such as a KL term, which the prediction does not know.
        if hyperparameters is not None and config["training"] == runs[0].record["config"]["training"]:
            predicted = of_groups(scheme, hyperparameters, from_log(pd.concat([run.groups for run in members])))
        tau = (hyperparameters or {}).get("tau", math.nan)
        rows.append((ablation, scheme, tau, len(members), undefined, *limits, *map(of_cosine, limits), predicted))
    table = pd.DataFrame(rows, columns=COLUMNS[:-1]).astype({"predicted": float})
    # For a half batch, (signal/noise)² = c/(1 - c).
    known = table.dropna(subset=["predicted", "cosine"])
    squares, odds = known["predicted"] ** 2, known["cosine"] / (1 - known["cosine"])
    scaled = table["predicted"] ** 2 * (known["seeds"] * squares @ odds) / (known["seeds"] * squares @ squares)
    return table.assign(predicted_cosine=scaled / (1 + scaled))


def of_cosine(cosine: float) -> float:
    """Signal-to-noise of a whole batch from the cosine of its halves' gradients."""
    return cosine if math.isnan(cosine) else math.sqrt(2 * max(0.0, cosine) / (1 - cosine)) if cosine < 1 else math.inf


def _setting(spec: Mapping[str, Any], reward_range: tuple[float, float]) -> tuple[str, dict[str, Any] | None]:
    """Scheme and hyperparameters of a config's weighting; the latter are None if τ follows a schedule."""
    hyperparameters = {name: value for name, value in spec.items() if name != "scheme"}
    tau = hyperparameters.get("tau")
    if temperature.is_schedule(tau):
        return spec["scheme"], None
    if tau is not None:
        hyperparameters["tau"] = temperature.resolve(tau, 0, reward_range)
    return spec["scheme"], hyperparameters
