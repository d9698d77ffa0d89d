"""The map of schemes, predicted without training, beside what training found."""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from softmax_rewards.report import names
from softmax_rewards.report.names import Ablation
from softmax_rewards.report.plots import grouping
from softmax_rewards.report.plots.drawing import PERCENT, Drawn, Missing
from softmax_rewards.report.plots.labels import name_points
from softmax_rewards.report.plots.style import look, scheme_looks, styled
from softmax_rewards.report.plots.training import over_seeds

FEWEST = 4  # ablations; with fewer there is hardly an order
EARLY = 1 / 3  # of training: the map is that of the base model


class _Panel(NamedTuple):
    """A figure of the map, and what it predicts: `found` has mean, low and high of each ablation."""

    title: str
    column: str
    label: str
    found: pd.DataFrame
    found_label: str


@styled
def found(
    places: pd.DataFrame,
    trajectories: pd.DataFrame,
    passes: pd.DataFrame,
    ablations: pd.DataFrame,
    baseline: str = "baseline",
) -> Drawn:
    """X against the length of answers at the end, ρ against early success, and tilt against pass@16 at the end.

    `places`: scheme, setting, rho, tilt, x (logged_map.csv); `trajectories`: ablation, seed, step, success, length;
    `passes`: ablation, seed, step, pass@16; `ablations`: ablations.csv. Only ablations that are on the map and were
    trained like the baseline are drawn, with 95 % intervals over the seeds that all of them have.
    """
    own = ablations.loc[ablations["baseline"] == baseline, "ablation"]  # those of its condition
    described = names.described(trajectories.loc[trajectories["ablation"].isin(own), "ablation"], ablations)
    predicted = _predicted(places, described)
    known = [slug for slug in grouping.ordered(described, described) if slug in predicted.index]
    if len(known) < FEWEST:
        return Missing(f"fewer than {FEWEST} ablations of the baseline's setting are on the map")
    rows, late = _same_seeds(trajectories, known), _same_seeds(passes, known)
    first = rows[(rows["step"] > 0) & (rows["step"] <= EARLY * rows["step"].max())]
    early = first.groupby(["ablation", "seed"], as_index=False)["success"].mean().assign(step=0)
    drawn = [
        _Panel("X → short answers", "x", "X: pay for format", _at_end(rows, "length"), "length at the end (tokens)"),
        _Panel(
            "ρ → early success", "rho", "ρ: how clear an update is", _means(early, "success"), "success, first third"
        ),
        _Panel(
            "tilt → pass@16", "tilt", "tilt: weight on hard prompts", _at_end(late, "pass@16"), "pass@16 at the end"
        ),
    ]
    drawn = [panel for panel in drawn if len(panel.found) >= FEWEST and predicted[panel.column].notna().any()]
    figure = Figure(figsize=(0.6 + 4.6 * min(2, len(drawn)), 4.1 * -(-len(drawn) // 2)), layout="constrained")
    for number, panel in enumerate(drawn, 1):
        _points(figure.add_subplot(-(-len(drawn) // 2), min(2, len(drawn)), number), panel, predicted, described)
    return figure


def _predicted(places: pd.DataFrame, described: Mapping[str, Ablation]) -> pd.DataFrame:
    """rho, tilt and x of the ablations that are on the map, by their names."""
    keys = [names.of_setting(*key).weights for key in zip(places["scheme"], places["setting"], strict=True)]
    by_name = places.set_axis(keys, axis="index")[["rho", "tilt", "x"]]
    by_name = by_name[~by_name.index.duplicated()]  # hyperparameters other than τ are not part of a name
    on_map = {slug: ablation.weights for slug, ablation in described.items() if not ablation.setting}
    on_map = {slug: name for slug, name in on_map.items() if name in by_name.index}
    return by_name.loc[[*on_map.values()]].set_axis([*on_map], axis="index")


def _same_seeds(frame: pd.DataFrame, slugs: list[str]) -> pd.DataFrame:
    """The rows of `slugs`, of the seeds that all of them have."""
    rows = frame[frame["ablation"].isin(slugs)]
    seeds = rows.groupby("seed")["ablation"].nunique()
    return rows[rows["seed"].isin(seeds.index[seeds == rows["ablation"].nunique()])]


def _at_end(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean and interval of a column at the last step, if it was measured."""
    if column not in rows:
        return pd.DataFrame()
    return _means(rows[rows["step"] == rows["step"].max()], column)


def _means(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    quantity = "pass" if column.startswith("pass@") else column
    return over_seeds(rows.rename(columns={column: quantity}), quantity).set_index("ablation")


def _points(axes: Axes, panel: _Panel, predicted: pd.DataFrame, described: Mapping[str, Ablation]) -> None:
    """What was found against what was predicted, one mark per ablation with its interval."""
    rows = panel.found[["mean", "low", "high"]].join(predicted[panel.column], how="inner").dropna(subset=[panel.column])
    for slug, row in rows.iterrows():
        style = look(described[slug].scheme, described[slug].tau)
        axes.plot([row[panel.column]] * 2, [row["low"], row["high"]], color=style["color"], linewidth=0.9)
        axes.plot(row[panel.column], row["mean"], linestyle="", markersize=7, **style)
    axes.set(xlabel=panel.label, ylabel=panel.found_label)
    axes.set_title(panel.title)
    if panel.column == "x":
        axes.set_xscale("symlog", linthresh=0.1)
        axes.set_xticks([0, 0.05, 0.1, 0.2, 0.5, 1])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.yaxis.set_major_formatter(PERCENT)
    axes.margins(0.14)
    # The two large families have their temperature beside the mark, and their name in the legend.
    texts = [_short(described[slug]) for slug in rows.index]
    families = [scheme for scheme in grouping.FAMILIES if scheme in {described[slug].scheme for slug in rows.index}]
    for scheme, style in scheme_looks(families).items():
        axes.plot([], [], linestyle="", label=names.scheme(scheme), **style)
    if families:
        axes.legend(loc="best", fontsize=8.5)
    name_points(axes, rows[[panel.column, "mean"]].to_numpy(), texts)


def _short(ablation: Ablation) -> str:
    return names.temperature(ablation.tau) if ablation.scheme in grouping.FAMILIES else ablation.label
