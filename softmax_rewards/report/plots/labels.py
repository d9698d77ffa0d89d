"""Names in figures: at the ends of lines, beside points, and legends."""

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from softmax_rewards.report.plots.style import INK, MUTED

LINE_HEIGHT = 12.5  # points
LONG = 22  # letters; a longer name gets two lines
_BEHIND = {"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
# Where a name may stand: directions from its point, nearest first, in points.
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 0.8), (0.8, -0.8), (-0.8, 0.8), (-0.8, -0.8))
_DISTANCES = (7, 16, 28, 42)


def name_ends(axes: Axes, height: float) -> None:
    """The name of each labeled line right of the panel, connected to its end. Names do not overlap.

    `height`: that of the panel in inches. The limits of y must be set.
    """
    ends: list[tuple[float, float, str, Line2D]] = []
    for line in axes.get_lines():
        if not str(line.get_label()).startswith("_"):
            x, y = map(float, np.asarray(line.get_xydata())[-1])
            ends.append((x, y, _wrapped(str(line.get_label())), line))
    ends.sort(key=lambda end: end[1:3])
    low, high = axes.get_ylim()
    places = [(y - low) / (high - low) for _, y, _, _ in ends]
    sizes = [LINE_HEIGHT * (1 + name.count("\n")) / (72 * height) for _, _, name, _ in ends]
    for (x, y, name, line), place in zip(ends, _apart(places, sizes), strict=True):
        color = line.get_color()
        arrow = {"arrowstyle": "-", "color": color, "linewidth": 1.2, "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)}
        axes.annotate(
            name,
            (x, y),
            (1.04, place),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=INK,
            annotation_clip=False,
            arrowprops=arrow,
        )


def _wrapped(name: str) -> str:
    """A long name in two lines: "GRPO (z-score),\\ncut answers left out"."""
    return name.replace(", ", ",\n", 1) if len(name) > LONG else name


def _apart(places: list[float], sizes: list[float]) -> list[float]:
    """Rising places moved as little as needed, so that names of these sizes do not overlap; from 0 up."""
    moved = list(places)
    for _ in range(60):
        for i in range(len(moved) - 1):
            short = (sizes[i] + sizes[i + 1]) / 2 - (moved[i + 1] - moved[i])
            if short > 0:
                moved[i] -= short / 2
                moved[i + 1] += short / 2
        if moved:
            moved[-1] = min(moved[-1], 1.0)
            moved[0] = max(moved[0], 0.0)
    return moved


def name_points(
    axes: Axes, points: Iterable[Sequence[float]], texts: Sequence[str], verticals: Sequence[float] = ()
) -> None:
    """Write each text beside its point, where it hides no other text, no point and no vertical line at `verticals`.

    A text that is far from its point is connected to it.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # the layout decides how far apart two points are
    marks = [(float(x), float(y)) for x, y in points]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in axes.transData.transform(np.array(marks))]
    taken += [text.get_window_extent() for text in axes.texts]
    taken += [Bbox.from_extents(x - 1, axes.bbox.y0, x + 1, axes.bbox.y1) for x in _pixels(axes, verticals)]
    if legend := axes.get_legend():
        taken.append(legend.get_window_extent())
    for mark, name in zip(marks, texts, strict=True):
        text = axes.annotate(name, mark, (0, 0), textcoords="offset points", fontsize=9, color=INK, bbox=_BEHIND)
        costs = {}
        for distance, direction in product(_DISTANCES, _DIRECTIONS):
            box = _moved(text, distance, direction)
            outside = not (
                axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 and axes.bbox.y0 < box.y0 < box.y1 < axes.bbox.y1
            )
            costs[distance, direction] = 100 * outside + box.count_overlaps(taken)
            if not costs[distance, direction]:
                break
        distance, direction = min(costs, key=lambda place: costs[place])  # the nearest of the best
        taken.append(_moved(text, distance, direction))
        if distance > _DISTANCES[1]:
            line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
            axes.annotate("", mark, text.get_position(), textcoords="offset points", arrowprops=line)


def _pixels(axes: Axes, verticals: Sequence[float]) -> list[float]:
    return [axes.transData.transform((x, 0))[0] for x in verticals]


def _moved(text: Annotation, distance: float, direction: tuple[float, float]) -> Bbox:
    """Put a text in a direction from its point; returns the place that it takes, in pixels."""
    x, y = direction
    text.set_position((distance * x, distance * y))
    text.set(ha="left" if x > 0 else "right" if x else "center", va="bottom" if y > 0 else "top" if y else "center")
    return text.get_window_extent()


def legend_below(axes: Axes, columns: int = 1) -> None:
    """A legend under the axes."""
    if axes.get_legend_handles_labels()[0]:  # matplotlib warns about a legend without entries
        # The padding leaves room for tick and axis labels. It is in font sizes, so it fits at any height of the figure.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=4.4, handlelength=2.4, ncols=columns)
