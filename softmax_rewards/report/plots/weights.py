"""What the schemes do to groups of rewards, before any training and on the groups that training saw."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from softmax_rewards.report.plots.drawing import (
    PERCENT,
    empty_figure,
    heatmap,
    legend_below,
    linear_line,
    lines,
    logarithmic,
    panels,
    parts,
)
from softmax_rewards.report.plots.style import (
    BASELINE,
    INK,
    MUTED,
    SINGLES,
    scheme_color,
    scheme_name,
    shades,
    styled,
)

_STATES = {"best of one": "#d55e00", "between": "#cfe3f3", "flat": "#f0e442", "none": "#e4e7eb"}
_RATIO = "τ / reward range"
_LINEAR = scheme_name("linear")


@styled
def universal(table: pd.DataFrame) -> Figure:
    """Softmax of one right answer and N−1 worthless ones against τ/range: effective N, best : worst, weight.

    `table`: range, group_size, right, format_share, tau_over_range, effective_n, ratio, weight_right. One line
    per group size; the reward ranges are markers on it, which coincide because only τ/range counts.
    """
    titles = {
        "effective_n": "Effective N",
        "ratio": "Weight ratio best : worst",
        "weight_right": "Weight on the right answer",
    }
    rows = table[(table["right"] == 1) & (table["format_share"] == 0)].sort_values(["group_size", "tau_over_range"])
    sizes, spans = sorted(rows["group_size"].unique()), sorted(rows["range"].unique())
    rows = rows.assign(size=rows["group_size"].map("N = {}".format))
    look = {f"N = {size}": {"color": color} for size, color in zip(sizes, shades("softmax", len(sizes)), strict=True)}
    long = rows.melt(["tau_over_range", "size", "range"], list(titles), var_name="panel")
    grid = panels(long.replace({"panel": titles}), (10, 3.7), col="panel", sharey=False)
    for axes, part in parts(grid):
        lines(axes, part[part["range"] == spans[0]], "tau_over_range", "value", "size", look, markers=False)
        for i, (span, marker) in enumerate(zip(spans, "ox+", strict=False)):
            # Every ninth value, from another one on for each range, so that no marker hides another.
            for size, line in part[part["range"] == span].groupby("size", sort=False):
                marks = line.iloc[3 * i :: 9]
                axes.plot(marks["tau_over_range"], marks["value"], marker, color=look[size]["color"])
        axes.axvline(0.5, color=MUTED, linestyle=":", linewidth=1.2, label="τ/range = ½")
        logarithmic(axes)
        legend_below(axes)
    grid.set_axis_labels(_RATIO, "")
    middle = grid.axes[0, 1]
    middle.set_ylim(0.8, 1e4)
    logarithmic(middle, "y")
    middle.annotate("e² ≈ 7.4", (0.5, np.exp(2)), xytext=(8, 6), textcoords="offset points", fontsize=9)
    return grid.figure


@styled
def states(table: pd.DataFrame) -> Figure:
    """Where each scheme is best-of-one, flat, or in between on the canonical group, over τ/range.

    `table`: scheme, tau_over_range (missing: no temperature, drawn over the whole width), state.
    """
    tempered = table.dropna(subset=["tau_over_range"])
    low, high = tempered["tau_over_range"].min(), tempered["tau_over_range"].max()
    schemes = [*sorted(tempered["scheme"].unique()), *sorted(set(table["scheme"]) - set(tempered["scheme"]))]
    figure = Figure(figsize=(9, 0.9 + 0.3 * len(schemes)), layout="constrained")
    axes = figure.subplots()
    for y, scheme in enumerate(schemes):
        rows = table[table["scheme"] == scheme].sort_values("tau_over_range")
        rows = rows[rows["state"] != rows["state"].shift()]  # where each state begins
        begins = [low, *rows["tau_over_range"].iloc[1:], high]
        for state, start, end in zip(rows["state"], begins[:-1], begins[1:], strict=True):
            axes.fill_betweenx([y - 0.36, y + 0.36], start, end, color=_STATES[state], linewidth=0)
    for state in (state for state in _STATES if state in set(table["state"])):
        axes.fill_betweenx([], [], [], color=_STATES[state], label=state)
    axes.axvline(0.5, color=MUTED, linestyle=":", linewidth=1.2)
    axes.set_xlim(low, high)
    logarithmic(axes)
    axes.set_yticks(range(len(schemes)), [scheme_name(scheme) for scheme in schemes])
    axes.set_ylim(len(schemes) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.set_xlabel(_RATIO)
    figure.legend(loc="outside upper center", ncols=4)
    return figure


@styled
def difficulty(table: pd.DataFrame) -> Figure:
    """g against the share of right answers in a group, two-valued rewards, each curve divided by its mean.

    `table`: scheme, tau, success, g. Schemes whose curves coincide share a line and its label.
    """
    tempered = table["tau"].notna()
    named = ((~tempered, "Without a temperature"), (tempered, "With a temperature"))
    curves = pd.concat(_shapes(table[rows]).assign(panel=panel) for rows, panel in named)
    grid = panels(curves, (10, 4), col="panel")
    for axes, part in parts(grid):
        names = part["label"].unique()
        alone = part["panel"].iloc[0] == "Without a temperature"
        colors = [SINGLES[i % len(SINGLES)] for i in range(len(names))] if alone else shades("softmax", len(names))
        look = {name: {"color": color, "marker": "o"} for name, color in zip(names, colors, strict=True)}
        lines(axes, part, "success", "shape", "label", look)
        axes.xaxis.set_major_formatter(PERCENT)
        axes.set_ylim(bottom=0)
        legend_below(axes, columns=1 if alone else 2)
    grid.set_axis_labels("right answers in the group", "g, relative to its mean")
    return grid.figure


def _shapes(rows: pd.DataFrame) -> pd.DataFrame:
    """label, success and shape (g/mean g), one curve for all schemes that share it; without those whose g is 0."""
    shapes: list[tuple[list[str], pd.Series]] = []
    for (tau, scheme), curve in rows.groupby(["tau", "scheme"], dropna=False):
        g = curve.set_index("success")["g"].sort_index()
        if g.abs().max() == 0:
            continue
        shape = g / g.mean()
        label = scheme_name(scheme) if np.isnan(tau) else f"τ = {tau:g}"
        labels = next((labels for labels, other in shapes if np.allclose(shape, other, atol=1e-3)), None)
        if labels is None:
            shapes.append(([label], shape))
        elif label not in labels:
            labels.append(label)
    curves = [shape.rename("shape").reset_index().assign(label=", ".join(labels)) for labels, shape in shapes]
    return pd.concat(curves) if curves else pd.DataFrame(columns=["success", "shape", "label"])


@styled
def signal_to_noise(table: pd.DataFrame, success: float = 0.09) -> Figure:
    """Predicted signal-to-noise of a batch: against τ at one success rate, and against the success rate.

    `table`: scheme, tau, success, snr, bound, stated; per square root of the number of samples. Crosses are
    the figures that the analysis plan states.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    named = table.assign(scheme=table["scheme"].map(scheme_name))
    here = named[np.isclose(named["success"], success)]
    lines(left, here, "tau", "snr", "scheme", _looks(("softmax", "softmax_centered")))
    linear_line(left, here.loc[here["scheme"] == _LINEAR, "snr"].iloc[0])
    left.axhline(here["bound"].iloc[0], color=MUTED, linestyle=":", label="upper bound √(p(1−p))")
    stated = here.dropna(subset=["stated", "tau"])
    left.plot(stated["tau"], stated["stated"], "x", color=INK, markersize=8, label="stated beforehand")
    logarithmic(left)
    left.set_title(f"At {success:.0%} success")
    left.set(xlabel="τ (rewards 0 and 1)", ylabel="signal / noise per √sample")

    linear = named[named["scheme"] == _LINEAR].sort_values("success")
    softmax = named[named["scheme"] == "softmax"].sort_values("tau")
    softmax = softmax.assign(scheme=softmax["tau"].map("softmax τ = {:g}".format))
    taus = softmax["scheme"].unique()
    colors = zip(taus, shades("softmax", len(taus)), strict=True)
    look = {tau: {"color": color} for tau, color in colors} | {_LINEAR: BASELINE}
    lines(right, pd.concat([softmax, linear]), "success", "snr", "scheme", look, markers=False)
    right.plot(linear["success"], linear["bound"], color=MUTED, linestyle=":", label="upper bound")
    right.xaxis.set_major_formatter(PERCENT)
    right.set_title("Against the success rate")
    right.set(xlabel="success rate p", ylabel="")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        legend_below(axes, columns=2)
    return figure


