"""The trap: why a scheme that pays much for format gives up searching where a token limit cuts long searches."""

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from softmax_rewards.report import names
from softmax_rewards.report.plots.drawing import Drawn, Missing
from softmax_rewards.report.plots.style import INK, MUTED, color, styled

# (scheme, temperature, whether cut answers are left out) -> label, color and line style, from the top down.
_LOOKS = {
    ("linear", None, False): (names.scheme("linear"), color("linear"), "-"),
    ("linear", None, True): (f"{names.scheme('linear')},\ncut answers left out", color("linear"), "--"),
    ("dr_grpo", None, False): (names.scheme("dr_grpo"), color("dr_grpo"), "-"),
    ("softmax", 0.5, False): (names.Ablation("softmax", "0.5").label, color("softmax", 0.5), "-"),
    ("raft", None, False): (names.scheme("raft"), color("raft"), "-"),
}
_PANELS: dict[str, tuple[str, Callable[[float], str]]] = {
    "attempts": ("Attempts", "{:.1f}".format),
    "formatted": ("Right format", "{:.0%}".format),
    "success": ("Right answer", "{:.1%}".format),
}
_Key = tuple[str, float | None, bool]
_Rests = dict[_Key, pd.Series]  # the row of each scheme
_SETTING = ("base", "group_size", "hidden_budget")  # an example has none of these columns


@styled
def trap(predictions: pd.DataFrame, updates: pd.DataFrame) -> Drawn:
    """Left, which way each scheme pushes the search; right, what it achieves where the push ends.

    `predictions`: scheme, tau, skip_unfinished, go_on, attempts, formatted, success, the row of scheme "base" first.
    `updates`: scheme, tau, skip_unfinished, go_on, slope. If there are several settings, the first one is drawn.
    """
    if predictions.empty:
        return Missing("no base model was measured")
    predictions, updates = (_first_setting(table) for table in (predictions, updates))
    base, rests = predictions.iloc[0], {_key(row): row for _, row in predictions.iloc[1:].iterrows()}
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, *right = figure.subplots(1, 4, width_ratios=[2.3, 1, 1, 1])
    _pushes(left, base, rests, updates)
    for axes, column in zip(right, _PANELS, strict=True):
        _achieved(axes, column, base[column], rests)
    figure.supxlabel(_source(base), x=0.01, ha="left", fontsize=9, color=MUTED)
    right[0].set_yticks(range(len(_LOOKS)), [label for label, _, _ in _LOOKS.values()])
    return figure


def _first_setting(table: pd.DataFrame) -> pd.DataFrame:
    columns = [name for name in _SETTING if name in table]
    return table[(table[columns] == table.iloc[0][columns]).all(axis=1)] if columns else table


def _source(base: pd.Series) -> str:
    if "base" not in base:
        return (
            "An example: 6.4 % of attempts hit, three fit the token limit, and the base goes on after 80 % of misses."
        )
    hidden = f", hidden budget {base['hidden_budget']:g}" if base["hidden_budget"] else ""
    return f"Computed from how the base model {base['base']} was measured to search: N = {base['group_size']}{hidden}."


def _key(row: pd.Series) -> _Key:
    return row["scheme"], None if pd.isna(row["tau"]) else row["tau"], bool(row["skip_unfinished"])


def _pushes(axes: Axes, base: pd.Series, rests: _Rests, updates: pd.DataFrame) -> None:
    """The push along the probability of going on, with a mark where it ends."""
    lines = {key: updates[[_key(row) == key for _, row in updates.iterrows()]] for key in _LOOKS}
    for i, (key, line) in enumerate((key, line) for key, line in lines.items() if not line.empty):
        (label, shade, dash), rest = _LOOKS[key], rests[key]["go_on"]
        axes.plot(line["go_on"], line["slope"], color=shade, linestyle=dash)
        axes.plot(rest, 0, "o", color=shade, markersize=9, markeredgecolor="white", zorder=3, clip_on=False)
        # The labels stand one above another, because several schemes may rest at the same place.
        height = 12 + 17 * i
        axes.annotate(
            label,
            (rest, 0),
            (-6, height) if rest > 0.6 else (6, height),
            ha="right" if rest > 0.6 else "left",
            textcoords="offset points",
            color=shade,
            fontsize=9,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
            arrowprops={"arrowstyle": "-", "color": shade, "linewidth": 0.8},
            zorder=4,
        )
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.axvline(base["go_on"], color=MUTED, linestyle=":", linewidth=1.2)
    axes.text(base["go_on"], 1.36, "base model", ha="center", va="bottom", color=MUTED, fontsize=9)
    axes.text(0.02, 1.32, "↑ searches longer", va="top", color=MUTED, fontsize=9)
    axes.text(0.02, -1.32, "↓ gives up earlier", va="bottom", color=MUTED, fontsize=9)
    axes.set(xlim=(0, 1), ylim=(-1.35, 1.35), xlabel="probability of going on after a miss", ylabel="push of an update")
    axes.set_title("Which way training pushes", pad=16)
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.set_yticks([0])


def _achieved(axes: Axes, column: str, base: float, rests: _Rests) -> None:
    """One row per scheme: a line from the base to what the scheme achieves."""
    title, text = _PANELS[column]
    values = [rests[key][column] for key in _LOOKS]
    for y, (value, (_, shade, dash)) in enumerate(zip(values, _LOOKS.values(), strict=True)):
        axes.plot([base, value], [y, y], color=shade, linestyle=dash, linewidth=2.2)
        axes.plot(value, y, "o", color=shade, markersize=7)
        side = 1 if value >= base else -1
        axes.annotate(
            text(value),
            (value, y),
            (8 * side, 0),
            ha="left" if side > 0 else "right",
            va="center",
            textcoords="offset points",
            fontsize=9,
        )
    axes.axvline(base, color=MUTED, linestyle=":", linewidth=1.2)
    low, high = min(base, *values), max(base, *values)
    margin = 0.7 * (high - low or 1.0)  # for the numbers
    axes.set(xlim=(low - margin, high + margin), ylim=(len(_LOOKS) - 0.5, -0.5), yticks=[])
    axes.set_xticks([base], [f"base: {text(base)}"])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_title(title, pad=16)
