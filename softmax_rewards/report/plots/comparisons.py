"""Ablations against the baseline, their base model and other temperatures; and what the notes reported.

Whiskers are 95 % t intervals over seeds, binomial intervals for the notes' figures, which had one seed.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softmax_rewards.common.stats import EQUIVALENCE
from softmax_rewards.report.plots.style import (
    HUES,
    MUTED,
    OTHER_HUE,
    PERCENT,
    empty_figure,
    legend_below,
    logarithmic,
    styled,
    styles,
)
from softmax_rewards.report.plots.training import over_seeds


@styled
def forest(comparisons: pd.DataFrame, endpoint: str, baseline: str = "baseline") -> Figure:
    """Differences to the baseline in percentage points with intervals, one row per ablation.

    `comparisons`: ablation, endpoint, delta, low, high, p_holm, family. Filled marks are the primary family,
    with Holm's p; hollow ones are exploratory. The band is ±2 points, within which ablations count as equal.
    """
    rows = comparisons[(comparisons["endpoint"] == endpoint) & comparisons["delta"].notna()]
    if rows.empty:
        return empty_figure("not enough ablations or seeds for comparisons")
    look = styles([*comparisons["ablation"].unique()], baseline)
    rank = {ablation: i for i, ablation in enumerate(look)}
    rows = rows.assign(exploratory=rows["family"] != "primary", rank=rows["ablation"].map(rank)).sort_values(
        ["exploratory", "rank"]
    )
    figure = Figure(figsize=(9, 1.1 + 0.34 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-100 * EQUIVALENCE, 100 * EQUIVALENCE, color="#eef1f4", zorder=0)
    axes.axvline(0, color=MUTED, linewidth=1)
    for y, row in enumerate(rows.to_dict("records")):
        color = look[row["ablation"]]["color"]
        fill = "white" if row["exploratory"] else color
        if not np.isnan(row["low"]):
            axes.plot([100 * row["low"], 100 * row["high"]], [y, y], color=color, linewidth=2.2)
        axes.plot(100 * row["delta"], y, "o", color=color, markerfacecolor=fill, markersize=7)
        axes.annotate(
            _effect(row),
            (1.01, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            color="#1b1f24",
        )
    axes.set_yticks(range(len(rows)), rows["ablation"])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"difference to {baseline} in percentage points")
    return figure


def _effect(row: Mapping[str, Any]) -> str:
    text = f"{100 * row['delta']:+.1f}"
    if not np.isnan(row["low"]):
        text += f" [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
    if row["exploratory"]:
        return f"{text}  exploratory"
    return f"{text}  p = {row['p_holm']:.2g}" if not np.isnan(row["p_holm"]) else text


@styled
def contrasts(table: pd.DataFrame, question: str, endpoint: str = "auc") -> Figure:
    """Differences of the pairs of one question in percentage points with intervals, one row per pair.

    `table`: question, what, endpoint, delta, low, high.
    """
    rows = table[(table["question"] == question) & (table["endpoint"] == endpoint)]
    if rows.empty:
        return empty_figure("no such pair of ablations")
    rows = rows.set_index("what")
    look = {what: {"color": matplotlib.colormaps["Blues"](0.75)} for what in rows.index}
    figure, axes = _intervals(100 * rows[["delta", "low", "high"]], look, neutral=0)
    axes.axvspan(-100 * EQUIVALENCE, 100 * EQUIVALENCE, color="#eef1f4", zorder=0)
    axes.set_xlabel("difference in percentage points")
    return figure


@styled
def improvement(robust: pd.DataFrame, endpoint: str, baseline: str = "baseline") -> Figure:
    """Probability that a seed of each ablation beats one of the baseline, with bootstrap intervals; one row each.

    `robust`: ablation, endpoint, improvement, improvement_low, improvement_high. The line at 50 % is no difference.
    """
    rows = robust[(robust["endpoint"] == endpoint) & robust["improvement"].notna()].set_index("ablation")
    if rows.empty:
        return empty_figure("no ablation beside the baseline")
    look = styles(list(robust["ablation"].unique()), baseline)
    figure, axes = _intervals(rows[["improvement", "improvement_low", "improvement_high"]], look, neutral=0.5)
    axes.set_xlim(-0.03, 1.03)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(f"probability that a seed beats a seed of {baseline}")
    return figure


@styled
def gains(final: pd.DataFrame, baseline: str = "baseline") -> Figure:
    """What each ablation learned: success at the end minus its base model's, in points, with intervals over seeds.

    `final`: ablation, seed, final, base. The row of the baseline is the gate: it must clear 0.
    """
    if final.empty:
        return empty_figure("no finished run")
    learned = over_seeds(final.assign(gain=final["final"] - final["base"], step=0), "gain").set_index("ablation")
    look = styles(list(learned.index), baseline)
    figure, axes = _intervals(100 * learned[["mean", "low", "high"]], look, neutral=0)
    axes.set_xlabel("success at the end − success of the base model, percentage points")
    return figure


@styled
def signal_noise(table: pd.DataFrame, baseline: str = "baseline") -> Figure:
    """Cosine of the gradients of two halves of a batch, as measured and as predicted, one row per ablation.

    `table`: ablation, cosine, cosine_low, cosine_high, predicted_cosine.
    """
    if table.empty:
        return empty_figure("no ablation logged how much its gradients agree")
    look = styles(list(table["ablation"]), baseline)
    rows = table.set_index("ablation").reindex([ablation for ablation in look if ablation in set(table["ablation"])])
    figure, axes = _intervals(rows[["cosine", "cosine_low", "cosine_high"]], look, neutral=0, label="measured")
    axes.plot(rows["predicted_cosine"], range(len(rows)), "x", color="#1b1f24", markersize=8, label="predicted")
    axes.set_xlabel("cosine of the gradients of two halves of a batch")
    legend_below(axes, columns=2)
    return figure


def _intervals(
    estimates: pd.DataFrame, look: Mapping[str, Mapping[str, Any]], neutral: float, label: str | None = None
) -> tuple[Figure, Axes]:
    """One row per ablation, in the order of `look`: estimate and interval, the three columns of `estimates`.

    `label` is that of the estimates in a legend.
    """
    order = [ablation for ablation in look if ablation in estimates.index]
    figure = Figure(figsize=(9, 1.0 + 0.3 * len(order)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(neutral, color=MUTED, linewidth=1)
    for y, ablation in enumerate(order):
        (estimate, low, high), color = estimates.loc[ablation], look[ablation]["color"]
        axes.plot([low, high], [y, y], color=color, linewidth=2.2)
        axes.plot(estimate, y, "o", color=color, markersize=7, label=None if y else label)
    axes.set_yticks(range(len(order)), order)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    return figure, axes


@styled
def temperature(table: pd.DataFrame, fits: Mapping[str, Mapping], endpoint: str = "auc") -> Figure:
    """Success of constant temperatures against τ/range (logarithmic), one panel per scheme, with the fit.

    `table`: scheme, ratio, endpoint, mean, low, high; `fits`: scheme -> endpoint -> fields of `tau_rule.Fit`.
    Dotted: the claimed optimum τ/range = 1/2. The shaded strip is the 95 % interval of the fitted
    parabola's maximum, drawn only if the fit resolves one inside the grid.
    """
    table = table[table["endpoint"] == endpoint]
    if table.empty:
        return empty_figure("no ablation with a constant temperature")
    schemes = list(table["scheme"].unique())
    figure = Figure(figsize=(min(9, 1 + 4 * len(schemes)), 3.8), layout="constrained")
    grid = figure.subplots(1, len(schemes), squeeze=False, sharex=True, sharey=True)[0]
    for axes, scheme in zip(grid, schemes, strict=True):
        points = table[table["scheme"] == scheme].sort_values("ratio")
        color = matplotlib.colormaps[HUES.get(scheme, OTHER_HUE)](0.75)
        error = np.array([points["mean"] - points["low"], points["high"] - points["mean"]])
        axes.axvline(0.5, color=MUTED, linewidth=1.2, linestyle=":", label="claimed: τ/range = ½")
        axes.errorbar(points["ratio"], points["mean"], error, fmt="o", color=color, capsize=3, label="mean over seeds")
        fit = fits.get(scheme, {}).get(endpoint)
        if fit and fit["coefficients"][0] is not None:
            x = np.linspace(np.log(points["ratio"].min()), np.log(points["ratio"].max()), 100)
            a, b, c = fit["coefficients"]
            axes.plot(np.exp(x), a + b * x + c * x**2, color=color, linewidth=1.3, label="fitted parabola")
        if fit and fit["interior"]:
            axes.axvspan(fit["low"], fit["high"], color=color, alpha=0.12, label="fitted maximum, 95 %")
        axes.set_xlim(min(0.2, points["ratio"].min()) / 1.2, max(1.0, points["ratio"].max()) * 1.2)
        logarithmic(axes)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_title(scheme.replace("_", " "))
        axes.set_xlabel("τ / reward range")
        legend_below(axes)
    grid[0].set_ylabel({"auc": "mean success over training", "final": "success at the end"}[endpoint])
    return figure


@styled
def reported(table: pd.DataFrame) -> Figure:
    """The notes' success figures (one seed, 128 puzzles) with binomial intervals; right: figures whose step
    was not given. `table`: kind, ablation, step, success, low, high."""
    figures = table[table["kind"] == "figure"]
    if figures.empty:
        return empty_figure("no reported figures")
    look = styles([_ablation(ablation) for ablation in figures["ablation"].unique()])
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    dated = figures.dropna(subset=["step"])
    for i, (ablation, group) in enumerate(dated.groupby("ablation", sort=False)):
        # Shifted a little, so that whiskers at the same step stand side by side.
        _whiskers(left, group["step"] + 0.8 * (i - 1), group, label=ablation, **look[_ablation(ablation)])
    left.set_xlabel("update steps")
    left.set_ylabel("success (128 puzzles, one seed)")
    left.yaxis.set_major_formatter(PERCENT)
    legend_below(left)
    final = figures[figures["step"].isna()].reset_index(drop=True)
    for x, row in final.iterrows():
        style = {**look[_ablation(row["ablation"])], "linestyle": ""}
        _whiskers(right, [x], final.loc[[x]], **style)
    right.set_xticks(final.index, final["ablation"].str.replace("softmax ", ""), rotation=20, ha="right")
    right.set_title("last figure, step not given")
    return figure


def _whiskers(axes: Axes, x: Any, group: pd.DataFrame, **style: Any) -> None:
    error = np.array([group["success"] - group["low"], group["high"] - group["success"]])
    axes.errorbar(x, group["success"], error, capsize=2, elinewidth=1, **style)


def _ablation(reported_ablation: str) -> str:
    """This project's name for an ablation of the notes, such as "softmax τ=0.5 (later)"."""
    name = reported_ablation.removesuffix(" (later)").replace(" τ=", "-").replace(" τ ", "-").replace("→", "-")
    return "baseline" if name == "linear" else name
