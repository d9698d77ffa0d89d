"""Pairs of ablations that differ in one thing: one panel per setting of training, one row per weighting."""

import pandas as pd

from softmax_rewards.report import names
from softmax_rewards.report.plots import grouping
from softmax_rewards.report.plots.drawing import Drawn, Missing, panels, parts
from softmax_rewards.report.plots.style import MUTED, color, marker, styled

PANELS_PER_LINE = 3
USUAL = "the baseline's setting"


@styled
def contrasts(table: pd.DataFrame, question: str, ablations: pd.DataFrame, endpoint: str = "auc") -> Drawn:
    """Differences of the pairs of one question in percentage points with intervals.

    `table`: question, ablation, against, endpoint, delta, low, high (contrasts.csv); `ablations`: ablations.csv.
    """
    rows = table[(table["question"] == question) & (table["endpoint"] == endpoint) & table["delta"].notna()]
    if rows.empty:
        return Missing("this experiment has no such pair of ablations")
    named = names.described(ablations["ablation"], ablations)  # all of them, so that a condition has its name
    described = {slug: named[slug] for slug in rows["ablation"]}
    weights = {described[slug].weights: slug for slug in grouping.ordered(described, described)}
    places = {name: y for y, name in enumerate(weights)}
    settings = sorted({described[slug].setting for slug in described}, key=grouping.in_order)
    rows = rows.assign(panel=[described[slug].setting or USUAL for slug in rows["ablation"]])
    columns = min(len(settings), PANELS_PER_LINE)
    lines = -(-len(settings) // columns)
    size = (2.4 + 2.7 * columns, 0.8 + lines * (0.75 + 0.24 * len(places)))
    order = [setting or USUAL for setting in settings]
    grid = panels(rows, size, col="panel", col_order=order, col_wrap=columns)
    for axes, part in parts(grid):
        axes.axvline(0, color=MUTED, linewidth=1)
        for row in part.to_dict("records"):
            ablation = described[row["ablation"]]
            shade, y = color(ablation.scheme, ablation.tau), places[ablation.weights]
            axes.hlines(y, 100 * row["low"], 100 * row["high"], shade, linewidth=2.2)
            axes.plot(100 * row["delta"], y, marker(ablation.scheme, ablation.tau), color=shade, markersize=7)
        axes.set_yticks(range(len(places)), places)
        axes.set_ylim(len(places) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
    grid.set_axis_labels("difference in points", "")
    return grid.figure
