"""What all figures share: their look, and how an ablation looks, the same in every figure of an experiment."""

import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

LOOK = {
    "text.parse_math": False,  # a name with $ in it is a name
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#57606a",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
}
styled = matplotlib.rc_context(LOOK)
MUTED = "#57606a"
PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.3g}%")

# A family of ablations (the name up to its first number) has a hue; its members are shades of it, dark for high τ.
HUES = {"softmax": "Blues", "centered": "Oranges", "softmax_centered": "Oranges", "anneal": "Greens"}
OTHER_HUE = "Purples"
# Okabe and Ito's palette, safe for color-blind readers, for ablations and schemes that are alone in their family.
SINGLES = ["#cc79a7", "#009e73", "#e69f00", "#56b4e9", "#d55e00", "#0072b2", "#8c564b", "#7f7f7f"]
_MARKERS = "osD^vPX*"
BASELINE = {"color": "#1b1f24", "marker": "o", "linestyle": "--"}


def ablation_name(ablation: str) -> str:
    """An ablation as figures show it: `linear` is GRPO's scheme."""
    return re.sub("^linear(?=-|$)", "GRPO (z-score)", ablation)


def scheme_name(scheme: str) -> str:
    """A scheme as figures show it."""
    return ablation_name(scheme).replace("_", " ")


def families(ablations: Sequence[str], baseline: str = "baseline") -> dict[str, list[str]]:
    """Ablations by family, the baseline left out: softmax-0.25 and softmax-0.5 -> "softmax"; loners -> "other"."""
    groups: dict[str, list[str]] = {}
    for ablation in sorted(set(ablations) - {baseline}, key=_numbers):
        groups.setdefault(_family(ablation), []).append(ablation)
    loners = [members[0] for family, members in groups.items() if len(members) == 1 and family not in HUES]
    if loners:
        groups = {name: members for name, members in groups.items() if members[0] not in loners}
        groups["other"] = sorted(loners)
    order = [*HUES, *sorted(set(groups) - {*HUES, "other"}), "other"]
    return {name: groups[name] for name in order if name in groups}


def _family(ablation: str) -> str:
    return re.split(r"[-_ ]?\d", ablation, maxsplit=1)[0]


def _numbers(ablation: str) -> tuple[list[float], str]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", ablation)], ablation


def styles(ablations: Sequence[str], baseline: str = "baseline") -> dict[str, dict[str, Any]]:
    """Color, marker and line style of each ablation; the same ablations always get the same styles."""
    looks = {baseline: BASELINE}
    for family, members in families(ablations, baseline).items():
        if family == "other":
            shades = [SINGLES[i % len(SINGLES)] for i in range(len(members))]
        else:
            colors = matplotlib.colormaps[HUES.get(family, OTHER_HUE)]
            shades = [tuple(colors(depth)) for depth in np.linspace(0.98, 0.45, len(members))[::-1]]
        for i, (ablation, shade) in enumerate(zip(members, shades, strict=True)):
            looks[ablation] = {"color": shade, "marker": _MARKERS[i % len(_MARKERS)], "linestyle": "-"}
    return looks


@styled
def empty_figure(reason: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(9, 0.6), layout="constrained")
    figure.text(0.01, 0.5, f"Not enough data: {reason}.", va="center", style="italic", color=MUTED)
    return figure


def legend_below(axes: Axes, columns: int = 1) -> None:
    """A legend under the axes; its padding, in font sizes, clears tick and axis labels at any height."""
    if axes.get_legend_handles_labels()[0]:  # matplotlib warns about a legend without entries
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=4.2, handlelength=2.2, ncols=columns)


def logarithmic(axes: Axes, name: str = "x") -> None:
    """A logarithmic axis with plain numbers: 0.1, 0.2, 0.5, 1, … or, over several decades, 0.1, 1, 10."""
    axes.set(**{f"{name}scale": "log"})
    axis = getattr(axes, f"{name}axis")
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
