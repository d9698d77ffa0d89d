"""The bandit: exact and sampled signal-to-noise, success over training, and the best temperature of every cell."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

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
    whiskers,
)
from softmax_rewards.report.plots.labels import legend_below
from softmax_rewards.report.plots.style import BASELINE, INK, look, scheme_looks, styled

_SCHEMES = ("softmax", "softmax_centered", "softmax_masked")
# What `curves` draws of the schemes without a temperature, and of the temperatures. More could not be told apart.
_UNTEMPERED = ("dr_grpo", "raft", "maxrl", "batch_std", "shrunk")
_TAUS = (0.1, 0.25, 0.5, 1.0, 2.0)
_OPTIMIZERS = {"sgd": "plain ascent", "adam": "Adam"}


@styled
def signal_to_noise(table: pd.DataFrame, success: float = 0.09) -> Drawn:
    """Signal-to-noise of one group's gradient against τ at one success rate, one panel per share of well-formed arms.

    `table`: success, formed, scheme, tau, snr, snr_sampled, snr_error, predicted. Lines are exact, marks sampled with
    two standard errors, crosses what was predicted without a policy.
    """
    rows = table[np.isclose(table["success"], success)]
    if rows.empty:
        return Missing(f"no figures at {success:.3g} success")
    error = 2 * rows["snr_error"]
    rows = rows.assign(low=rows["snr_sampled"] - error, high=rows["snr_sampled"] + error)
    grid = panels(rows.assign(panel=rows["formed"].map(_formed_text)).sort_values("formed"), (10, 4), col="panel")
    for axes, part in parts(grid):
        looks = scheme_looks(_SCHEMES)
        lines(axes, part.drop(columns=["low", "high"]), "tau", "snr", "scheme", looks, names.SCHEMES)
        for scheme, style in looks.items():
            line = part[part["scheme"] == scheme]
            whiskers(axes, line, line["tau"], "snr_sampled", linestyle="", **style)
            axes.plot(line["tau"], line["predicted"], "x", color=style["color"], markersize=7)
        linear_line(axes, part.loc[part["scheme"] == "linear", "snr"].iloc[0])
        _against_tau(axes)
    grid.set_ylabels("signal / noise, per √pull")
    return grid.figure


@styled
def curves(table: pd.DataFrame, optimizer: str) -> Drawn:
    """Success over updates: some schemes without a temperature, softmax and centered softmax at some τ, all with GRPO.

    `table`: optimizer, formed, scheme, tau, step, mean; one row of panels per share of well-formed wrong arms.
    """
    rows = table[table["optimizer"] == optimizer].drop(columns=["low", "high"], errors="ignore")
    if rows.empty:
        return Missing(f"no training with {optimizer}")
    titles = {"": "without a temperature"} | {scheme: names.scheme(scheme) for scheme in _SCHEMES[:2]}
    tempered = rows["tau"].isin(_TAUS) & rows["scheme"].isin(_SCHEMES[:2])
    shown = rows[tempered | rows["scheme"].isin(_UNTEMPERED)]
    shown = shown.assign(panel=shown["scheme"].where(shown["tau"].notna(), "").map(titles))
    shown = shown.assign(line=shown["scheme"] + " " + shown["tau"].map(names.temperature))
    linear = rows[rows["scheme"] == "linear"].assign(line="linear")
    shown = pd.concat([linear.assign(panel=title) for title in titles.values()] + [shown])
    shares = sorted(rows["formed"].unique())
    facets = {"col": "panel", "col_order": [*titles.values()], "row": "formed", "row_order": shares}
    grid = panels(shown, (10.5, 1.3 + 2.5 * len(shares)), **facets)
    for axes, part in parts(grid):
        looks, labels = _curve_looks(part)
        lines(axes, part, "step", "mean", "line", looks, labels, linewidth=1.4)
        axes.yaxis.set_major_formatter(PERCENT)
        axes.set_ylim(0, 1)
    for axes in grid.axes[-1]:  # all lines end in nearly the same place, so names beside them would be far away
        legend_below(axes, columns=2)
    for axes, share in zip(grid.axes[:, 0], shares, strict=True):
        axes.set_ylabel(f"success\n{_formed_text(share)}")
    grid.set_xlabels("update steps")
    return grid.figure


def _curve_looks(part: pd.DataFrame) -> tuple[dict[str, dict], dict[str, str]]:
    """Looks and names of the lines of one panel."""
    firsts = part.drop_duplicates("line").sort_values(["tau", "scheme"])
    looks, labels = {"linear": BASELINE}, {"linear": names.scheme("linear")}
    for row in firsts[firsts["line"] != "linear"].to_dict("records"):
        looks[row["line"]] = look(row["scheme"], row["tau"])
        labels[row["line"]] = names.temperature(row["tau"]) or names.scheme(row["scheme"])
    return looks, labels


@styled
def over_training(table: pd.DataFrame) -> Drawn:
    """Mean success over training against τ with 95 % intervals, one panel per optimizer and share of formed arms.

    `table`: optimizer, formed, scheme, tau, mean, low, high.
    """
    if table.empty:
        return Missing("no training")
    titles = table["optimizer"].map(_OPTIMIZERS) + ", " + table["formed"].map(_formed_text)
    size = (10, 4.0 * -(-titles.nunique() // 2))
    grid = panels(table.assign(panel=titles), size, col="panel", col_wrap=2, sharex=False, sharey=False)
    for axes, part in parts(grid):
        for scheme, style in scheme_looks(_SCHEMES).items():
            line = part[part["scheme"] == scheme].sort_values("tau")
            line = line.assign(low=line["low"].clip(0, 1), high=line["high"].clip(0, 1))
            whiskers(axes, line, line["tau"], linestyle="-", label=names.scheme(scheme), **style)
        linear = part[part["scheme"] == "linear"].iloc[0]
        axes.axhspan(linear["low"], linear["high"], color=INK, alpha=0.12, linewidth=0)
        linear_line(axes, linear["mean"])
        axes.yaxis.set_major_formatter(PERCENT)
        _against_tau(axes)
    return grid.figure


@styled
def optima(table: pd.DataFrame, span: float = 1.0) -> Drawn:
    """The best τ/range of each cell, N by base success, one panel per scheme and optimizer, for one reward range.

    `table`: optimizer, scheme, range, base, group_size, best_ratio, lead_low. Brackets mark cells where no τ
    is better than half the range beyond doubt, so the best one may be chance.
    """
    rows = table[np.isclose(table["range"], span)]
    if rows.empty:
        return Missing(f"no cell with the range {span:g}")
    titles, sure = rows["scheme"].map(names.scheme) + ", " + rows["optimizer"].map(_OPTIMIZERS), rows["lead_low"] > 0
    rows = rows.assign(
        panel=titles,
        ratio=np.log(rows["best_ratio"]),
        text=rows["best_ratio"].map("{:.2g}".format).where(sure, rows["best_ratio"].map("({:.2g})".format)),
    )
    size = (10, 2.7 * -(-titles.nunique() // 2))
    grid = panels(rows, size, col="panel", col_wrap=2, sharex=False, sharey=False)
    for axes, part in parts(grid):
        values, text = (part.pivot(index="base", columns="group_size", values=column) for column in ("ratio", "text"))
        rates = [f"{100 * base:g}%" for base in values.index]
        limits = {"vmin": rows["ratio"].min(), "vmax": rows["ratio"].max()}
        heatmap(axes, values, annot=text, fmt="", cbar=False, yticklabels=rates, **limits)
        axes.set(xlabel="N", ylabel="base success")
    return grid.figure


def _formed_text(formed: float) -> str:
    return f"{formed:.0%} of wrong arms formed"


def _against_tau(axes: Axes) -> None:
    logarithmic(axes)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("τ (reward units)")
    legend_below(axes, columns=2)