def _looks(schemes: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {scheme_name(scheme): {"color": scheme_color(scheme), "marker": "o"} for scheme in schemes}


@styled
def by_temperature(rows: pd.DataFrame, schemes: Sequence[str] = ("softmax", "softmax_centered")) -> Figure:
    """Effective N, largest share, and contrast over RMS against τ on one population of groups.

    `rows`: scheme, tau, effective_n, max_share, contrast, rms, one row per scheme and τ. Dashed: linear. A panel
    may be empty: without a group that has right and wrong answers there is no contrast.
    """
    if rows.empty:
        return empty_figure("no groups")
    titles = {
        "effective_n": "Effective N",
        "max_share": "Largest share",
        "contrast_over_rms": "Contrast / RMS of weights",
    }
    rows = rows.assign(contrast_over_rms=rows["contrast"] / rows["rms"], scheme=rows["scheme"].map(scheme_name))
    long = rows.melt(["scheme", "tau"], list(titles), var_name="panel").replace({"panel": titles})
    grid = panels(long, (10, 3.4), col="panel", sharey=False)
    for axes, part in parts(grid):
        lines(axes, part, "tau", "value", "scheme", _looks(schemes))
        linear_line(axes, part.loc[part["scheme"] == _LINEAR, "value"].iloc[0])
        if part["value"].isna().all():
            missing = "no group has right\nand wrong answers"
            axes.text(0.5, 0.5, missing, transform=axes.transAxes, ha="center", va="center", color=MUTED)
        axes.set_xlim(rows["tau"].min() / 1.2, rows["tau"].max() * 1.2)
        logarithmic(axes)
        axes.set_ylim(bottom=0)
        legend_below(axes)
    grid.set_axis_labels("τ (reward units)", "")
    return grid.figure


@styled
def populations(table: pd.DataFrame, column: str, label: str) -> Figure:
    """A heat map of `column` over simulated populations (success rate, share of format-only rewards among the
    wrong answers) and schemes: those without a temperature, and softmax at each τ.

    `table`: population, success, format_share, scheme, tau and `column`.
    """
    rows = table[(table["population"] == "simulated") & (table["tau"].isna() | (table["scheme"] == "softmax"))]
    if rows.empty:
        return empty_figure("no simulated groups")
    names = rows["scheme"].map(scheme_name) + rows["tau"].map(lambda tau: "" if np.isnan(tau) else f" τ={tau:g}")
    grid = rows.assign(name=names).pivot(index="name", columns=["success", "format_share"], values=column)
    grid = grid.loc[names.unique()]
    populations = [f"{success:.0%}\n{share:.0%}" for success, share in grid.columns]
    figure = Figure(figsize=(9, 0.9 + 0.27 * len(grid)), layout="constrained")
    axes = figure.subplots()
    heatmap(axes, grid, annot=True, fmt=".2f", cbar_kws={"label": label}, xticklabels=populations)
    axes.set_xlabel("success rate (above) and share of wrong answers that are well formed (below)")
    return figure
