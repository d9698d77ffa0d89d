"""The figure of the law of gains: what each scheme gains at each learning rate, found and predicted."""

import pandas as pd
from matplotlib.figure import Figure

from softmax_rewards.report.plots.drawing import legend_below, panels, parts, whiskers
from softmax_rewards.report.plots.style import INK, MUTED, scheme_name, styled


@styled
def gains(cells: pd.DataFrame) -> Figure:
    """Gain over the base model in points against the learning rate, one panel per scheme.

    `cells` is the table of `verdicts/gain_law.py`.
    """
    points = cells.assign(**{name: 100 * cells[name] for name in ("gain", "low", "high", "predicted")})
    names = points["scheme"].map(scheme_name).str.cat(points["rho"].map("ρ = {:.2f}".format), sep="\n")
    grid = panels(points.assign(scheme=names), (12, 3.2), col="scheme", sharey=True)
    for axes, rows in parts(grid):
        axes.axhline(0, color=MUTED, linewidth=1)
        whiskers(axes, rows, rows["learning_rate"], "gain", fmt="o", color=INK, label="found")
        axes.plot(rows["learning_rate"], rows["predicted"], "x--", color=MUTED, label="predicted from the other half")
        axes.set_xscale("log")
        # Every other rate is named, because a panel is narrow.
        axes.set_xticks(rows["learning_rate"][::2], rows["learning_rate"][::2].map("{:g}".format))
        axes.set_xticks([], minor=True)
        axes.set_xlabel("learning rate")
    grid.axes.flat[0].set_ylabel("gain in points")
    legend_below(grid.axes.flat[0], columns=2)
    return grid.figure
