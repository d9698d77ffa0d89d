"""How figures look: one theme, and colors keyed by scheme and temperature, the same in every figure.

A family of schemes has a hue, and τ is its lightness, dark for a high τ. GRPO is black. A scheme without a temperature
has a color of its own. The marker says the temperature, or the scheme. Line styles tell settings of training apart.
"""

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import matplotlib
import numpy as np
import seaborn as sns

from softmax_rewards.report.names import Ablation

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

MOST_LINES = 6
"""Lines of a panel: more cannot be told apart."""

BASELINE = {"color": INK, "marker": "o", "linestyle": "-"}
_TAUS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.0, 10.0)  # neighbors differ equally in lightness
_TAU_MARKERS = "<v^soDP>"
_HUES = {
    "softmax": "YlGnBu",
    "softmax_centered": "YlOrBr",
    "softmax_masked": "PuRd",
    "softmax_matched": "BuGn",
    "softmax_scaled": "Greys",
}
_ANNEALED = "Purples"
# Okabe and Ito's colors, darkened where they would be faint on white: distinct with any common color blindness.
_COLORS = {
    "linear": INK,
    "baseline": INK,
    "dr_grpo": "#009e73",
    "raft": "#b8407f",
    "maxrl": "#8a5a2b",
    "shrunk": "#0098b3",
    "softmax_ess": "#c79a00",
    "batch_std": "#7a7f87",
    "linear_plus_one": "#4b5563",
    "best_of_n": "#a05a5a",
    "passk": "#6a51a3",
    "power": "#5b8c2a",
    "normal_scores": "#64748b",
    "normal_scores_softmax": "#9b59b6",
    "softmax_z": "#7f5539",
    "rloo": "#6b8e23",
}
_MARKERS = dict(zip(_COLORS, "oo^vPXDs>*pdh8H<", strict=True))
# Schemes that a user adds, and those that are seldom drawn, share these.
_OTHERS = [*product("*hpd8Hs>", ("#6a51a3", "#5b8c2a", "#a05a5a", "#64748b"))]
_DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 4)))
_SETTING_DASHES = {"cut answers left out": "--", "equal groups left out": ":"}


def color(scheme: str, tau: str | float = "") -> Any:
    """The color of a scheme at a temperature. Without a temperature, it is the scheme's middle color."""
    text = _text(tau)
    if scheme in _HUES:
        hue, middle = _HUES[scheme], 0.75
        if "→" in text:
            hue, text = _ANNEALED, text.partition("→")[0]
        return tuple(sns.color_palette(hue, as_cmap=True)(_depth(text, middle)))
    return _COLORS[scheme] if scheme in _COLORS else _other(scheme)[1]


def marker(scheme: str, tau: str | float = "") -> str:
    """The marker of a scheme at a temperature."""
    text = _text(tau).partition("→")[0]
    if scheme in _HUES and _number(text):
        return _TAU_MARKERS[int(np.abs(np.log(_TAUS) - np.log(float(text))).argmin())]
    return "o" if scheme in _HUES else _MARKERS.get(scheme) or _other(scheme)[0]


def look(scheme: str, tau: str | float = "") -> dict[str, Any]:
    """Color and marker of a scheme at a temperature, as matplotlib's arguments."""
    return {"color": color(scheme, tau), "marker": marker(scheme, tau)}


def looks(ablations: Mapping[str, Ablation]) -> dict[str, dict[str, Any]]:
    """Color, marker and line style of each ablation. No two of them look alike."""
    chosen: dict[str, dict[str, Any]] = {}
    taken: set[Any] = set()
    for slug, ablation in ablations.items():
        base = look(ablation.scheme, ablation.tau)
        first = _SETTING_DASHES.get(ablation.setting, "-." if ablation.setting else "-")
        styles = ({**base, "linestyle": dash} for dash in (first, *_DASHES))
        markers = ({**base, "marker": other, "linestyle": "-"} for other in "X*hpd8H")
        chosen[slug] = next(style for style in (*styles, *markers) if tuple(style.values()) not in taken)
        taken.add(tuple(chosen[slug].values()))
    return chosen


def scheme_looks(schemes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Scheme → color and marker, where its temperatures are not told apart."""
    return {scheme: look(scheme) for scheme in schemes}


def shades(count: int) -> list[tuple[float, ...]]:
    """`count` shades of one hue, from light to dark, for something that is no scheme and no temperature."""
    hue = sns.color_palette("Purples", as_cmap=True)
    return [tuple(hue(depth)) for depth in np.linspace(0.45, 0.98, count)]


def _depth(tau: str, middle: float) -> float:
    """Where τ lies in a color map, from light to dark."""
    if not _number(tau):
        return middle
    return float(np.interp(np.log(float(tau)), np.log(_TAUS), np.linspace(0.42, 1.0, len(_TAUS))))


def _text(tau: str | float) -> str:
    return f"{tau:g}" if isinstance(tau, float) else tau


def _number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _other(scheme: str) -> tuple[str, str]:
    """Marker and color from the scheme's name, so that they are the same in every figure."""
    return _OTHERS[sum(scheme.encode()) % len(_OTHERS)]
