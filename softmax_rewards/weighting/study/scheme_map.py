"""The map of schemes: three figures that predict, before any training, what a scheme will do.

rho   signal-to-noise of one batch per square root of its samples (`signal_noise`): how fast success grows at first
tilt  g(1)/g(4), where g(k) is the weight of right samples minus that of wrong ones, a mean over the groups with k right
      samples (for a mean-zero scheme and rewards 0 and 1, w = g(k) (r - mean), see `analysis.difficulty`). It is 1 if a
      hard prompt counts as much as an easy one, and larger if hard prompts count more
X     the exchange rate of format against success (`exchange_rate`)
"""

from typing import Any

import pandas as pd

from softmax_rewards.weighting.study import signal_noise
from softmax_rewards.weighting.study.exchange_rate import expected_weights
from softmax_rewards.weighting.study.log_map import Figures, tilt
from softmax_rewards.weighting.study.populations import independent, weigh
from softmax_rewards.weighting.study.settings import label, settings

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


def map_settings(group_size: int = GROUP_SIZE) -> list[tuple[str, dict[str, Any]]]:
    """(scheme, hyperparameters) of the map's rows: every scheme, at TAU if it has one, and the settings of FURTHER."""
    every = [*settings(group_size, (TAU,)), *FURTHER]
    return sorted(every, key=lambda setting: (setting[0], *setting[1].values()))


def table() -> pd.DataFrame:
    """Columns: scheme, setting (its hyperparameters, "" if it has none), success, well_formed, rho, tilt, x.

    One row per setting of `map_settings` and point of POINTS.
    """
    rows = []
    for scheme, chosen in map_settings():
        for success, well_formed in POINTS:
            names = {"scheme": scheme, "setting": label(scheme, chosen), "success": success, "well_formed": well_formed}
            rows.append(names | figures(scheme, chosen, success, well_formed)._asdict())
    return pd.DataFrame(rows)
