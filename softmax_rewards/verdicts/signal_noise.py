"""Signal-to-noise of a batch's gradient: measured from two halves of the batch, and predicted.

The gradients g1 and g2 of two independent halves of a batch have E[g1·g2] = |signal|². Each of them has E[|g|²] =
|signal|² + noise². So their cosine c is about |signal|²/(|signal|² + noise²), and a half has signal/noise =
sqrt(c/(1 - c)). The whole batch has less noise: its signal/noise is sqrt(2) times as large. The prediction comes from
`weighting/study/signal_noise.py`.
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

UNDEFINED = 0.05  # if this share of the steps or more has no cosine, no mean is given
COLUMNS = ["ablation", "scheme", "tau", "seeds", "undefined", "cosine", "cosine_low", "cosine_high"]
COLUMNS += ["snr", "snr_low", "snr_high", "predicted", "predicted_cosine"]


def measured(runs: Sequence[FinishedRun], reward_range: tuple[float, float]) -> pd.DataFrame:
    """One row per ablation whose runs logged `gradient_cosine`, columns COLUMNS. The first ablation is the baseline.

    tau        a constant temperature; NaN for a scheme without τ and for a schedule
    undefined  share of the steps without a cosine. A step has none if the gradient of one half is 0
    cosine     mean over the steps of each run, then over seeds, with a t interval over seeds; NaN if `undefined` is
               UNDEFINED or more
    snr        signal-to-noise of a whole batch, from the cosine and its limits; 0 for a cosine below 0
    predicted  signal-to-noise by `of_groups`, from all groups that the ablation trained on. It is given for one sample:
               for n samples it is sqrt(n) times as large. NaN for a schedule and for a training setting other than the
               baseline's
    predicted_cosine  the cosine that `predicted` implies. The prediction is known up to one factor, the same for all
                      ablations. It is fitted to the measured cosines by least squares, weighted by seeds
    """
    rows = []
    for ablation, members in by_ablation(runs):
        if "gradient_cosine" not in members[0].metrics:
            continue
        config = members[0].record["config"]
        undefined = float(np.mean([run.metrics["gradient_cosine"].isna().mean() for run in members]))
        limits = (math.nan,) * 3
        # A step without a cosine showed no signal. If many such steps are left out, the mean of the others is too high.
        if undefined < UNDEFINED:
            interval = mean_interval([run.metrics["gradient_cosine"].mean() for run in members])
            limits = (interval.estimate, interval.low, interval.high)
        scheme, hyperparameters = _setting(config["weighting"], reward_range)
        predicted = math.nan
        # In another setting the gradient may have a further part, such as a KL term, that the prediction leaves out.
        # The logged rewards are not those of a placebo.
        placebo = config["training"].get("placebo") is not None
        if hyperparameters is not None and not placebo and config["training"] == runs[0].record["config"]["training"]:
            predicted = of_groups(scheme, hyperparameters, from_log(pd.concat([run.groups for run in members])))
        tau = (hyperparameters or {}).get("tau", math.nan)
        rows.append((ablation, scheme, tau, len(members), undefined, *limits, *map(of_cosine, limits), predicted))
    # In a table without rows pandas would take `predicted` for a column of objects.
    table = pd.DataFrame(rows, columns=COLUMNS[:-1]).astype({"predicted": float})
    # A half has (signal/noise)² = c/(1 - c), here `odds`. The fit is odds ≈ factor · predicted².
    known = table.dropna(subset=["predicted", "cosine"])
    squares, odds = known["predicted"] ** 2, known["cosine"] / (1 - known["cosine"])
    scaled = table["predicted"] ** 2 * (known["seeds"] * squares @ odds) / (known["seeds"] * squares @ squares)
    return table.assign(predicted_cosine=scaled / (1 + scaled))


def of_cosine(cosine: float) -> float:
    """Signal-to-noise of a whole batch from the cosine of its halves' gradients."""
    return cosine if math.isnan(cosine) else math.sqrt(2 * max(0.0, cosine) / (1 - cosine)) if cosine < 1 else math.inf


def _setting(spec: Mapping[str, Any], reward_range: tuple[float, float]) -> tuple[str, dict[str, Any] | None]:
    """Scheme and hyperparameters of a config's weighting. Hyperparameters are None if τ follows a schedule."""
    hyperparameters = {name: value for name, value in spec.items() if name != "scheme"}
    tau = hyperparameters.get("tau")
    if temperature.is_schedule(tau):
        return spec["scheme"], None
    if tau is not None:
        # Without a schedule τ is the same at every step, so step 0 is enough.
        hyperparameters["tau"] = temperature.resolve(tau, 0, reward_range)
    return spec["scheme"], hyperparameters
