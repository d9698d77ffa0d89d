"""The figure of the law of gains: what each scheme gains at each learning rate, found and predicted."""

import pandas as pd

from softmax_rewards.report import names
from softmax_rewards.report.names import rate
from softmax_rewards.report.plots.drawing import Drawn, Missing, panels, parts, whiskers
from softmax_rewards.report.plots.style import INK, MUTED, look, styled


@styled
def gains(cells: pd.DataFrame, ablations: pd.DataFrame | None = None) -> Drawn:
    """Gain over the base model in points against the learning rate, one panel per scheme.

    `cells` is the table of `verdicts/gain_law.py`. The gray line in the other panels is GRPO.
    """
    if cells.empty:
        return Missing("this experiment does not have three schemes at three learning rates")
    points = cells.assign(**{name: 100 * cells[name] for name in ("gain", "low", "high", "predicted")})
    described = names.described(points["ablation"], ablations)
    weights = {scheme: described[rows["ablation"].iloc[0]] for scheme, rows in points.groupby("scheme")}
    grpo = points[points["scheme"] == "linear"]
    columns = min(3, points["scheme"].nunique())
    rows_of_panels = -(-points["scheme"].nunique() // columns)
    size = (0.8 + 3.0 * columns, 0.8 + 2.4 * rows_of_panels)
    grid = panels(points, size, col="scheme", col_wrap=columns)
    rates = sorted(points["learning_rate"].unique())
    for axes, rows in parts(grid):
        scheme = rows["scheme"].iloc[0]
        axes.axhline(0, color=MUTED, linewidth=1)
        if scheme != "linear":
            axes.plot(grpo["learning_rate"], grpo["gain"], color="#b6bcc4", linewidth=1.2, label="GRPO")
        style = look(weights[scheme].scheme, weights[scheme].tau)
        whiskers(axes, rows, rows["learning_rate"], "gain", linestyle="-", label="found", **style)
        axes.plot(rows["learning_rate"], rows["predicted"], "x--", color=INK, linewidth=1.1, label="predicted")
        axes.set_title(f"{weights[scheme].weights}\nρ = {rows['rho'].iloc[0]:.2f}")
        axes.set_xscale("log")
        axes.set_xticks(rates, [rate(value) for value in rates], fontsize=8)
        axes.set_xticks([], minor=True)
    # Whiskers of three seeds may be many times as long as what the means span. They are cut at the frame.
    low, high = points[["gain", "predicted"]].min().min(), points[["gain", "predicted"]].max().max()
    grid.set(ylim=(low - 0.3 * (high - low), high + 0.3 * (high - low)))
    grid.set_axis_labels("learning rate", "gain in points")
    grid.axes.flat[-1].legend(loc="lower left", fontsize=8.5)
    return grid.figure
