"""The gap to GRPO against the size of the model."""

import pandas as pd
from matplotlib.figure import Figure

from softmax_rewards.report import names
from softmax_rewards.report.plots import grouping
from softmax_rewards.report.plots.drawing import Drawn, Missing, logarithmic, whiskers
from softmax_rewards.report.plots.labels import name_ends
from softmax_rewards.report.plots.style import INK, MOST_LINES, looks, styled

APART = 1.05  # neighbors' whiskers stand side by side: factor between their sizes


@styled
def sizes(table: pd.DataFrame) -> Drawn:
    """Difference from GRPO in points with 95 % intervals against millions of parameters, one line per ablation.

    `table` is that of `report/model_sizes.py`. Only ablations that every experiment has are drawn, MOST_LINES at most.
    """
    count = table["size"].nunique()
    if count < 2:
        return Missing(f"{count} of the experiments countdown-mini-scale-* is finished, and a comparison needs two")
    shared = table.groupby("ablation")["size"].nunique()
    described = names.described(table["ablation"], table)
    slugs = grouping.ordered(shared.index[shared == count], described)[:MOST_LINES]
    figure = Figure(figsize=(7.6, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=INK, linewidth=1.2)
    for number, (slug, look) in enumerate(looks({slug: described[slug] for slug in slugs}).items()):
        rows = table[table["ablation"] == slug].sort_values("size")
        points = rows.assign(**{name: 100 * rows[name] for name in ("delta", "low", "high")})
        places = points["size"] * APART ** (number - (len(slugs) - 1) / 2)
        whiskers(axes, points, places, "delta", label="_", **look)
        axes.plot(places, points["delta"], **look, label=described[slug].label)
    logarithmic(axes)
    ticks = sorted(table["size"].unique())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set(xlabel="parameters of the model, in millions", ylabel="difference from GRPO\n(percentage points)")
    axes.set_ylim(axes.get_ylim())
    name_ends(axes, 3.2)
    return figure
