"""The bandit: exact and sampled signal-to-noise, success over training, and the best temperature of every cell."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
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
    whiskers,
)
from softmax_rewards.report.plots.style import BASELINE, INK, SINGLES, scheme_color, scheme_name, shades, styled

_SCHEMES = ("softmax", "softmax_centered", "softmax_masked")
_COLORS = {scheme_name(scheme): {"color": scheme_color(scheme), "marker": "o"} for scheme in _SCHEMES}
_LINEAR = scheme_name("linear")
_UNTEMPERED = "without a temperature"
_OPTIMIZERS = {"sgd": "plain ascent", "adam": "Adam"}


@styled
def signal_to_noise(table: pd.DataFrame, success: float = 0.09) -> Figure:
    """Signal-to-noise of one group's gradient against τ at one success rate, one panel per share of well-formed arms.

    `table`: success, formed, scheme, tau, snr, snr_sampled, snr_error, predicted. Lines are exact, marks sampled with
    two standard errors, crosses what was predicted without a policy.
    """
    rows = table[np.isclose(table["success"], success)]
    if rows.empty:
        return empty_figure(f"no figures at {success:.3g} success")
    error = 2 * rows["snr_error"]
    rows = rows.assign(
        scheme=rows["scheme"].map(scheme_name), low=rows["snr_sampled"] - error, high=rows["snr_sampled"] + error
    )
    grid = panels(rows.assign(panel=rows["formed"].map(_formed_text)).sort_values("formed"), (10, 4), col="panel")
    for axes, part in parts(grid):
        lines(axes, part.drop(columns=["low", "high"]), "tau", "snr", "scheme", _COLORS, markers=False)
        for scheme, look in _COLORS.items():
            line = part[part["scheme"] == scheme]
            whiskers(axes, line, line["tau"], "snr_sampled", fmt="o", color=look["color"])
            axes.plot(line["tau"], line["predicted"], "x", color=look["color"], markersize=7)
        linear_line(axes, part.loc[part["scheme"] == _LINEAR, "snr"].iloc[0])
        _against_tau(axes)
    grid.set_ylabels("signal / noise, per √pull")
    return grid.figure


@styled
def curves(table: pd.DataFrame, optimizer: str) -> Figure:
    """Success over updates: the schemes without a temperature, softmax and centered softmax at each τ.

    `table`: optimizer, formed, scheme, tau, step, mean; one row of panels per share. Dashed: linear.
    """
    rows = table[table["optimizer"] == optimizer].drop(columns=["low", "high"], errors="ignore")
    if rows.empty:
        return empty_figure(f"no training with {optimizer}")
    shares = sorted(rows["formed"].unique())
    untempered = rows["tau"].isna()
    rows = rows.assign(
        panel=rows["scheme"].map(scheme_name).mask(untempered, _UNTEMPERED),
        line=rows["tau"].map("τ = {:g}".format).mask(untempered, rows["scheme"].map(scheme_name)),
    )
    order = [_UNTEMPERED, *(scheme_name(scheme) for scheme in ("softmax", "softmax_centered"))]
    linear = rows[rows["line"] == _LINEAR]
    rows = pd.concat([rows[rows["panel"].isin(order)], *(linear.assign(panel=panel) for panel in order[1:])])
    size = (10, 3.9 * len(shares))
    grid = panels(rows, size, col="panel", col_order=order, row="formed", row_order=shares, sharex=False)
    for axes, part in parts(grid):
        lines(axes, part, "step", "mean", "line", _curve_looks(part), markers=False, linewidth=1.4)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_title(part["panel"].iloc[0])
        axes.set_xlabel("update steps")
        legend_below(axes, columns=2)
    for axes, share in zip(grid.axes[:, 0], shares, strict=True):
        axes.set_ylabel(f"success, {_formed_text(share)}")
    return grid.figure


def _curve_looks(part: pd.DataFrame) -> dict[str, dict]:
    """The looks of the lines of one panel: a hue per scheme without a temperature, or a shade per τ; linear last."""
    rows = part[part["line"] != _LINEAR].drop_duplicates("line").sort_values(["tau", "scheme"])
    scheme = rows["scheme"].iloc[0] if len(rows) else "softmax"
    colors = SINGLES if rows["tau"].isna().any() else shades(scheme, len(rows))
    looks = {line: {"color": color} for line, color in zip(rows["line"], colors, strict=False)}
    return looks | {_LINEAR: BASELINE}


@styled
def over_training(table: pd.DataFrame) -> Figure:
    """Mean success over training against τ with 95 % intervals, one panel per optimizer and share of formed arms.

    `table`: optimizer, formed, scheme, tau, mean, low, high. Dashed: linear.
    """
    if table.empty:
        return empty_figure("no training")
    titles = table["optimizer"].map(_OPTIMIZERS) + ", " + table["formed"].map(_formed_text)
    size = (10, 4.0 * -(-titles.nunique() // 2))
    grid = panels(table.assign(panel=titles), size, col="panel", col_wrap=2, sharex=False, sharey=False)
    for axes, part in parts(grid):
        for scheme, look in _COLORS.items():
            line = part[part["scheme"].map(scheme_name) == scheme].sort_values("tau")
            whiskers(axes, line, line["tau"], fmt="o-", color=look["color"], label=scheme)
        linear = part[part["scheme"] == "linear"].iloc[0]
        axes.axhspan(linear["low"], linear["high"], color=INK, alpha=0.12, linewidth=0)
        linear_line(axes, linear["mean"])
        axes.yaxis.set_major_formatter(PERCENT)
        _against_tau(axes)
    return grid.figure


@styled
def optima(table: pd.DataFrame, span: float = 1.0) -> Figure:
    """The best τ/range of each cell, N by base success, one panel per scheme and optimizer, for one reward range.

    `table`: optimizer, scheme, range, base, group_size, best_ratio, lead_low. Brackets mark cells where no τ
    is better than half the range beyond doubt, so the best one may be chance.
    """
    rows = table[np.isclose(table["range"], span)]
    if rows.empty:
        return empty_figure(f"no cell with the range {span:g}")
    titles, sure = rows["scheme"].map(scheme_name) + ", " + rows["optimizer"].map(_OPTIMIZERS), rows["lead_low"] > 0
    rows = rows.assign(
        panel=titles,
        ratio=np.log(rows["best_ratio"]),
        text=rows["best_ratio"].map("{:.2g}".format).where(sure, rows["best_ratio"].map("({:.2g})".format)),
    )
    size = (10, 2.7 * -(-titles.nunique() // 2))
    grid = panels(rows, size, col="panel", col_wrap=2, sharex=False, sharey=False)
    for axes, part in parts(grid):
        values, text = (part.pivot(index="base", columns="group_size", values=column) for column in ("ratio", "text"))
        names = [f"{100 * base:g}%" for base in values.index]
        limits = {"vmin": rows["ratio"].min(), "vmax": rows["ratio"].max()}
        heatmap(axes, values, annot=text, fmt="", cbar=False, yticklabels=names, **limits)
        axes.set(xlabel="N", ylabel="base success")
    return grid.figure


def _formed_text(formed: float) -> str:
    return f"{formed:.0%} of wrong arms formed"


def _against_tau(axes: Axes) -> None:
    logarithmic(axes)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("τ (reward units)")
    legend_below(axes, columns=2)
