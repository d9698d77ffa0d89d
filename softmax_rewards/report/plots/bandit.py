"""The bandit: signal-to-noise exactly and sampled, success over training, and the best temperature of every cell."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softmax_rewards.report.plots.style import (
    PERCENT,
    SINGLES,
    empty_figure,
    legend_below,
    logarithmic,
    scheme_name,
    styled,
)

_SCHEMES = {"softmax": "#2171b5", "softmax_centered": "#d94801", "softmax_masked": "#009e73"}
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
    figure, panels = _panels([_formed_text(formed) for formed in sorted(rows["formed"].unique())])
    for axes, (_, part) in zip(panels, rows.groupby("formed"), strict=True):
        for scheme, color in _SCHEMES.items():
            line = part[part["scheme"] == scheme].sort_values("tau")
            error = 2 * line["snr_error"]
            axes.plot(line["tau"], line["snr"], color=color, label=scheme_name(scheme))
            axes.errorbar(line["tau"], line["snr_sampled"], error, fmt="o", color=color, capsize=2)
            axes.plot(line["tau"], line["predicted"], "x", color=color, markersize=7)
        linear = part.loc[part["scheme"] == "linear", "snr"]
        axes.axhline(linear.iloc[0], color="#1b1f24", linestyle="--", label=scheme_name("linear"))
        _against_tau(axes)
    panels[0].set_ylabel("signal / noise, per √pull")
    return figure


@styled
def curves(table: pd.DataFrame, optimizer: str) -> Figure:
    """Success over updates: the schemes without a temperature, softmax and centered softmax at each τ.

    `table`: optimizer, formed, scheme, tau, step, mean; one row of panels per share. Dashed: linear.
    """
    rows = table[table["optimizer"] == optimizer]
    if rows.empty:
        return empty_figure(f"no training with {optimizer}")
    shares = sorted(rows["formed"].unique())
    figure = Figure(figsize=(10, 3.9 * len(shares)), layout="constrained")
    grid = figure.subplots(len(shares), 3, sharex=True, sharey=True, squeeze=False)
    for panels, formed in zip(grid, shares, strict=True):
        part = rows[rows["formed"] == formed]
        fixed = sorted(part.loc[part["tau"].isna(), "scheme"].unique())
        colors = dict(zip([scheme for scheme in fixed if scheme != "linear"], SINGLES, strict=False))
        _lines(panels[0], part[part["scheme"].isin(colors)], "scheme", colors)
        for axes, scheme in zip(panels[1:], ("softmax", "softmax_centered"), strict=True):
            line = part[part["scheme"] == scheme]
            taus = sorted(line["tau"].unique())
            shades = matplotlib.colormaps["Blues" if scheme == "softmax" else "Oranges"](
                np.linspace(0.35, 0.98, len(taus))
            )
            _lines(axes, line, "tau", dict(zip(taus, shades, strict=True)))
        for axes, title in zip(panels, ("without a temperature", "softmax", "softmax centered"), strict=True):
            linear = part[part["scheme"] == "linear"]
            axes.plot(linear["step"], linear["mean"], color="#1b1f24", linestyle="--", label=scheme_name("linear"))
            axes.set_title(title)
            axes.yaxis.set_major_formatter(PERCENT)
            axes.set_xlabel("update steps")
            legend_below(axes, columns=2)
        panels[0].set_ylabel(f"success, {_formed_text(formed)}", fontsize=9)
    return figure


@styled
def over_training(table: pd.DataFrame) -> Figure:
    """Mean success over training against τ with 95 % intervals, one panel per optimizer and share of formed arms.

    `table`: optimizer, formed, scheme, tau, mean, low, high. Dashed: linear.
    """
    if table.empty:
        return empty_figure("no training")
    groups = list(table.groupby(["optimizer", "formed"], sort=False))
    titles = [f"{_OPTIMIZERS[optimizer]}, {_formed_text(formed)}" for (optimizer, formed), _ in groups]
    figure, panels = _panels(titles, columns=2)
    for axes, (_, part) in zip(panels, groups, strict=True):
        for scheme, color in _SCHEMES.items():
            line = part[part["scheme"] == scheme].sort_values("tau")
            error = np.array([line["mean"] - line["low"], line["high"] - line["mean"]])
            label = scheme_name(scheme)
            axes.errorbar(line["tau"], line["mean"], error, fmt="o-", color=color, capsize=2, label=label)
        linear = part[part["scheme"] == "linear"].iloc[0]
        axes.axhspan(linear["low"], linear["high"], color="#1b1f24", alpha=0.12, linewidth=0)
        axes.axhline(linear["mean"], color="#1b1f24", linestyle="--", label=scheme_name("linear"))
        axes.yaxis.set_major_formatter(PERCENT)
        _against_tau(axes)
    return figure


@styled
def optima(table: pd.DataFrame, span: float = 1.0) -> Figure:
    """The best τ/range of each cell, N by base success, one panel per scheme and optimizer, for one reward range.

    `table`: optimizer, scheme, range, base, group_size, best_ratio, lead_low. In brackets: cells in which no τ is
    better than half the range beyond doubt, so that the best one may be chance.
    """
    rows = table[np.isclose(table["range"], span)]
    if rows.empty:
        return empty_figure(f"no cell with the range {span:g}")
    groups = list(rows.groupby(["optimizer", "scheme"], sort=False))
    titles = [f"{scheme.replace('_', ' ')}, {_OPTIMIZERS[optimizer]}" for (optimizer, scheme), _ in groups]
    figure, panels = _panels(titles, columns=2, height=2.7)
    limits = np.log(rows["best_ratio"].min()), np.log(rows["best_ratio"].max())
    for axes, (_, part) in zip(panels, groups, strict=True):
        best = part.pivot(index="base", columns="group_size", values="best_ratio")
        sure = part.pivot(index="base", columns="group_size", values="lead_low") > 0
        image = axes.imshow(np.log(best), cmap="viridis", vmin=limits[0], vmax=limits[1], aspect="auto")
        for (y, x), value in np.ndenumerate(best.to_numpy()):
            text = f"{value:.2g}" if sure.iloc[y, x] else f"({value:.2g})"
            color = "white" if image.norm(np.log(value)) < 0.6 else "black"
            axes.text(x, y, text, ha="center", va="center", fontsize=9, color=color)
        axes.grid(visible=False)
        axes.set_xticks(range(len(best.columns)), best.columns)
        axes.set_yticks(range(len(best)), [f"{100 * base:g}%" for base in best.index])
        axes.set_xlabel("N")
        axes.set_ylabel("base success")
    return figure


def _panels(titles: Sequence[str], columns: int = 2, height: float = 4.0) -> tuple[Figure, list[Axes]]:
    lines = -(-len(titles) // columns)
    figure = Figure(figsize=(10, height * lines), layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes, title in zip(panels, titles, strict=False):
        axes.set_title(title)
    for axes in panels[len(titles) :]:
        axes.remove()
    return figure, panels[: len(titles)]


def _formed_text(formed: float) -> str:
    return f"{formed:.0%} of wrong arms formed"


def _against_tau(axes: Axes) -> None:
    logarithmic(axes)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("τ (reward units)")
    legend_below(axes, columns=2)


def _lines(axes: Axes, rows: pd.DataFrame, by: str, colors: dict) -> None:
    for name, line in rows.groupby(by):
        label = scheme_name(name) if by == "scheme" else f"τ = {name:g}"
        axes.plot(line["step"], line["mean"], color=colors[name], linewidth=1.4, label=label)
