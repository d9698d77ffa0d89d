"""Ablations over training: success, behavior and what the update saw; and pass@k of the models it ends with.

Lines are means over seeds. Bands are 95 % t intervals, which one seed does not have.
"""

import re
from collections.abc import Mapping
from itertools import cycle

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from softmax_rewards.common.stats import mean_interval
from softmax_rewards.report.plots.drawing import PERCENT, empty_figure, legend_below, lines, panels, parts
from softmax_rewards.report.plots.style import BASELINE, MUTED, SINGLES, families, styled, styles

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
    grid = _family_panels(curves, baseline, height=3.5)
    for axes, _ in parts(grid):
        axes.axhline(curves.loc[curves["step"].idxmin(), "mean"], color=MUTED, linewidth=1, linestyle=":")
        _focus(axes, frame[value])
        axes.yaxis.set_major_formatter(PERCENT)
        if x == "tokens":
            axes.xaxis.set_major_formatter(FuncFormatter(_millions))
    grid.set_axis_labels("update steps" if x == "step" else "generated tokens", f"{value} rate (held-out puzzles)")
    return grid.figure


@styled
def by_setting(frame: pd.DataFrame, ablations: pd.DataFrame, baseline: str = "baseline") -> Figure:
    """Success over training of the ablations that were trained in another setting, one panel per setting.

    `frame` as for `trajectories`; `ablations`: ablation, weighting, setting (missing for the baseline's). Dashed: the
    baseline in its own setting.
    """
    settings = ablations.dropna(subset=["setting"])
    if settings.empty:
        return empty_figure("every ablation was trained in the setting of the baseline")
    names = settings["setting"].unique()
    shown = [settings, *({"ablation": [baseline], "weighting": [baseline], "setting": [name]} for name in names)]
    curves = pd.concat(map(pd.DataFrame, shown)).merge(over_seeds(frame, "success"), on="ablation")
    colors = zip(settings["weighting"].unique(), cycle(SINGLES), strict=False)
    look = {baseline: BASELINE} | {weighting: {"color": color} for weighting, color in colors}
    rows, columns = -(-len(names) // SETTINGS_PER_LINE), min(len(names), SETTINGS_PER_LINE)
    grid = panels(curves, (2.5 * columns, 3.1 * rows), col="setting", col_wrap=columns, sharex=False)
    for axes, part in parts(grid):
        lines(axes, part, "x", "mean", "weighting", look, markers=False)
        axes.set_title(part["setting"].iloc[0].replace(", ", "\n"), fontsize=8.5)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_xlabel("update steps")
        _focus(axes, frame["success"])
        legend_below(axes)
    grid.set_ylabels("success rate")
    return grid.figure


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
    curves = pd.concat(over_seeds(binned, column).assign(quantity=column) for column in labels)
    grid = _family_panels(curves, baseline, height=1.9, markers=False, row="quantity", sharey="row")
    grid.set_axis_labels("update steps")
    for row, (column, label) in zip(grid.axes, labels.items(), strict=True):
        row[0].set_ylabel(label)
        for axes in row:
            _focus(axes, binned[column])
    return grid.figure


@styled
def pass_at_k(final: pd.DataFrame, baseline: str = "baseline") -> Figure:
    """pass@k of the final models against k (logarithmic). `final`: ablation, seed, pass@1, pass@4, …"""
    columns = [column for column in final if re.fullmatch(r"pass@\d+", column) and final[column].notna().any()]
    if final.empty or not columns:
        return empty_figure("no final evaluation with several samples per puzzle")
    long = final.melt(["ablation", "seed"], columns, var_name="step", value_name="pass")
    long["step"] = long["step"].str.removeprefix("pass@").astype(int)
    grid = _family_panels(over_seeds(long, "pass"), baseline, height=3.3)
    ks = sorted(long["step"].unique())
    for axes, _ in parts(grid):
        _focus(axes, long["pass"])
        axes.set_xscale("log", base=2)
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.yaxis.set_major_formatter(PERCENT)
    grid.set_axis_labels("k samples per puzzle", "pass@k")
    return grid.figure


def _family_panels(
    curves: pd.DataFrame, baseline: str, height: float, markers: bool = True, **facets: str
) -> sns.FacetGrid:
    """One column of panels per family, with the lines of its ablations and of the baseline, the legend at its foot.

    `curves` as from `over_seeds`; `height` is that of one panel.
    """
    ablations = curves["ablation"].unique()
    groups = families(ablations, baseline) or {baseline: []}
    shown = pd.concat(
        curves[curves["ablation"].isin([baseline, *members])].assign(family=family.replace("_", " "))
        for family, members in groups.items()
    )
    rows = shown[facets["row"]].nunique() if "row" in facets else 1
    # Constrained layout takes the room of the legends from the panels, so the figure is higher by as much.
    height = height * rows + 0.2 * max(map(len, groups.values()))
    grid = panels(shown, (min(10.0, 2.2 + 2.6 * len(groups)), height), col="family", **facets)
    for axes, part in parts(grid):
        lines(axes, part, "x", "mean", "ablation", styles(ablations, baseline), markers)
    for axes in grid.axes[-1]:
        legend_below(axes)
    return grid


def _focus(axes: Axes, values: pd.Series) -> None:
    """Limits by what the runs did: with few seeds a t band is many times as wide, and is cut at the frame."""
    low, high = values.min(), values.max()
    margin = 0.3 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_ylim(max(low - margin, 0.0) if low >= 0 else low - margin, high + margin)


def _millions(tokens: float, _: int) -> str:
    return f"{tokens / 1e6:g} M" if tokens else "0"
