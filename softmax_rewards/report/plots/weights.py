"""What the schemes do to groups of rewards, before any training and on the groups that training saw."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from softmax_rewards.report.plots.style import (
    MUTED,
    PERCENT,
    SINGLES,
    empty_figure,
    legend_below,
    logarithmic,
    scheme_name,
    styled,
)

_SCHEMES = {"softmax": "#2171b5", "softmax_centered": "#d94801", "softmax_scaled": "#cc79a7"}
_STATES = {"best of one": "#d55e00", "between": "#cfe3f3", "flat": "#f0e442", "none": "#e4e7eb"}
_RATIO = "τ / reward range"


@styled
def universal(table: pd.DataFrame) -> Figure:
    """Softmax of one right answer and N−1 worthless ones against τ/range: effective N, best : worst, weight.

    `table`: range, group_size, right, format_share, tau_over_range, effective_n, ratio, weight_right. One line
    per group size; the reward ranges are markers on it, which coincide because only τ/range counts.
    """
    rows = table[(table["right"] == 1) & (table["format_share"] == 0)]
    figure = Figure(figsize=(10, 3.7), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    sizes, ranges = sorted(rows["group_size"].unique()), sorted(rows["range"].unique())
    colors = matplotlib.colormaps["Blues"](np.linspace(0.45, 0.95, len(sizes)))
    for axes, column, title in (
        (left, "effective_n", "Effective N"),
        (middle, "ratio", "Weight ratio best : worst"),
        (right, "weight_right", "Weight on the right answer"),
    ):
        for size, color in zip(sizes, colors, strict=True):
            for index, (span, marker) in enumerate(zip(ranges, "ox+", strict=False)):
                line = rows[(rows["group_size"] == size) & (rows["range"] == span)].sort_values("tau_over_range")
                axes.plot(
                    line["tau_over_range"],
                    line[column],
                    color=color,
                    linestyle="-" if index == 0 else "",
                    marker=marker,
                    markevery=(3 * index, 9),
                    label=f"N = {size}" if index == 0 else None,
                )
        axes.axvline(0.5, color=MUTED, linestyle=":", linewidth=1.2, label="τ/range = ½")
        logarithmic(axes)
        axes.set_title(title)
        axes.set_xlabel(_RATIO)
        legend_below(axes)
    middle.set_ylim(0.8, 1e4)
    logarithmic(middle, "y")
    middle.annotate("e² ≈ 7.4", (0.5, np.exp(2)), xytext=(8, 6), textcoords="offset points", fontsize=9)
    return figure


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
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, rows, title in (
        (panels[0], table[table["tau"].isna()], "Without a temperature"),
        (panels[1], table[table["tau"].notna()], "With a temperature"),
    ):
        curves = _shapes(rows)
        blues = matplotlib.colormaps["Blues"](np.linspace(0.35, 0.98, max(1, len(curves))))
        for i, (label, curve) in enumerate(curves):
            color = SINGLES[i % len(SINGLES)] if axes is panels[0] else blues[i]
            axes.plot(curve.index, curve, color=color, marker="o", label=label)
        axes.xaxis.set_major_formatter(PERCENT)
        axes.set_xlabel("right answers in the group")
        axes.set_title(title)
        axes.set_ylim(bottom=0)
        legend_below(axes, columns=1 if axes is panels[0] else 2)
    panels[0].set_ylabel("g, relative to its mean")
    return figure


def _shapes(rows: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    """(label, g/mean g over success), one entry for all schemes that share it; without those whose g is 0."""
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
    return [(", ".join(labels), shape) for labels, shape in shapes]


@styled
def signal_to_noise(table: pd.DataFrame, success: float = 0.09) -> Figure:
    """Predicted signal-to-noise of a batch: against τ at one success rate, and against the success rate.

    `table`: scheme, tau, success, snr, bound, stated; per square root of the number of samples. Crosses are
    the figures that the analysis plan states.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    here = table[np.isclose(table["success"], success)]
    for scheme in ("softmax", "softmax_centered"):
        line = here[here["scheme"] == scheme].sort_values("tau")
        left.plot(line["tau"], line["snr"], "o-", color=_SCHEMES[scheme], label=scheme_name(scheme))
    left.axhline(
        here.loc[here["scheme"] == "linear", "snr"].iloc[0],
        color="#1b1f24",
        linestyle="--",
        label=scheme_name("linear"),
    )
    left.axhline(here["bound"].iloc[0], color=MUTED, linestyle=":", label="upper bound √(p(1−p))")
    stated = here.dropna(subset=["stated", "tau"])
    left.plot(stated["tau"], stated["stated"], "kx", markersize=8, label="stated beforehand")
    logarithmic(left)
    taus = sorted(here["tau"].dropna().unique())
    left.set_ylim(bottom=0)
    left.set_xlabel("τ (rewards 0 and 1)")
    left.set_ylabel("signal / noise per √sample")
    left.set_title(f"At {success:.0%} success")

    softmax = table[table["scheme"] == "softmax"]
    blues = matplotlib.colormaps["Blues"](np.linspace(0.35, 0.98, len(taus)))
    for tau, color in zip(taus, blues, strict=True):
        line = softmax[softmax["tau"] == tau].sort_values("success")
        right.plot(line["success"], line["snr"], color=color, label=f"softmax τ = {tau:g}")
    line = table[table["scheme"] == "linear"].sort_values("success")
    right.plot(line["success"], line["snr"], color="#1b1f24", linestyle="--", label=scheme_name("linear"))
    right.plot(line["success"], line["bound"], color=MUTED, linestyle=":", label="upper bound")
    right.xaxis.set_major_formatter(PERCENT)
    right.set_ylim(bottom=0)
    right.set_xlabel("success rate p")
    right.set_title("Against the success rate")
    for axes in (left, right):
        legend_below(axes, columns=2)
    return figure


