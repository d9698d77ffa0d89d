"""Weight analysis: tables of what every scheme does to groups of rewards, simulated or logged by training.

`write` stores one csv file per table. Each table is a function whose docstring lists the columns. Every scheme in
`weighting` is analyzed; schemes with a temperature are analyzed at several temperatures.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softmax_rewards import weighting
from softmax_rewards.common import files
from softmax_rewards.weighting import concentration
from softmax_rewards.weighting.study import log_map, reported, scheme_map, search_prediction, signal_noise
from softmax_rewards.weighting.study.populations import (
    FIGURES,
    Population,
    canonical,
    composed,
    from_log,
    independent,
    simulate,
    summarize,
)
from softmax_rewards.weighting.study.settings import TAUS, settings

CURVE = np.geomspace(0.02, 20.0, 46)  # tau/range of the curves
SUCCESS = (0.02, 0.09, 0.3)  # success rates of the simulated populations
FORMAT = (0.0, 0.5, 1.0)  # share of the wrong answers that are well formed
SNR_SUCCESS = (0.005, 0.01, 0.02, 0.05, 0.09, 0.15, 0.2, 0.3, 0.5, 0.7, 0.9)
RANGES = (1.0, 1.1, 10.0)
SIZES = (4, 8, 16)
COLLAPSED = 0.99  # from this largest share on, a group counts as "best of one"
FLAT = 0.95  # from this effective N / N on, a group counts as "flat"

# Signal-to-noise of one batch at 9 % success and N = 8, as the earlier plan states it.
STATED_SNR = {
    ("linear", None): 0.265,
    ("softmax", 0.25): 0.213,
    ("softmax", 0.5): 0.167,
    ("softmax", 0.75): 0.119,
    ("softmax", 1.0): 0.089,
}


def write(out_dir: Path, samples: int, reward_range: tuple[float, float], group_size: int, seed: int) -> None:
    """Write every table into `out_dir`. Equal arguments give equal bytes.

    samples       groups drawn for each simulated population
    reward_range  (lowest, highest) reward of the task
    group_size    N, samples per prompt
    """
    low, high = reward_range
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"reward_range: {reward_range} is not allowed; allowed: finite (low, high) with low < high")
    if samples < 1 or group_size < 2:
        raise ValueError(f"samples {samples} and group_size {group_size}; allowed: at least 1 and 2")
    populations = simulated(samples, reward_range, group_size, seed)
    tables = {
        "groups": groups(populations),
        "schemes": schemes(populations, seed),
        "ratios": ratios(),
        "collapse": collapse(),
        "universal": universal(),
        "difficulty": difficulty(group_size, reward_range),
        "snr": snr(group_size),
        "reported": reported.table(),
        "search_predictions": search_prediction.example(group_size),
        "search_updates": search_prediction.example_curves(group_size),
        "map": canonical_map(group_size, reward_range),
    }
    for name, table in tables.items():
        files.write_csv(table, out_dir / f"{name}.csv")


def simulated(
    samples: int, reward_range: tuple[float, float], group_size: int, seed: int
) -> dict[tuple[str, float, float], Population]:
    """(name, success, format_share) → population: the canonical group, and each pair of SUCCESS and FORMAT."""
    rng = np.random.default_rng(seed)
    populations = {("canonical", 1 / 8, 3 / 7): canonical()}
    for success in SUCCESS:
        for share in FORMAT:
            drawn = simulate(success, share, samples, reward_range, group_size, rng)
            populations["simulated", success, share] = drawn
    return populations


def groups(populations: dict[tuple[str, float, float], Population]) -> pd.DataFrame:
    """Columns: population, success, format_share, rewards ("1.1 0.1 0"), right, count, share.

    One row per composition of a group.
    """
    rows = []
    for (name, success, share), population in populations.items():
        for rewards, correct, count in zip(population.rewards, population.correct, population.counts, strict=True):
            rows.append(
                {
                    "population": name,
                    "success": success,
                    "format_share": share,
                    "rewards": " ".join(f"{reward:.6g}" for reward in rewards),
                    "right": int(correct.sum()),
                    "count": int(count),
                    "share": count / population.counts.sum(),
                }
            )
    return pd.DataFrame(rows)


def schemes(populations: dict[tuple[str, float, float], Population], seed: int = 0) -> pd.DataFrame:
    """Columns: population, success, format_share, scheme, tau, and the figures of `populations.summarize`."""
    rows = []
    for (name, success, share), population in populations.items():
        for scheme, chosen in settings(population.rewards.shape[1]):
            columns = {"population": name, "success": success, "format_share": share}
            rows.append(columns | _setting(scheme, chosen) | summarize(population, scheme, chosen, seed))
    return pd.DataFrame(rows)


def ratios() -> pd.DataFrame:
    """Ratios of softmax weights in the canonical group.

    Columns: tau, tau_over_range, pair, ratio, formula, which is e^(difference of the rewards / tau).
    """
    group = canonical()
    rewards = group.rewards[0]
    rows = []
    for tau in TAUS:
        w = weighting.compute("softmax", group.rewards, group.correct, tau=tau)[0]
        for pair, a, b in (
            ("right : format-only", 0, 1),
            ("right : nothing", 0, -1),
            ("format-only : nothing", 1, -1),
        ):
            formula = float(np.exp((rewards[a] - rewards[b]) / tau))
            rows.append(
                {
                    "tau": tau,
                    "tau_over_range": tau / 1.1,
                    "pair": pair,
                    "ratio": w[a] / w[b],
                    "formula": formula,
                }
            )
    return pd.DataFrame(rows)


def collapse() -> pd.DataFrame:
    """How concentrated the weights of the canonical group are, over tau.

    Columns: scheme, tau, tau_over_range, max_share, effective_n, state. The state is "best of one" (max_share >= 0.99),
    "flat" (effective N >= 0.95 N), "none" (no weight) or "between".
    """
    group = canonical()
    rows = []
    for scheme, chosen in settings(8, taus=1.1 * CURVE):
        w = weighting.compute(scheme, group.rewards, group.correct, **chosen)[0]
        share, effective = float(concentration.max_share(w)), float(concentration.effective_n(w))
        if share >= COLLAPSED:
            state = "best of one"
        elif effective >= FLAT * len(w):
            state = "flat"
        else:
            state = "between" if share > 0 else "none"
        row = _setting(scheme, chosen)
        # 1.1 is the reward range of the canonical group.
        row["tau_over_range"] = row["tau"] / 1.1
        rows.append(row | {"max_share": share, "effective_n": effective, "state": state})
    return pd.DataFrame(rows)


def universal() -> pd.DataFrame:
    """Figures of softmax for several reward ranges and group sizes.

    Columns: range, group_size, right, format_share, tau, tau_over_range, weight_right, contrast, effective_n, entropy,
    max_share, ratio (best : worst). As functions of tau_over_range the figures are the same for every range. So "tau
    scales with the range" is an identity of the softmax, not a finding.
    """
    rows = []
    for reward_range in RANGES:
        for size in SIZES:
            numbers = sorted({1, size // 4, size // 2})
            right, share = (x.ravel() for x in np.meshgrid(numbers, (0.0, 0.5), indexing="ij"))
            group = composed(right, (share * (size - right)).astype(int), size, (0.0, reward_range))
            for shape in CURVE:
                tau = float(shape * reward_range)
                w = weighting.compute("softmax", group.rewards, group.correct, tau=tau)
                figures = {
                    "range": reward_range,
                    "group_size": size,
                    "right": right,
                    "format_share": share,
                    "tau": tau,
                    "tau_over_range": shape,
                    "weight_right": w[:, 0],
                    "contrast": w[:, 0] - np.sum(w * ~group.correct, -1) / (size - right),
                    "effective_n": concentration.effective_n(w),
                    "entropy": concentration.entropy(w),
                    "max_share": concentration.max_share(w),
                    "ratio": w[:, 0] / w[:, -1],
                }
                rows.append(pd.DataFrame(figures))
    return pd.concat(rows, ignore_index=True)


def difficulty(group_size: int, reward_range: tuple[float, float]) -> pd.DataFrame:
    """Weights in groups with K right samples, 0 < K < N, and rewards of two values. One row per scheme, tau and K.

    Columns: scheme, tau, right, success, weight_right, weight_wrong, contrast, g, mean_zero.
    contrast   weight_right - weight_wrong
    g          contrast/range. A mean-zero scheme is exactly w = g(K) (r - mu), so tau moves weight between groups of
               different success rates and never within a group. For other schemes, g (r - mu) is w minus its group mean
    A scheme that couples groups sees one group for each K, so only the shape of its g has a meaning.
    """
    low, high = reward_range
    right = np.arange(1, group_size)
    group = composed(right, 0 * right, group_size, reward_range)
    tables = []
    for scheme, chosen in settings(group_size):
        w = weighting.compute(scheme, group.rewards, group.correct, **chosen)
        contrast = w[:, 0] - w[:, -1]
        table = pd.DataFrame({"right": right, "success": right / group_size, "weight_right": w[:, 0]})
        table = table.assign(weight_wrong=w[:, -1], contrast=contrast, g=contrast / (high - low))
        scale = np.abs(w).max(axis=-1)
        table["mean_zero"] = bool(np.all(np.abs(w.mean(axis=-1)) <= 1e-9 * scale))
        tables.append(table.assign(**_setting(scheme, chosen)))
    table = pd.concat(tables, ignore_index=True)
    return table[["scheme", "tau", *(column for column in table if column not in ("scheme", "tau"))]]


def snr(group_size: int) -> pd.DataFrame:
    """Predicted signal-to-noise for 0/1 rewards, per square root of the number of samples (model of `signal_noise`).

    Columns: scheme, tau, success, signal, noise, snr, bound (the largest possible snr), stated (STATED_SNR at N = 8,
    else missing).
    """
    rows = []
    for success in SNR_SUCCESS:
        for scheme, chosen in settings(group_size):
            signal, noise = signal_noise.at_success(scheme, chosen, success, group_size)
            comparable = (success, group_size) == (0.09, 8)
            stated = STATED_SNR.get((scheme, chosen.get("tau"))) if comparable else None
            # pass@k with k = N has no weights at all, so both signal and noise are 0.
            ratio = signal / noise if noise else 0.0
            figures = {"success": success, "signal": signal, "noise": noise, "snr": ratio}
            bound = float(np.sqrt(success * (1 - success)))
            rows.append(_setting(scheme, chosen) | figures | {"bound": bound, "stated": stated})
    return pd.DataFrame(rows).astype({"stated": float})


def canonical_map(group_size: int, reward_range: tuple[float, float]) -> pd.DataFrame:
    """The table of `log_map` for the first canonical population of `scheme_map`, where the schemes differ most."""
    groups = independent(*scheme_map.POINTS[0], group_size, reward_range)
    return log_map.table(groups, scheme_map.map_settings(group_size))


def logged(
    table: pd.DataFrame,
    chosen: Sequence[tuple[str, dict[str, Any]]] | None = None,
    by: Sequence[str] = (),
    seed: int = 0,
) -> pd.DataFrame:
    """The figures of `schemes` on the groups that training saw.

    table   columns: rewards ("1.1 0.1 0 0", highest first), right (number of right samples, which come first), count,
            and those in `by`; counts of equal groups are added
    chosen  (scheme, hyperparameters) pairs; None: all of `settings`
    by      columns whose values are analyzed separately, such as the ablation
    Returns the columns `by`, group_size, scheme, tau and the figures, also for an empty table.
    Raises ValueError as `populations.from_log` does.
    """
    counted = table.groupby([*by, "rewards", "right"], as_index=False, sort=True)["count"].sum()
    # A log may contain groups of several sizes. Their figures cannot be averaged.
    counted["group_size"] = counted["rewards"].str.split().str.len()
    rows = []
    for key, part in counted.groupby([*by, "group_size"], sort=True):
        population = from_log(part)
        names = dict(zip([*by, "group_size"], key, strict=True))
        for scheme, parameters in settings(names["group_size"]) if chosen is None else chosen:
            figures = summarize(population, scheme, parameters, seed)
            rows.append(names | _setting(scheme, parameters) | figures)
    return pd.DataFrame(rows, columns=[*by, "group_size", "scheme", "tau", *FIGURES])


def _setting(scheme: str, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    return {"scheme": scheme, "tau": float(hyperparameters.get("tau", np.nan))}
