"""How figures look: one theme, and one palette in which an ablation or a scheme keeps its look in every figure."""

import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import seaborn as sns

INK, MUTED = "#1b1f24", "#57606a"
# Applied while a figure is drawn, and never to the process: a notebook's own figures keep their look.
THEME = {
    **sns.plotting_context("paper", rc={"lines.linewidth": 1.8, "lines.markersize": 5, "axes.titlesize": 10.5}),
    **sns.axes_style(
        "whitegrid",
        rc={
            "axes.edgecolor": MUTED,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "grid.color": "#e4e7eb",
            "text.color": INK,
        },
    ),
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "text.parse_math": False,  # a name with $ in it is a name
}
styled = matplotlib.rc_context(THEME)

# A family of ablations (the name up to its first number) has a hue; its members are shades of it, dark for high τ.
HUES = {"softmax": "Blues", "centered": "Oranges", "softmax_centered": "Oranges", "anneal": "Greens"}
OTHER_HUE = "Purples"
# Ablations and schemes that are alone in their family take a color of "colorblind", in this order. It leaves out the
# yellow and the pale pink, which are hard to see on white.
SINGLES = [sns.color_palette("colorblind")[i] for i in (4, 2, 1, 9, 3, 0, 7, 5)]
_SCHEMES = {"softmax_masked": SINGLES[1]}
_MARKERS = "osD^vPX*"
BASELINE = {"color": INK, "marker": "o", "linestyle": "--"}


def ablation_name(ablation: str) -> str:
    """An ablation as figures show it: `linear` is GRPO's scheme."""
    return re.sub("^linear(?=-|$)", "GRPO (z-score)", ablation)


def scheme_name(scheme: str) -> str:
    """A scheme as figures show it."""
    return ablation_name(scheme).replace("_", " ")


def families(ablations: Sequence[str], baseline: str = "baseline") -> dict[str, list[str]]:
    """Ablations by family without the baseline: softmax-0.25 and softmax-0.5 -> "softmax"; single ones -> "other"."""
    groups: dict[str, list[str]] = {}
    for ablation in sorted(set(ablations) - {baseline}, key=_numbers):
        groups.setdefault(_family(ablation), []).append(ablation)
    singles = [members[0] for family, members in groups.items() if len(members) == 1 and family not in HUES]
    if singles:
        groups = {name: members for name, members in groups.items() if members[0] not in singles}
        groups["other"] = sorted(singles)
    order = [*HUES, *sorted(set(groups) - {*HUES, "other"}), "other"]
    return {name: groups[name] for name in order if name in groups}


def _family(ablation: str) -> str:
    return re.split(r"[-_ ]?\d", ablation, maxsplit=1)[0]


def _numbers(ablation: str) -> tuple[list[float], str]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", ablation)], ablation


def shades(family: str, count: int) -> list[tuple[float, ...]]:
    """`count` shades of a family's hue, from light to dark; a single one is dark."""
    colors = sns.color_palette(HUES.get(family, OTHER_HUE), as_cmap=True)
    return [tuple(colors(depth)) for depth in np.linspace(0.98, 0.42, count)[::-1]]


def scheme_color(scheme: str) -> Any:
    """The color of a scheme where its temperatures are not told apart."""
    hue = sns.color_palette(HUES.get(scheme, OTHER_HUE), as_cmap=True)
    return _SCHEMES.get(scheme, hue(0.75))


def styles(ablations: Sequence[str], baseline: str = "baseline") -> dict[str, dict[str, Any]]:
    """Color, marker and line style of each ablation; the same ablations always get the same styles."""
    looks = {baseline: BASELINE}
    for family, members in families(ablations, baseline).items():
        single = [SINGLES[i % len(SINGLES)] for i in range(len(members))]
        colors = single if family == "other" else shades(family, len(members))
        for i, (ablation, color) in enumerate(zip(members, colors, strict=True)):
            looks[ablation] = {"color": color, "marker": _MARKERS[i % len(_MARKERS)], "linestyle": "-"}
    return looks
