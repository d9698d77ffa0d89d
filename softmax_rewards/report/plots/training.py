"""Ablations over training: success, behavior and what the update saw; and pass@k of the models it ends with.

Lines are means over seeds and bands 95 % t intervals, missing where there is one seed.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from softmax_rewards.common.stats import mean_interval
from softmax_rewards.report.plots.style import (
    BASELINE,
    MUTED,
    PERCENT,
    SINGLES,
    ablation_name,
    empty_figure,
    families,
    legend_below,
    styled,
    styles,
)

SETTINGS_PER_LINE = 4


def over_seeds(frame: pd.DataFrame, value: str, x: str = "step") -> pd.DataFrame:
    """Mean and 95 % t interval of `value` over the seeds of each ablation and step.

    `frame`: ablation, seed, step, `value` and, if different, `x`. Returns ablation, step, x (its mean over
    seeds: ablations generate different numbers of tokens by the same step), mean, low, high, seeds.
    """
    rows = []
    for (ablation, step), group in frame.dropna(subset=[value]).groupby(["ablation", "step"], sort=False):
        interval = mean_interval(group[value])
        rows.append((ablation, step, group[x].mean(), interval.estimate, interval.low, interval.high, interval.n))
    return pd.DataFrame(rows, columns=["ablation", "step", "x", "mean", "low", "high", "seeds"])


@styled
def trajectories(frame: pd.DataFrame, value: str = "success", x: str = "step", baseline: str = "baseline") -> Figure:
    """A fraction in 0..1 over training, one panel per family of ablations, the baseline in each.

    `frame`: ablation, seed, step, `value`, and `x` ("step", or "tokens" to compare at equal generation).
    The dotted line is the base model, which all ablations share.
    """
    if frame.empty:
        return empty_figure("no evaluations were recorded")
    curves = over_seeds(frame, value, x)
    figure, panels = _panels(frame["ablation"].unique(), baseline, rows=1, height=3.5)
    for column, (axes, ablations) in enumerate(panels[0]):
        axes.axhline(curves.loc[curves["step"].idxmin(), "mean"], color=MUTED, linewidth=1, linestyle=":")
        _lines(axes, curves, ablations, styles(frame["ablation"].unique(), baseline))
        _focus(axes, frame[value])
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_xlabel("update steps" if x == "step" else "generated tokens")
        if x == "tokens":
            axes.xaxis.set_major_formatter(FuncFormatter(_millions))
        if column == 0:
            axes.set_ylabel(f"{value} rate (held-out puzzles)")
        legend_below(axes)
    return figure


@styled
def by_setting(frame: pd.DataFrame, ablations: pd.DataFrame, baseline: str = "baseline") -> Figure:
    """Success over training of the ablations that were trained in another setting, one panel per setting.

    `frame` as for `trajectories`; `ablations`: ablation, weighting, setting (missing for the baseline's). Dashed: the
    baseline in its own setting.
    """
    settings = ablations.dropna(subset=["setting"])
    if settings.empty:
        return empty_figure("every ablation was trained in the setting of the baseline")
    curves = over_seeds(frame, "success")
    groups = list(settings.groupby("setting", sort=False))
    lines = -(-len(groups) // SETTINGS_PER_LINE)
    figure = Figure(figsize=(10, 3.1 * lines), layout="constrained")
    grid = figure.subplots(lines, SETTINGS_PER_LINE, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(groups) :]:
        axes.remove()
    colors = zip(settings["weighting"].unique(), cycle(SINGLES), strict=False)
    look = {baseline: BASELINE} | {weighting: {"color": color} for weighting, color in colors}
    for axes, (setting, members) in zip(grid.flat, groups, strict=False):
        names = {baseline: baseline, **dict(zip(members["ablation"], members["weighting"], strict=True))}
        shown = curves[curves["ablation"].isin(names)].replace({"ablation": names})
        _lines(axes, shown, list(names.values()), look, markers=False)
        axes.set_title(setting, fontsize=8.5)
        axes.yaxis.set_major_formatter(PERCENT)
        _focus(axes, frame["success"])
        legend_below(axes)
    return figure


@styled
def over_training(
    frame: pd.DataFrame, labels: Mapping[str, str], baseline: str = "baseline", points: int = 30
) -> Figure:
    """Several quantities over training: one row per quantity, one column per family, the baseline in each.

    `frame`: ablation, seed, step and the columns that `labels` (column -> axis label with unit) names. Steps
    are averaged in about `points` bins within each seed first, so that the lines can be distinguished.
    """
    labels = {column: label for column, label in labels.items() if column in frame and frame[column].notna().any()}
    if frame.empty or not labels:
        return empty_figure("none of these quantities was recorded")
    width = max(1, round(frame["step"].max() / points))
    binned = frame.assign(step=(np.ceil(frame["step"] / width) * width).astype(int))
    binned = binned.groupby(["ablation", "seed", "step"], as_index=False)[list(labels)].mean()
    look = styles(frame["ablation"].unique(), baseline)
    figure, panels = _panels(frame["ablation"].unique(), baseline, rows=len(labels), height=1.9)
    for row, (column, label) in enumerate(labels.items()):
        curves = over_seeds(binned, column)
        for index, (axes, ablations) in enumerate(panels[row]):
            _lines(axes, curves, ablations, look, markers=False)
            _focus(axes, binned[column])
            if index == 0:
                axes.set_ylabel(label)
            if row:
                axes.set_title("")
            if row == len(labels) - 1:
                axes.set_xlabel("update steps")
                legend_below(axes)
    return figure


@styled
def pass_at_k(final: pd.DataFrame, baseline: str = "baseline") -> Figure:
    """pass@k of the final models against k (logarithmic). `final`: ablation, seed, pass@1, pass@4, …"""
    columns = [column for column in final if re.fullmatch(r"pass@\d+", column) and final[column].notna().any()]
    if final.empty or not columns:
        return empty_figure("no final evaluation with several samples per puzzle")
    long = final.melt(["ablation", "seed"], columns, var_name="step", value_name="pass")
    long["step"] = long["step"].str.removeprefix("pass@").astype(int)
    curves = over_seeds(long, "pass")
    figure, panels = _panels(final["ablation"].unique(), baseline, rows=1, height=3.3)
    for column, (axes, ablations) in enumerate(panels[0]):
        _lines(axes, curves, ablations, styles(final["ablation"].unique(), baseline))
        _focus(axes, long["pass"])
        axes.set_xscale("log", base=2)
        ks = sorted(long["step"].unique())
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_xlabel("k samples per puzzle")
        if column == 0:
            axes.set_ylabel("pass@k")
        legend_below(axes)
    return figure


def _panels(
    ablations: Sequence[str], baseline: str, rows: int, height: float
) -> tuple[Figure, list[list[tuple[Axes, list[str]]]]]:
    """A grid of `rows` x families; each cell is its axes and the ablations it shows, the baseline first."""
    groups = families(ablations, baseline) or {baseline: []}
    # The legends stand below the panels and do not shrink them.
    legend = 0.2 * max(map(len, groups.values()))
    figure = Figure(figsize=(min(10.0, 2.2 + 2.6 * len(groups)), height * rows + legend), layout="constrained")
    grid = figure.subplots(rows, len(groups), squeeze=False, sharex=True, sharey="row")
    for axes, family in zip(grid[0], groups, strict=True):
        axes.set_title(family.replace("_", " "))
    shown = [[baseline, *members] if baseline in ablations else members for members in groups.values()]
    return figure, [list(zip(row, shown, strict=True)) for row in grid]


def _lines(
    axes: Axes, curves: pd.DataFrame, ablations: Sequence[str], look: Mapping[str, Mapping], markers: bool = True
) -> None:
    """A line and its band for each ablation; `curves` as from `over_seeds`."""
    for ablation in ablations:
        curve = curves[curves["ablation"] == ablation].sort_values("step")
        style = dict(look[ablation]) if markers else {**look[ablation], "marker": ""}
        axes.plot(curve["x"], curve["mean"], label=ablation_name(ablation), **style)
        axes.fill_between(curve["x"], curve["low"], curve["high"], color=style["color"], alpha=0.14, linewidth=0)


def _focus(axes: Axes, values: pd.Series) -> None:
    """Limits by what the runs did: with few seeds a t band is many times as wide, and is cut at the frame."""
    low, high = values.min(), values.max()
    margin = 0.3 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_ylim(max(low - margin, 0.0) if low >= 0 else low - margin, high + margin)


def _millions(tokens: float, _: int) -> str:
    return f"{tokens / 1e6:g} M" if tokens else "0"
