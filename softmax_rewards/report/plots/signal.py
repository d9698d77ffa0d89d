"""Figures of the signal study: measured and predicted signal-to-noise of every scheme."""

import pandas as pd
from matplotlib.figure import Figure

from softmax_rewards.report import names
from softmax_rewards.report.plots.drawing import Drawn, Missing
from softmax_rewards.report.plots.labels import legend_below
from softmax_rewards.report.plots.style import INK, MUTED, color, styled

PANELS = {
    "rho": ("predicted_rho", "whole gradient"),
    "success": ("predicted_success", "along success"),
    "adam_success": (None, "Adam's step, along success"),
}
"""Measured column -> (its prediction, title)."""


@styled
def measured(table: pd.DataFrame) -> Drawn:
    """Signal-to-noise of one batch with 95 % intervals, one row per scheme, one panel per column of PANELS.

    `table` is that of `training/signal_figures.py`.
    """
    if table.empty:
        return Missing("the signal of the base model's gradient was not measured")
    rows = table.iloc[::-1].reset_index(drop=True)  # the first row of the table is drawn at the top
    figure = Figure(figsize=(10.5, 1.4 + 0.24 * len(rows)), layout="constrained")
    settings = [
        names.of_setting(scheme, setting) for scheme, setting in zip(rows["scheme"], rows["setting"], strict=True)
    ]
    colors = [color(setting.scheme, setting.tau) for setting in settings]
    for axes, (column, (prediction, title)) in zip(
        figure.subplots(1, len(PANELS), sharey=True), PANELS.items(), strict=True
    ):
        half = 1.96 * rows[f"{column}_error"]
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.hlines(rows.index, rows[column] - half, rows[column] + half, colors, linewidth=2.2)
        axes.scatter(rows[column], rows.index, c=colors, s=28, zorder=3)
        if prediction is not None:
            axes.plot(rows[prediction], rows.index, "x", color=INK, label="predicted", zorder=4)
        axes.set_title(title)
        axes.set_xlabel("signal-to-noise of one batch")
        axes.grid(visible=False, axis="y")
    figure.axes[0].set_yticks(rows.index, [setting.label for setting in settings])
    figure.axes[0].plot([], [], "o", color=MUTED, label="measured")
    legend_below(figure.axes[0], columns=2)
    return figure
