"""Ablations against the baseline, their base model and other temperatures; and what the notes reported.

Whiskers are 95 % t intervals over seeds. The notes had one seed, so their figures have binomial intervals.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softmax_rewards.report.plots.drawing import (
    PERCENT,
    empty_figure,
    legend_below,
    logarithmic,
    panels,
    parts,
    whiskers,
)
from softmax_rewards.report.plots.style import INK, MUTED, scheme_color, scheme_name, styled, styles
from softmax_rewards.report.plots.training import over_seeds


@styled
def forest(comparisons: pd.DataFrame, endpoint: str, baseline: str = "baseline") -> Figure:
    """Differences from the baseline in percentage points with intervals, one row per ablation.

    `comparisons`: ablation, against, endpoint, delta, low, high, p_holm, family, margin, ratio. Only rows against
    `baseline` are drawn. Filled marks are the primary family, with Holm's p; hollow ones are exploratory. Ablations
    count as equal inside the band, a fifth of the baseline's gain on both sides.
    """
    if comparisons.empty:
        return empty_figure("not enough ablations or seeds for comparisons")
    own = (comparisons["endpoint"] == endpoint) & (comparisons["against"] == baseline)
    rows = comparisons[own & comparisons["delta"].notna()]
    if rows.empty:
        return empty_figure("not enough ablations or seeds for comparisons")
    look = styles([*rows["ablation"].unique()], baseline)
    rank = {ablation: i for i, ablation in enumerate(look)}
    rows = rows.assign(exploratory=rows["family"] != "primary", rank=rows["ablation"].map(rank))
    rows = rows.sort_values(["exploratory", "rank"]).set_index("ablation")
    colors = {ablation: look[ablation]["color"] for ablation in rows.index}
    figure, axes = _intervals(100 * rows[["delta", "low", "high"]], colors, neutral=0, hollow=rows["exploratory"])
    _equivalence_band(axes, float(rows["margin"].iloc[0]))
    for y, row in enumerate(rows.to_dict("records")):
        axes.text(1.01, y, _effect(row), transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    axes.set_xlabel(f"difference from {baseline} in percentage points")
    return figure


def _effect(row: Mapping[str, Any]) -> str:
    text = f"{100 * row['delta']:+.1f}"
    if not np.isnan(row["low"]):
        text += f" [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
    if row["exploratory"]:
        return f"{text}  exploratory"
    if not np.isnan(row["p_holm"]):
        text += f"  p = {row['p_holm']:.2g}"
    return text


@styled
def contrasts(table: pd.DataFrame, question: str, endpoint: str = "auc") -> Figure:
    """Differences of the pairs of one question in percentage points with intervals, one row per pair.

    `table`: question, what, endpoint, delta, low, high.
    """
    rows = table[(table["question"] == question) & (table["endpoint"] == endpoint)]
    if rows.empty:
        return empty_figure("no such pair of ablations")
    rows = rows.set_index("what")
    colors = dict.fromkeys(rows.index, scheme_color("softmax"))
    figure, axes = _intervals(100 * rows[["delta", "low", "high"]], colors, neutral=0)
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
    colors = _colors(robust["ablation"], baseline)
    figure, axes = _intervals(rows[["improvement", "improvement_low", "improvement_high"]], colors, neutral=0.5)
    axes.set_xlim(-0.03, 1.03)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel(f"probability that a seed beats a seed of {baseline}")
    return figure


@styled
def gains(final: pd.DataFrame, baseline: str = "baseline") -> Figure:
    """What each ablation learned: mean success over training minus its base model's, in points, with intervals.

    `final`: ablation, seed, auc, base. The gate is open if a planned one clears 0.
    """
    if final.empty:
        return empty_figure("no finished run")
    learned = over_seeds(final.assign(gain=final["auc"] - final["base"], step=0), "gain").set_index("ablation")
    figure, axes = _intervals(100 * learned[["mean", "low", "high"]], _colors(learned.index, baseline), neutral=0)
    axes.set_xlabel("mean success over training − success of the base model, percentage points")
    return figure


@styled
def signal_noise(table: pd.DataFrame, baseline: str = "baseline") -> Figure:
    """Cosine of the gradients of two halves of a batch, as measured and as predicted, one row per ablation.

    `table`: ablation, cosine, cosine_low, cosine_high, predicted_cosine.
    """
    if table.empty:
        return empty_figure("no ablation logged how much its gradients agree")
    rows, colors = table.set_index("ablation"), _colors(table["ablation"], baseline)
    figure, axes = _intervals(rows[["cosine", "cosine_low", "cosine_high"]], colors, neutral=0)
    predicted = rows["predicted_cosine"].reindex([ablation for ablation in colors if ablation in rows.index])
    axes.plot([], [], "o", color=MUTED, markersize=7, label="measured")
    axes.plot(predicted, range(len(predicted)), "x", color=INK, markersize=8, label="predicted")
    axes.set_xlabel("cosine of the gradients of two halves of a batch")
    legend_below(axes, columns=2)
    return figure


def _colors(ablations: Iterable[str], baseline: str) -> dict[str, Any]:
    return {ablation: look["color"] for ablation, look in styles(list(dict.fromkeys(ablations)), baseline).items()}


def _equivalence_band(axes: Axes, margin: float) -> None:
    if not np.isnan(margin):  # unknown where the baseline did not clearly gain
        axes.axvspan(-100 * margin, 100 * margin, color="#eef1f4", zorder=0)


def _intervals(
    estimates: pd.DataFrame, colors: Mapping[str, Any], neutral: float, hollow: pd.Series | None = None
) -> tuple[Figure, Axes]:
    """One row per ablation, in the order of `colors`: estimate and interval, the three columns of `estimates`.

    `hollow` says of each ablation whether its mark is hollow.
    """
    order = [ablation for ablation in colors if ablation in estimates.index]
    rows = estimates.loc[order].set_axis(["estimate", "low", "high"], axis="columns").rename_axis("name").reset_index()
    figure = Figure(figsize=(9, 1.1 + 0.32 * len(order)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(neutral, color=MUTED, linewidth=1)
    sns.pointplot(
        rows,
        x="estimate",
        y="name",
        hue="name",
        order=order,
        hue_order=order,
        palette=dict(colors),
        linestyle="none",
        markersize=7,
        markeredgewidth=1.8,
        errorbar=None,  # seaborn would need the seeds
        legend=False,
        ax=axes,
    )
    # After the marks, because seaborn sets the limits of x by the marks alone; below them all the same.
    whisker_colors = [colors[ablation] for ablation in order]
    axes.hlines(rows.index, rows["low"], rows["high"], whisker_colors, linewidth=2.2, zorder=1.5)
    if hollow is not None:
        for mark in (mark for mark, ablation in zip(axes.lines[1:], order, strict=True) if hollow[ablation]):
            mark.set_markerfacecolor("white")
    axes.set_yticks(range(len(order)), order)  # written now, while a $ is no formula
    axes.set_ylabel("")
    return figure, axes


@styled
def temperature(table: pd.DataFrame, fits: Mapping[str, Mapping], endpoint: str = "auc") -> Figure:
    """Success of constant temperatures against τ/range (logarithmic), one panel per scheme.

    `table`: scheme, ratio, endpoint, mean, low, high; `fits`: scheme -> endpoint -> fields of `tau_rule.Fit`.
    Dotted: the claimed optimum τ/range = 1/2. The shaded strip is where the maximum may be (95 %), drawn only if one
    inside the grid is shown. The parabola is drawn for the eye. Crosses: the means that every seed with every τ would
    give, drawn if some seeds lack a τ.
    """
    table = table[table["endpoint"] == endpoint]
    if table.empty:
        return empty_figure("no ablation with a constant temperature")
    grid = panels(table, (min(9, 1 + 4 * table["scheme"].nunique()), 3.8), col="scheme")
    for axes, rows in parts(grid):
        scheme = rows["scheme"].iloc[0]
        color = scheme_color(scheme)
        axes.axvline(0.5, color=MUTED, linewidth=1.2, linestyle=":", label="claimed: τ/range = ½")
        whiskers(axes, rows, rows["ratio"], fmt="o", color=color, capsize=3, label="mean over seeds")
        fit = fits.get(scheme, {}).get(endpoint)
        if fit and fit["coefficients"][0] is not None:
            x = np.linspace(np.log(rows["ratio"].min()), np.log(rows["ratio"].max()), 100)
            axes.plot(np.exp(x), np.polyval(fit["coefficients"][::-1], x), color=color, label="parabola, for the eye")
            if not np.allclose(fit["means"], rows["mean"]):
                axes.plot(rows["ratio"], fit["means"], "x", color=MUTED, label="the same seeds at every τ")
        if fit and fit["interior"]:
            axes.axvspan(fit["low"], fit["high"], color=color, alpha=0.12, label="maximum, 95 %")
        logarithmic(axes)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_title(scheme_name(scheme))
        legend_below(axes)
    ratios = table["ratio"]
    grid.set(xlim=(min(0.2, ratios.min()) / 1.2, max(1.0, ratios.max()) * 1.2))
    label = {"auc": "mean success over training", "final": "success at the end"}[endpoint]
    grid.set_axis_labels("τ / reward range", label)
    return grid.figure


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
        whiskers(left, group, group["step"] + 0.8 * (i - 1), "success", label=ablation, **look[_ablation(ablation)])
    left.set_xlabel("update steps")
    left.set_ylabel("success (128 puzzles, one seed)")
    left.yaxis.set_major_formatter(PERCENT)
    legend_below(left)
    final = figures[figures["step"].isna()].reset_index(drop=True)
    for x, row in final.iterrows():
        style = {**look[_ablation(row["ablation"])], "linestyle": ""}
        whiskers(right, final.loc[[x]], [x], "success", **style)
    right.set_xticks(final.index, final["ablation"].str.replace("softmax ", ""), rotation=20, ha="right")
    right.set_title("last figure, step not given")
    return figure


def _ablation(reported_ablation: str) -> str:
    """This project's name for an ablation of the notes, such as "softmax τ=0.5 (later)"."""
    name = reported_ablation.removesuffix(" (later)").replace(" τ=", "-").replace(" τ ", "-").replace("→", "-")
    return "baseline" if name == "linear" else name
