"""The map of schemes: three figures that predict, before any training, what a scheme will do.

rho   signal-to-noise of one batch per square root of its samples (`signal_noise`): how fast success grows at first
tilt  g(1)/g(4), where g(k) is the weight of right samples minus that of wrong ones, a mean over the groups with k right
      samples (for a mean-zero scheme and rewards 0 and 1, w = g(k) (r - mean), see `analysis.difficulty`). It is 1 if a
      hard prompt counts as much as an easy one, and larger if hard prompts count more
X     the exchange rate of format against success (`exchange_rate`)
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from softmax_rewards import weighting
from softmax_rewards.weighting.study import analysis, signal_noise
from softmax_rewards.weighting.study.exchange_rate import expected_weights
from softmax_rewards.weighting.study.populations import Population, independent, weigh

GROUP_SIZE = 8
REWARD_RANGE = (0.0, 1.1)
POINTS = ((0.02, 0.5), (0.08, 0.98), (0.3, 0.7))  # (success, share of well-formed answers): the canonical populations
TAU = 0.5  # in units of reward; the range is 1.1
FURTHER: tuple[tuple[str, dict[str, Any]], ...] = (
    *((scheme, {"tau": tau}) for scheme in ("softmax", "softmax_centered") for tau in (0.25, 1.0, 2.0)),
    ("power", {"q": 0.0}),
    ("power", {"q": 1.0}),
    ("shrunk", {"alpha": 0.5}),
    ("shrunk", {"alpha": 1.0}),
    ("signed", {"right": 1.0, "wrong": -1.0}),
)
"""Settings beside the defaults of a scheme."""


class Figures(NamedTuple):
    """The place of a scheme on the map; NaN if a figure does not exist."""

    rho: float
    tilt: float
    x: float


def figures(
    scheme: str,
    hyperparameters: dict[str, Any],
    success: float,
    well_formed: float,
    group_size: int = GROUP_SIZE,
    reward_range: tuple[float, float] = REWARD_RANGE,
) -> Figures:
    """The figures on groups of independent answers; by default of GROUP_SIZE, with rewards 1.1, 0.1 and 0."""
    groups = independent(success, well_formed, group_size, reward_range)
    w = weigh(groups, scheme, hyperparameters)
    signal, noise = signal_noise.exact(w, groups, success)
    return Figures(signal / noise if noise else 0.0, tilt(w, groups), expected_weights(w, groups).exchange_rate)


def tilt(w: np.ndarray, groups: Population) -> float:
    """g(1)/g(4) for weights w [G, N] of a population; NaN if g(4) is 0 or a kind of group is missing."""
    hard, medium = (_contrast(w, groups, right) for right in (1, 4))
    return hard / medium if abs(medium) > 1e-12 else float("nan")


def _contrast(w: np.ndarray, groups: Population, right: int) -> float:
    """g(right): weight of right samples minus that of wrong ones, mean over the groups with that many right ones."""
    number = groups.correct.sum(axis=-1)
    chosen = (number == right) & (number < w.shape[1])
    counts = groups.counts * chosen
    if not counts.sum():
        return float("nan")
    on_right = np.sum(w * groups.correct, axis=-1) / right
    on_wrong = np.sum(w * ~groups.correct, axis=-1) / np.maximum(w.shape[1] - number, 1)
    return float((on_right - on_wrong) @ counts / counts.sum())


def settings() -> list[tuple[str, dict[str, Any]]]:
    """(scheme, hyperparameters) of the map's rows: every scheme, at TAU if it has one, and the settings of FURTHER."""
    every = [*analysis.settings(GROUP_SIZE, (TAU,)), *FURTHER]
    return sorted(every, key=lambda setting: (setting[0], *setting[1].values()))


def table() -> pd.DataFrame:
    """Columns: scheme, setting (its hyperparameters, "" if it has none), success, well_formed, rho, tilt, x.

    One row per setting of `settings` and point of POINTS.
    """
    rows = []
    for scheme, chosen in settings():
        complete = weighting.hyperparameters(scheme) | chosen
        setting = ", ".join(f"{name} = {value:g}" for name, value in complete.items() if value is not None)
        for success, well_formed in POINTS:
            names = {"scheme": scheme, "setting": setting, "success": success, "well_formed": well_formed}
            rows.append(names | figures(scheme, chosen, success, well_formed)._asdict())
    return pd.DataFrame(rows)
