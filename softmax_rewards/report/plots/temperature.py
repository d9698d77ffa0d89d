"""Success against temperature, and what the notes reported.

Whiskers are 95 % t intervals over seeds. The notes had one seed, so their figures have binomial intervals.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from softmax_rewards.report import names
from softmax_rewards.report.plots.drawing import PERCENT, Drawn, Missing, logarithmic, panels, parts, whiskers
from softmax_rewards.report.plots.labels import legend_below
from softmax_rewards.report.plots.style import INK, MUTED, color, look, styled


@styled
def temperature(table: pd.DataFrame, fits: Mapping[str, Mapping], endpoint: str = "auc") -> Drawn:
    """Success of constant temperatures against τ/range (logarithmic), one panel per scheme.

    `table`: scheme, ratio, endpoint, mean, low, high; `fits`: scheme -> endpoint -> fields of `tau_rule.Fit`.
    Dotted: the claimed optimum τ/range = 1/2. The shaded strip is where the maximum may be (95 %), drawn only if one
    inside the grid is shown. The parabola is drawn for the eye. Crosses: the means that every seed with every τ would
    give, drawn if some seeds lack a τ.
    """
    table = table[table["endpoint"] == endpoint]
    if table.empty:
        return Missing("no ablation with a constant temperature")
    table = table.assign(low=table["low"].clip(0, 1), high=table["high"].clip(0, 1))
    grid = panels(table, (min(9, 1 + 4 * table["scheme"].nunique()), 3.8), col="scheme")
    for axes, rows in parts(grid):
        scheme = rows["scheme"].iloc[0]
        shade = color(scheme)
        axes.axvline(0.5, color=MUTED, linewidth=1.2, linestyle=":", label="claimed: τ/range = ½")
        for _, row in rows.iterrows():
            whiskers(axes, row.to_frame().T, [row["ratio"]], linestyle="", capsize=3, **look(scheme, row["tau"]))
        fit = fits.get(scheme, {}).get(endpoint)
        if fit and fit["coefficients"][0] is not None:
            x = np.linspace(np.log(rows["ratio"].min()), np.log(rows["ratio"].max()), 100)
            axes.plot(np.exp(x), np.polyval(fit["coefficients"][::-1], x), color=shade, label="parabola, for the eye")
            if not np.allclose(fit["means"], rows["mean"]):
                axes.plot(rows["ratio"], fit["means"], "x", color=INK, label="the same seeds at every τ")
        if fit and fit["interior"]:
            axes.axvspan(fit["low"], fit["high"], color=shade, alpha=0.12, label="maximum, 95 %")
        logarithmic(axes)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_title(names.scheme(scheme))
        legend_below(axes)
    ratios = table["ratio"]
    grid.set(xlim=(min(0.2, ratios.min()) / 1.2, max(1.0, ratios.max()) * 1.2))
    label = {"auc": "mean success over training", "final": "success at the end"}[endpoint]
    grid.set_axis_labels("τ / reward range", label)
    return grid.figure


@styled
def reported(table: pd.DataFrame) -> Drawn:
    """The notes' success figures (one seed, 128 puzzles) with binomial intervals; right: figures whose step
    was not given. `table`: kind, ablation, step, success, low, high."""
    figures = table[table["kind"] == "figure"]
    if figures.empty:
        return Missing("no reported figures")
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    dated, final = figures.dropna(subset=["step"]), figures[figures["step"].isna()].reset_index(drop=True)
    for i, (weighting, group) in enumerate(dated.groupby("ablation", sort=False)):
        # Shifted a little, so that whiskers at the same step stand side by side.
        style = _look(weighting) | {"linestyle": "-", "label": names.of_weighting(weighting).label}
        whiskers(left, group, group["step"] + 0.8 * (i - 1), "success", **style)
    left.set_xlabel("update steps")
    left.set_ylabel("success (128 puzzles, one seed)")
    left.yaxis.set_major_formatter(PERCENT)
    legend_below(left)
    for x, row in final.iterrows():
        whiskers(right, final.loc[[x]], [x], "success", linestyle="", **_look(row["ablation"]))
    right.set_xticks(final.index, final["ablation"].str.replace("softmax ", ""), rotation=20, ha="right")
    right.set_title("last figure, step not given")
    return figure


def _look(weighting: str) -> dict[str, Any]:
    """Color and marker of an ablation of the notes, such as "softmax τ=0.5 (later)"."""
    ablation = names.of_weighting(weighting.removesuffix(" (later)"))
    return look(ablation.scheme, ablation.tau)
