"""Ablations against the baseline and against their base model. One row per ablation; whiskers are 95 % intervals."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from softmax_rewards.report import names
from softmax_rewards.report.names import Ablation
from softmax_rewards.report.plots import grouping
from softmax_rewards.report.plots.drawing import PERCENT, Drawn, Missing
from softmax_rewards.report.plots.labels import legend_below
from softmax_rewards.report.plots.style import INK, MUTED, color, marker, styled
from softmax_rewards.report.plots.training import over_seeds

MOST_ROWS = 20


@styled
def forest(
    comparisons: pd.DataFrame, endpoint: str, baseline: str = "baseline", ablations: pd.DataFrame | None = None
) -> Drawn:
    """Differences from the baseline in percentage points with intervals, one row per ablation.

    `comparisons`: ablation, against, endpoint, delta, low, high, p_holm, family, margin. Only rows against `baseline`
    are drawn. Filled marks are the primary family, with Holm's p; hollow ones are exploratory. Ablations count as equal
    inside the band, a fifth of the baseline's gain on both sides.
    """
    own = (comparisons["endpoint"] == endpoint) & (comparisons["against"] == baseline)
    rows = comparisons[own & comparisons["delta"].notna()]
    if rows.empty:
        return Missing("not enough ablations or seeds for comparisons")
    described = names.described(rows["ablation"], ablations)
    planned = rows.loc[rows["family"] == "primary", "ablation"]
    order = _order(rows["ablation"], described, planned)
    rows = rows.set_index("ablation").loc[order]
    hollow = rows["family"] != "primary"
    figure, axes = _intervals(100 * rows[["delta", "low", "high"]], described, neutral=0, hollow=hollow)
    _equivalence_band(axes, float(rows["margin"].iloc[0]))
    for y, row in enumerate(rows.to_dict("records")):
        axes.text(1.01, y, _effect(row), transform=axes.get_yaxis_transform(), va="center", fontsize=9)
    against = names.described([baseline], ablations)[baseline].label
    axes.set_xlabel(f"difference from {against} in percentage points")
    return figure


def _effect(row: Mapping[str, Any]) -> str:
    text = f"{100 * row['delta']:+.1f}"
    if not np.isnan(row["low"]):
        text += f" [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
    if row["family"] == "primary" and not np.isnan(row["p_holm"]):
        text += f"  p = {row['p_holm']:.2g}"
    return text.replace("-", "−")


@styled
def improvement(
    robust: pd.DataFrame, endpoint: str, baseline: str = "baseline", ablations: pd.DataFrame | None = None
) -> Drawn:
    """Probability that a seed of each ablation beats one of the baseline, with bootstrap intervals; one row each.

    `robust`: ablation, endpoint, improvement, improvement_low, improvement_high. The line at 50 % is no difference.
    """
    rows = robust[(robust["endpoint"] == endpoint) & robust["improvement"].notna()].set_index("ablation")
    if rows.empty:
        return Missing("no ablation beside the baseline")
    described = names.described(rows.index, ablations)
    estimates = rows.loc[_order(rows.index, described), ["improvement", "improvement_low", "improvement_high"]]
    figure, axes = _intervals(estimates.clip(0, 1), described, neutral=0.5)
    axes.set_xlim(-0.03, 1.03)
    axes.xaxis.set_major_formatter(PERCENT)
    against = names.described([baseline], ablations)[baseline].label
    axes.set_xlabel(f"probability that a seed beats a seed of {against}")
    return figure


@styled
def gains(final: pd.DataFrame, baseline: str = "baseline", ablations: pd.DataFrame | None = None) -> Drawn:
    """What each ablation learned: mean success over training minus its base model's, in points, with intervals.

    `final`: ablation, seed, auc, base; `ablations`: ablations.csv. The gate is open if a planned one clears 0. Filled
    marks are planned ablations. If there are more than MOST_ROWS ablations, only these are drawn.
    """
    if final.empty:
        return Missing("no finished run")
    described = names.described([baseline, *final["ablation"]], ablations)
    planned = {baseline}
    if ablations is not None:
        planned |= {*ablations.loc[ablations["planned"], "ablation"]}
    if final["ablation"].nunique() > MOST_ROWS and len(planned) > 1:
        final = final[final["ablation"].isin(planned)]
    learned = over_seeds(final.assign(gain=final["auc"] - final["base"], step=0), "gain").set_index("ablation")
    learned = learned.loc[_order(learned.index, described, planned)]
    hollow = pd.Series([slug not in planned for slug in learned.index], learned.index)
    hollow &= ablations is not None
    figure, axes = _intervals(100 * learned[["mean", "low", "high"]], described, neutral=0, hollow=hollow)
    axes.set_xlabel("mean success over training − success of the base model, percentage points")
    return figure


@styled
def signal_noise(table: pd.DataFrame, ablations: pd.DataFrame | None = None) -> Drawn:
    """Cosine of the gradients of two halves of a batch, as measured and as predicted, one row per ablation.

    `table`: ablation, cosine, cosine_low, cosine_high, predicted_cosine.
    """
    if table.empty:
        return Missing("no ablation logged how much its gradients agree")
    described = names.described(table["ablation"], ablations)
    rows = table.set_index("ablation").loc[_order(table["ablation"], described)]
    figure, axes = _intervals(rows[["cosine", "cosine_low", "cosine_high"]], described, neutral=0)
    axes.plot([], [], "o", color=MUTED, markersize=7, label="measured")
    axes.plot(rows["predicted_cosine"], range(len(rows)), "x", color=INK, markersize=8, label="predicted")
    axes.set_xlabel("cosine of the gradients of two halves of a batch")
    legend_below(axes, columns=2)
    return figure


def _order(slugs: Iterable[str], described: Mapping[str, Ablation], planned: Iterable[str] = ()) -> list[str]:
    """GRPO first, then the planned ablations, then the others, each by family and temperature."""
    ranked, first = grouping.ordered(set(slugs), described), {*planned}
    grpo = Ablation("linear")
    return sorted(ranked, key=lambda slug: (described[slug] != grpo, slug not in first))


def _equivalence_band(axes: Axes, margin: float) -> None:
    if not np.isnan(margin):  # unknown where the baseline did not clearly gain
        axes.axvspan(-100 * margin, 100 * margin, color="#eef1f4", zorder=0)


def _intervals(
    estimates: pd.DataFrame, described: Mapping[str, Ablation], neutral: float, hollow: pd.Series | None = None
) -> tuple[Figure, Axes]:
    """One row per ablation: estimate and interval, the three columns of `estimates`; its index names the ablations.

    `hollow` says of each ablation whether its mark is hollow.
    """
    figure = Figure(figsize=(7.8, 1.0 + 0.3 * len(estimates)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(neutral, color=MUTED, linewidth=1)
    for y, (slug, (estimate, low, high)) in enumerate(zip(estimates.index, estimates.to_numpy(float), strict=True)):
        ablation = described[slug]
        shade = color(ablation.scheme, ablation.tau)
        axes.hlines(y, low, high, shade, linewidth=2.2)
        fill = "white" if hollow is not None and hollow[slug] else shade
        form = marker(ablation.scheme, ablation.tau)
        axes.plot(estimate, y, form, color=shade, markerfacecolor=fill, markersize=7, markeredgewidth=1.6)
    axes.set_yticks(range(len(estimates)), [described[slug].label for slug in estimates.index])
    axes.set_ylim(len(estimates) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    return figure, axes
