"""The map of schemes: how clear an update is against what it pays for format."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from softmax_rewards.report import names
from softmax_rewards.report.plots.drawing import Drawn, Missing
from softmax_rewards.report.plots.labels import name_points
from softmax_rewards.report.plots.style import INK, MUTED, styled

# The settings with a name in the figure, by scheme and setting. More names would hide each other.
NAMED = (
    ("linear", ""),
    ("dr_grpo", ""),
    ("raft", ""),
    ("maxrl", ""),
    ("shrunk", "alpha = 0"),
    ("softmax", "tau = 0.25"),
    ("softmax", "tau = 0.5"),
    ("softmax", "tau = 1"),
    ("softmax_centered", "tau = 0.5"),
    ("softmax_ess", "nu = 4"),
    ("softmax_z", "temperature = 0.5"),
    ("normal_scores", ""),
)
_OTHERS = "#c4cad1"


def name(scheme: str, setting: str) -> str:
    """The name of a setting of NAMED. Hyperparameters other than τ are left out."""
    return names.of_setting(scheme, setting).weights


@styled
def scheme_map(table: pd.DataFrame) -> Drawn:
    """Each setting as a point: X to the right, rho upwards, and the color says the tilt.

    `table`: scheme, setting, rho, tilt, x, paid (`log_map.table`), one row per setting. A setting without X is left
    out. A setting without a name in NAMED is gray.
    """
    rows = table.dropna(subset=["x", "paid"])
    if rows.empty:
        return Missing("no format reward, or no right answer")
    keys = list(zip(rows["scheme"], rows["setting"].astype(object).fillna(""), strict=True))
    named = np.array([key in NAMED for key in keys])
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    shown, others = rows[named], rows[~named]
    axes.scatter(others["x"], others["rho"], s=22, color=_OTHERS, zorder=2, label="other settings")
    look: dict[str, Any] = {"cmap": "crest", "vmin": 1, "vmax": 5, "edgecolor": "white", "zorder": 3}
    points = axes.scatter(shown["x"], shown["rho"], s=64, c=shown["tilt"], plotnonfinite=True, **look)
    label = "tilt: how much more hard prompts count"
    figure.colorbar(points, ax=axes, label=label, shrink=0.8, extend="max", pad=0.02)
    _axes(axes, rows)
    texts = [name(*key) for key in keys if key in NAMED]
    name_points(axes, shown[["x", "rho"]].to_numpy(), texts, [rows["paid"].iloc[0]])
    return figure


def _axes(axes: Axes, rows: pd.DataFrame) -> None:
    """Scales, ticks, and the line at what the rewards say."""
    paid = rows["paid"].iloc[0]
    axes.axvline(paid, color=INK, linestyle="--", linewidth=1.2, zorder=1)
    # Linear up to twice what the rewards say, then logarithmic: X may be 0, and may be ten times what they say.
    axes.set_xscale("symlog", linthresh=2 * paid, linscale=1.5)
    low, high = min(rows["x"].min(), 0.0), max(rows["x"].max(), 2 * paid)
    axes.set_xlim(low - 0.4 * paid, 1.8 * high)
    ticks = paid * np.array([-10, -5, -2, -1, 0, 0.5, 1, 2, 5, 10, 20, 50, 100])
    axes.set_xticks(ticks[(ticks >= low - 0.1 * paid) & (ticks <= 1.8 * high)])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    top = max(rows["rho"].max(), 1e-6)
    axes.set_ylim(bottom=min(0, 1.1 * rows["rho"].min()), top=1.2 * top)
    axes.set(
        xlabel="X: right answers given up for one more well-formed answer",
        ylabel="ρ: how clear one update is (signal / noise per √sample)",
    )
    for text, offset, side in ((f"the rewards say {paid:.2g}; pays more →", 6, "left"), ("← pays less", -6, "right")):
        place: dict[str, Any] = {"xytext": (offset, -2), "textcoords": "offset points", "ha": side, "va": "top"}
        axes.annotate(text, (paid, 1.2 * top), color=MUTED, fontsize=9, **place)
    axes.legend(loc="lower right")
