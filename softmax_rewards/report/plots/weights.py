"""What the schemes do to groups of rewards, before any training and on the groups that training saw."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from softmax_rewards.report import names
from softmax_rewards.report.plots.drawing import (
    PERCENT,
    Drawn,
    Missing,
    heatmap,
    linear_line,
    lines,
    logarithmic,
    panels,
    parts,
)
from softmax_rewards.report.plots.labels import legend_below
from softmax_rewards.report.plots.style import (
    BASELINE,
    INK,
    MOST_LINES,
    MUTED,
    look,
    scheme_looks,
    shades,
    styled,
)

_STATES = {"best of one": "#d55e00", "between": "#cfe3f3", "flat": "#f0e442", "none": "#e4e7eb"}
_RATIO = "τ / reward range"
_SCHEMES = ("softmax", "softmax_centered")
# The temperatures that are drawn as lines. More could not be told apart.
_TAUS = (0.1, 0.25, 0.5, 0.75, 1.0, 2.0)
_FEW_TAUS = (0.1, 0.25, 0.5, 1.0)
_QUANTITIES = {
    "effective_n": "Effective N",
    "max_share": "Largest share",
    "contrast_over_rms": "Contrast / RMS of weights",
}


@styled
def universal(table: pd.DataFrame) -> Drawn:
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
    looks = {f"N = {size}": {"color": shade} for size, shade in zip(sizes, shades(len(sizes)), strict=True)}
    long = rows.melt(["tau_over_range", "size", "range"], list(titles), var_name="panel")
    grid = panels(long.replace({"panel": titles}), (10, 3.7), col="panel", sharey=False)
    for axes, part in parts(grid):
        lines(axes, part[part["range"] == spans[0]], "tau_over_range", "value", "size", looks)
        for i, (span, form) in enumerate(zip(spans, "ox+", strict=False)):
            # Every ninth value, from another one on for each range, so that no marker hides another.
            for size, line in part[part["range"] == span].groupby("size", sort=False):
                marks = line.iloc[3 * i :: 9]
                axes.plot(marks["tau_over_range"], marks["value"], form, color=looks[size]["color"])
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
def states(table: pd.DataFrame) -> Drawn:
    """Where each scheme is best-of-one, flat, or in between on the canonical group, over τ/range.

    `table`: scheme, tau_over_range (missing: no temperature, drawn over the whole width), state.
    """
    tempered = table.dropna(subset=["tau_over_range"])
    low, high = tempered["tau_over_range"].min(), tempered["tau_over_range"].max()
    with_tau = {*tempered["scheme"]}
    schemes = sorted({*table["scheme"]}, key=lambda scheme: (scheme not in with_tau, names.rank(scheme), scheme))
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
    axes.set_yticks(range(len(schemes)), [names.scheme(scheme) for scheme in schemes])
    axes.set_ylim(len(schemes) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.set_xlabel(_RATIO)
    figure.legend(loc="outside upper center", ncols=4)
    return figure


@styled
def difficulty(table: pd.DataFrame) -> Drawn:
    """g against the share of right answers in a group, two-valued rewards, each curve divided by its mean.

    `table`: scheme, tau, success, g. Schemes whose curves coincide share a line and its label. The centered softmax
    has the curves of softmax.
    """
    alone = _shapes(table[table["tau"].isna()])
    tempered = _shapes(table[(table["scheme"] == "softmax") & table["tau"].isin(_TAUS)])
    curves = pd.concat([_paneled(alone, "without a temperature"), _paneled(tempered, "softmax, centered or not")])
    order = curves["panel"].unique()
    columns = min(3, len(order))
    size = (10.5, 4.6 * -(-len(order) // columns))
    grid = panels(curves, size, col="panel", col_order=order, col_wrap=columns)
    for axes, part in parts(grid):
        firsts = part.drop_duplicates("label").to_dict("records")
        looks = {row["label"]: look(row["scheme"], row["tau"]) for row in firsts}
        lines(axes, part, "success", "shape", "label", looks)
        axes.xaxis.set_major_formatter(PERCENT)
        axes.set_ylim(0, 1.05 * curves["shape"].max())
        legend_below(axes)
    grid.set_axis_labels("right answers in the group", "g, relative to its mean")
    return grid.figure


def _paneled(curves: pd.DataFrame, title: str) -> pd.DataFrame:
    """`curves` with a column `panel`, at most MOST_LINES of them to a panel."""
    labels = list(curves["label"].unique())
    count = -(-len(labels) // MOST_LINES)
    numbers = curves["label"].map(lambda label: labels.index(label) * count // len(labels) + 1)
    return curves.assign(panel=numbers.map(lambda number: f"{title} ({number} of {count})" if count > 1 else title))


def _shapes(rows: pd.DataFrame) -> pd.DataFrame:
    """One curve for all schemes that share it: label, scheme and tau of the first, success, shape (g/mean g).

    Schemes whose g is 0 have none.
    """
    shapes: list[tuple[list[str], pd.DataFrame]] = []
    ranked = rows.assign(rank=rows["scheme"].map(names.rank))  # the best known scheme gives a line its color
    for (tau, _, scheme), curve in ranked.groupby(["tau", "rank", "scheme"], dropna=False):
        curve = curve.sort_values("success")
        if curve["g"].abs().max() == 0:
            continue
        curve = curve.assign(shape=curve["g"] / curve["g"].mean())
        label = names.scheme(scheme) if np.isnan(tau) else names.temperature(tau)
        labels = next(
            (labels for labels, other in shapes if np.allclose(curve["shape"], other["shape"], atol=1e-3)), None
        )
        if labels is None:
            shapes.append(([label], curve))
        else:
            labels.append(label)
    named = [curve.assign(label="\n".join(textwrap.wrap(" = ".join(labels), 40))) for labels, curve in shapes]
    columns = ["label", "scheme", "tau", "success", "shape"]
    return pd.concat(named)[columns] if named else pd.DataFrame(columns=columns)


@styled
def signal_to_noise(table: pd.DataFrame, success: float = 0.09) -> Drawn:
    """Predicted signal-to-noise of a batch: against τ at one success rate, and against the success rate.

    `table`: scheme, tau, success, snr, bound, stated; per square root of the number of samples. Crosses are
    the figures that the analysis plan states.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    here = table[np.isclose(table["success"], success)]
    lines(left, here, "tau", "snr", "scheme", scheme_looks(_SCHEMES), names.SCHEMES)
    linear_line(left, here.loc[here["scheme"] == "linear", "snr"].iloc[0])
    left.axhline(here["bound"].iloc[0], color=MUTED, linestyle=":", label="upper bound √(p(1−p))")
    stated = here.dropna(subset=["stated", "tau"])
    left.plot(stated["tau"], stated["stated"], "x", color=INK, markersize=8, label="stated beforehand")
    logarithmic(left)
    left.set_title(f"At {success:.0%} success")
    left.set(xlabel="τ (rewards 0 and 1)", ylabel="signal / noise per √sample")

    linear = table[table["scheme"] == "linear"].sort_values("success")
    right.plot(linear["success"], linear["bound"], color=MUTED, linestyle=":", label="upper bound")
    right.plot(linear["success"], linear["snr"], color=BASELINE["color"], label=names.scheme("linear"))
    for tau, line in table[(table["scheme"] == "softmax") & table["tau"].isin(_FEW_TAUS)].groupby("tau"):
        line = line.sort_values("success")
        right.plot(line["success"], line["snr"], **look("softmax", tau), label=f"softmax {names.temperature(tau)}")
    right.xaxis.set_major_formatter(PERCENT)
    right.set_title("Against the success rate")
    right.set(xlabel="success rate p", ylabel="")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        legend_below(axes, columns=2)
    return figure