@styled
def by_temperature(rows: pd.DataFrame, schemes: Sequence[str] = ("softmax", "softmax_centered")) -> Figure:
    """Effective N, largest share, and contrast over RMS against τ on one population of groups.

    `rows`: scheme, tau, effective_n, max_share, contrast, rms, one row per scheme and τ. Dashed: linear. A panel
    may be empty: without a group that has right and wrong answers there is no contrast.
    """
    if rows.empty:
        return empty_figure("no groups")
    taus = rows["tau"].dropna()
    rows = rows.assign(contrast_over_rms=rows["contrast"] / rows["rms"])
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for axes, column, title in zip(
        figure.subplots(1, 3),
        ("effective_n", "max_share", "contrast_over_rms"),
        ("Effective N", "Largest share", "Contrast / RMS of weights"),
        strict=True,
    ):
        for scheme in schemes:
            line = rows[rows["scheme"] == scheme].sort_values("tau")
            axes.plot(line["tau"], line[column], "o-", color=_SCHEMES[scheme], label=scheme_name(scheme))
        linear = rows.loc[rows["scheme"] == "linear", column]
        axes.axhline(linear.iloc[0], color="#1b1f24", linestyle="--", label=scheme_name("linear"))
        if rows[column].isna().all():
            missing = "no group has right\nand wrong answers"
            axes.text(0.5, 0.5, missing, transform=axes.transAxes, ha="center", va="center", color=MUTED)
        axes.set_xlim(taus.min() / 1.2, taus.max() * 1.2)
        logarithmic(axes)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("τ (reward units)")
        axes.set_title(title)
        legend_below(axes)
    return figure


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
    figure = Figure(figsize=(9, 0.9 + 0.27 * len(grid)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(grid, cmap="viridis", aspect="auto")
    for (y, x), value in np.ndenumerate(grid.to_numpy()):
        color = "white" if image.norm(value) < 0.6 else "black"
        axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color=color)
    axes.grid(visible=False)
    axes.set_yticks(range(len(grid)), grid.index)
    axes.set_xticks(range(grid.shape[1]), [f"{success:.0%}\n{share:.0%}" for success, share in grid.columns])
    figure.colorbar(image, label=label)
    axes.set_xlabel("success rate (above) and share of wrong answers that are well formed (below)")
    return figure
