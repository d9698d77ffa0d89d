"""Ablations over training: success, behavior and what the update saw.

Lines are means over seeds. Bands are 95 % t intervals, which one seed does not have. The lines of a panel have the same
seeds.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FuncFormatter

from softmax_rewards.common.stats import mean_interval
from softmax_rewards.report import names
from softmax_rewards.report.plots import grouping, style
from softmax_rewards.report.plots.drawing import PERCENT, Drawn, Missing, lines, panels, parts
from softmax_rewards.report.plots.labels import name_ends
from softmax_rewards.report.plots.style import MOST_LINES, MUTED, looks, styled

SHARES = frozenset(
    {"success", "format", "finished", "gave_up", "all_wrong", "all_right", "arithmetic", "says_defeat", "pass"}
)
"""Quantities between 0 and 1. Their intervals are clipped there."""

PANELS_PER_LINE = 3


def over_seeds(frame: pd.DataFrame, value: str, x: str = "step") -> pd.DataFrame:
    """Mean and 95 % t interval of `value` over the seeds of each ablation and step; that of a share lies in 0..1.

    `frame`: ablation, seed, step, `value` and, if different, `x`. Returns ablation, step, x (its mean over
    seeds: ablations generate different numbers of tokens by the same step), mean, low, high, seeds.
    """
    rows = []
    for (ablation, step), group in frame.dropna(subset=[value]).groupby(["ablation", "step"], sort=False):
        interval = mean_interval(group[value])
        rows.append((ablation, step, group[x].mean(), interval.estimate, interval.low, interval.high, interval.n))
    table = pd.DataFrame(rows, columns=["ablation", "step", "x", "mean", "low", "high", "seeds"])
    if value in SHARES:
        table[["low", "high"]] = table[["low", "high"]].clip(0, 1)
    return table


@styled
def trajectories(
    frame: pd.DataFrame,
    value: str = "success",
    x: str = "step",
    baseline: str = "baseline",
    ablations: pd.DataFrame | None = None,
) -> Drawn:
    """A fraction in 0..1 over training, in panels of ablations that belong together, the baseline in each.

    `frame`: ablation, seed, step, `value`, and `x` ("step", or "tokens" to compare at equal generation);
    `ablations`: ablations.csv, for the names. The dotted line is the base model, which all ablations share.
    """
    if frame.empty:
        return Missing("no evaluations were recorded")
    grid = grouped_panels(frame, value, x, baseline, ablations)
    base = frame.loc[frame["step"] == frame["step"].min(), value].mean()
    for axes in grid.axes.flat:
        axes.axhline(base, color=MUTED, linewidth=1, linestyle=":")
        axes.yaxis.set_major_formatter(PERCENT)
        if x == "tokens":
            axes.xaxis.set_major_formatter(FuncFormatter(_millions))
    grid.set_axis_labels("update steps" if x == "step" else "generated tokens", f"{value} rate (held-out puzzles)")
    return grid.figure


def grouped_panels(
    frame: pd.DataFrame, value: str, x: str, baseline: str, ablations: pd.DataFrame | None
) -> sns.FacetGrid:
    """`value` against `x`, a panel per group of ablations, with the names of lines at their ends."""
    described = names.described([baseline, *frame["ablation"]], ablations)
    made, look = grouping.groups(frame, described, baseline), looks(described)
    shown = grouping.split(frame, made, baseline)
    columns, height = min(len(made), PANELS_PER_LINE), 2.9 if len(made) > 1 else 3.6
    size = (1.0 + 3.3 * columns if len(made) > 1 else 6.6, height * -(-len(made) // columns))
    # The panels share the axes, so that heights can be compared. Each has its own numbers, because names stand between.
    grid = panels(shown, size, col="panel", col_order=[group.title for group in made], col_wrap=columns)
    limits = _focus(frame[value])
    for (axes, part), group in zip(parts(grid), made, strict=True):
        curves = over_seeds(part, value, x)
        labels = {slug: grouping.short(slug, group, described) for slug in [baseline, *group.ablations]}
        lines(axes, curves, "x", "mean", "ablation", {slug: look[slug] for slug in labels}, labels)
        axes.set_ylim(limits)
        name_ends(axes, 0.75 * height)
    return grid


@styled
def by_setting(frame: pd.DataFrame, ablations: pd.DataFrame, baseline: str = "baseline") -> Drawn:
    """Success over training of the ablations that were trained in another setting, one panel per setting.

    `frame` as for `trajectories`; `ablations`: ablation, weighting, setting (missing for the baseline's), baseline. The
    dotted line is the baseline in its own setting, with the seeds of the others.
    """
    ablations = ablations[ablations["baseline"] == baseline]  # those of its condition
    described = names.described(ablations["ablation"], ablations)
    slugs = [slug for slug in grouping.ordered(described, described) if described[slug].setting]
    trained = frame[frame["ablation"].isin(slugs)]
    if trained.empty:
        return Missing("every ablation was trained in the setting of the baseline")
    shown, labels = [], {slug: described[slug].weights for slug in slugs}
    for setting, members in _by_setting(slugs, described).items():
        rows = trained[trained["ablation"].isin(members)]
        own = frame[(frame["ablation"] == baseline) & frame["seed"].isin(rows["seed"])]
        shown.append(pd.concat([rows, own]).assign(panel=setting))
    columns, height = min(len(shown), PANELS_PER_LINE), 2.6
    size = (1.0 + 3.3 * columns, height * -(-len(shown) // columns))
    grid = panels(pd.concat(shown), size, col="panel", col_wrap=columns, sharex=False)
    look = {slug: style.look(described[slug].scheme, described[slug].tau) for slug in slugs}
    look[baseline] = {"color": MUTED, "linestyle": ":"}
    labels[baseline] = "usual setting"
    for axes, part in parts(grid):
        lines(axes, over_seeds(part, "success"), "x", "mean", "ablation", look, labels)
        axes.set_ylim(_focus(frame["success"]))
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_xlabel("update steps")
        name_ends(axes, 0.72 * height)
    grid.set_ylabels("success rate")
    return grid.figure


def _by_setting(slugs: Sequence[str], described: Mapping[str, names.Ablation]) -> dict[str, list[str]]:
    """Setting → its ablations, at most so many that a panel can hold them beside the baseline."""
    settings: dict[str, list[str]] = {}
    for slug in sorted(slugs, key=lambda slug: grouping.in_order(described[slug].setting)):
        setting = described[slug].setting
        while len(settings.get(setting, [])) == MOST_LINES - 1:
            setting += " (continued)"
        settings.setdefault(setting, []).append(slug)
    return settings


@styled
def over_training(
    frame: pd.DataFrame,
    labels: Mapping[str, str],
    baseline: str = "baseline",
    points: int = 30,
    ablations: pd.DataFrame | None = None,
) -> Drawn:
    """Several quantities over training: one panel each, and one row of them per group of ablations with the baseline.

    The panels of a single group stand in rows of three, so that they are wide enough to read.
    `frame`: ablation, seed, step and the columns that `labels` (column -> name with unit) names. Steps
    are averaged in about `points` bins within each seed first, so that the lines can be distinguished.
    """
    labels = {column: label for column, label in labels.items() if column in frame and frame[column].notna().any()}
    if frame.empty or not labels:
        return Missing("none of these quantities was recorded")
    width = max(1, round(frame["step"].max() / points))
    binned = frame.assign(step=(np.ceil(frame["step"] / width) * width).astype(int))
    binned = binned.groupby(["ablation", "seed", "step"], as_index=False)[list(labels)].mean()
    described = names.described([baseline, *frame["ablation"]], ablations)
    made, look = grouping.groups(binned, described, baseline), looks(described)
    long = grouping.split(binned, made, baseline).melt(["ablation", "seed", "step", "panel"], list(labels), "quantity")
    across, down = (3, math.ceil(len(labels) / 3)) if len(made) == 1 else (len(labels), len(made))
    facets = {"col": "quantity"} | (
        {"col_wrap": across, "sharey": False}
        if len(made) == 1
        else {"row": "panel", "row_order": [group.title for group in made], "sharey": "col"}
    )
    grid = panels(long, (min(11.0, 2.2 + 2.1 * across), 0.7 + 1.75 * down), **facets)
    rows = grid.axes.reshape(len(made), len(labels))
    for number, (group, row) in enumerate(zip(made, rows, strict=True)):
        for axes, (column, label) in zip(row, labels.items(), strict=True):
            part = long[(long["panel"] == group.title) & (long["quantity"] == column)]
            curves = over_seeds(part.rename(columns={"value": column}), column)
            shown = {slug: grouping.short(slug, group, described) for slug in [baseline, *group.ablations]}
            lines(axes, curves, "x", "mean", "ablation", {slug: look[slug] for slug in shown}, shown, linewidth=1.5)
            axes.set_ylim(_focus(binned[column]))
            axes.set_title("" if number else label, fontsize=9.5)
            if column in SHARES:
                axes.yaxis.set_major_formatter(PERCENT)
        row[:across][-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=2.2)
        row[0].set_ylabel(group.title.replace(", ", ",\n"))
    grid.set_xlabels("update steps")
    return grid.figure


def _focus(values: pd.Series) -> tuple[float, float]:
    """Limits by what the runs did: with few seeds a t band is many times as wide, and is cut at the frame."""
    low, high = float(values.min()), float(values.max())
    margin = 0.15 * (high - low) or 0.1 * abs(high) or 1.0
    return (max(low - margin, 0.0) if low >= 0 else low - margin), high + margin


def _millions(tokens: float, _: int) -> str:
    return f"{tokens / 1e6:g} M" if tokens else "0"