@styled
def by_temperature(rows: pd.DataFrame) -> Drawn:
    """Effective N, largest share, and contrast over RMS against τ, one row of panels per group size.

    `rows`: group_size, scheme, tau, effective_n, max_share, contrast, rms, one row per group size, scheme and τ. A
    panel may be empty: without a group that has right and wrong answers there is no contrast.
    """
    if rows.empty:
        return Missing("no groups were logged")
    rows = rows.assign(contrast_over_rms=rows["contrast"] / rows["rms"])
    sizes = sorted(rows["group_size"].unique())
    long = rows.melt(["group_size", "scheme", "tau"], list(_QUANTITIES), "quantity")
    size = (10, 1.0 + 2.3 * len(sizes))
    grid = panels(long, size, row="group_size", row_order=sizes, col="quantity", sharey=False)
    for group_size, row in zip(sizes, grid.axes, strict=True):
        for axes, (column, title) in zip(row, _QUANTITIES.items(), strict=True):
            part = long[(long["group_size"] == group_size) & (long["quantity"] == column)]
            lines(axes, part, "tau", "value", "scheme", scheme_looks(_SCHEMES), names.SCHEMES)
            linear_line(axes, part.loc[part["scheme"] == "linear", "value"].iloc[0])
            if part["value"].isna().all():
                missing = "no group has right\nand wrong answers"
                axes.text(0.5, 0.5, missing, transform=axes.transAxes, ha="center", va="center", color=MUTED)
            axes.set_xlim(rows["tau"].min() / 1.2, rows["tau"].max() * 1.2)
            logarithmic(axes)
            axes.set_ylim(bottom=0)
            axes.set_title(title if axes in grid.axes[0] else "")
        row[0].set_ylabel(f"N = {group_size}")
    grid.set_xlabels("τ (reward units)")
    legend_below(grid.axes[-1, 1], columns=3)
    return grid.figure


@styled
def populations(table: pd.DataFrame, column: str, label: str) -> Drawn:
    """A heat map of `column` over simulated populations (success rate, share of format-only rewards among the
    wrong answers) and schemes: those without a temperature, and softmax at each τ.

    `table`: population, success, format_share, scheme, tau and `column`.
    """
    rows = table[(table["population"] == "simulated") & (table["tau"].isna() | (table["scheme"] == "softmax"))]
    if rows.empty:
        return Missing("no simulated groups")
    labels = (rows["scheme"].map(names.scheme) + " " + rows["tau"].map(names.temperature)).str.strip()
    grid = rows.assign(name=labels).pivot(index="name", columns=["success", "format_share"], values=column)
    grid = grid.loc[labels.unique()]
    populations = [f"{success:.0%}\n{share:.0%}" for success, share in grid.columns]
    figure = Figure(figsize=(9, 0.9 + 0.27 * len(grid)), layout="constrained")
    axes = figure.subplots()
    heatmap(axes, grid, annot=True, fmt=".2f", cbar_kws={"label": label}, xticklabels=populations)
    axes.set_xlabel("success rate (above) and share of wrong answers that are well formed (below)")
    return figure
