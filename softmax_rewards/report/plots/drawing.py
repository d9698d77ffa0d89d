"""Building blocks of figures: panels, lines with bands, whiskers, heat maps and logarithmic axes."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from seaborn.utils import relative_luminance

from softmax_rewards.report import names
from softmax_rewards.report.plots.style import BASELINE

PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.3g}%")


class Missing(NamedTuple):
    """What a function returns instead of a figure that it cannot draw, with the reason: "no finished run"."""

    reason: str


Drawn = Figure | Missing


class _Panels(sns.FacetGrid):
    """A grid that leaves the layout to the constrained layout, which is made once, when the figure is drawn."""

    def tight_layout(self, *args: Any, **kwargs: Any) -> "_Panels":
        """Do nothing. seaborn calls this in its constructor, and `panels` would discard that layout."""
        return self


def panels(data: pd.DataFrame, size: tuple[float, float], **facets: Any) -> sns.FacetGrid:
    """A grid of empty panels for the values of one or two columns of `data`. Each value of `col` is a title.

    `size`: width and height of the whole figure, in inches. `facets`: arguments of seaborn.FacetGrid, such as `col`,
    `row` and `col_wrap`.
    """
    grid = _Panels(data, **facets)
    plt.close(grid.figure)  # otherwise pyplot keeps the figure, and a notebook shows it a second time
    grid.figure.set(size_inches=size, layout_engine="constrained")
    grid.set_titles("")
    # With `row` there are more panels than names. Only those of the first row get a title.
    for name, axes in zip(grid.col_names, grid.axes.flat, strict=False):
        axes.set_title(name)
    return grid


def parts(grid: sns.FacetGrid) -> Iterator[tuple[Axes, pd.DataFrame]]:
    """Each panel with its rows of the data."""
    for (row, column, _), rows in grid.facet_data():
        # With `col_wrap`, `grid.axes` has one dimension instead of two.
        yield (grid.axes[column] if grid.axes.ndim == 1 else grid.axes[row, column]), rows


def lines(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    y: str,
    by: str,
    look: Mapping[Any, Mapping[str, Any]],
    labels: Mapping[Any, str] | None = None,
    **style: Any,
) -> None:
    """One line per value of the column `by`, in the order of `look`. Values without a look are not drawn.

    `look`: value -> color, marker and line style; `labels`: value -> its name, for `labels.name_ends` and legends. If
    `rows` has the columns `low` and `high`, each line gets a band between them. A line of many points has few markers.
    """
    # Drawn by matplotlib: seaborn's lineplot takes five times as long, and has nothing to estimate here.
    known = rows.dropna(subset=[x, y]).sort_values(x, kind="stable")
    for name, chosen in look.items():
        line = known[known[by] == name]
        if line.empty:
            continue
        across, up = line[x].to_numpy(float), line[y].to_numpy(float)
        form = {"markevery": max(1, len(line) // 6), "markeredgewidth": 0, **chosen, **style}
        axes.plot(across, up, label=(labels or {}).get(name, str(name)), **form)
        if "low" in line:
            axes.fill_between(across, line["low"], line["high"], color=chosen["color"], alpha=0.12, linewidth=0)


def whiskers(axes: Axes, rows: pd.DataFrame, x: Any, y: str = "mean", **style: Any) -> None:
    """One mark per row at the estimate in the column `y`, with a whisker from `low` to `high`."""
    error = [rows[y] - rows["low"], rows["high"] - rows[y]]
    axes.errorbar(x, rows[y], error, **({"capsize": 2, "elinewidth": 1.2, "markersize": 4} | style))


def heatmap(axes: Axes, values: pd.DataFrame, **options: Any) -> None:
    """seaborn's heat map of `values`. All labels are horizontal, and numbers are readable on every color.

    `options`: arguments of seaborn.heatmap. They must include `annot`, the numbers to write.
    """
    sns.heatmap(values, cmap="viridis", ax=axes, **options)
    axes.tick_params(rotation=0)
    shown = values.notna().to_numpy().ravel()  # a missing value has no text
    colors = np.asarray(axes.collections[0].get_facecolor())[shown]
    for text, color in zip(axes.texts, colors, strict=True):
        # Black and white have the same contrast at a luminance of 0.18 (WCAG 2). seaborn writes white up to 0.41.
        text.set_color("white" if relative_luminance(color) < 0.18 else "black")
    axes.set(xlabel="", ylabel="")


def linear_line(axes: Axes, height: float) -> None:
    """A horizontal line for GRPO's scheme. It has no temperature, so its value is the same at every τ."""
    axes.axhline(height, color=BASELINE["color"], linewidth=1.4, label=names.scheme("linear"))


def logarithmic(axes: Axes, name: str = "x") -> None:
    """A logarithmic axis with plain numbers: 0.1, 0.2, 0.5, 1, … or, over several decades, 0.1, 1, 10."""
    axes.set(**{f"{name}scale": "log"})
    axis = getattr(axes, f"{name}axis")
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
