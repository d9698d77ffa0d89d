"""What the final models can do with several samples: pass@k against k, and pass@1 against pass@16."""

import re

import pandas as pd
from matplotlib.ticker import NullLocator

from softmax_rewards.report import names
from softmax_rewards.report.plots import grouping
from softmax_rewards.report.plots.drawing import PERCENT, Drawn, Missing, panels, parts
from softmax_rewards.report.plots.labels import name_points
from softmax_rewards.report.plots.style import MUTED, looks, styled
from softmax_rewards.report.plots.training import grouped_panels, over_seeds


@styled
def pass_at_k(final: pd.DataFrame, baseline: str = "baseline", ablations: pd.DataFrame | None = None) -> Drawn:
    """pass@k of the final models against k (logarithmic). `final`: ablation, seed, pass@1, pass@4, …"""
    columns = [column for column in final if re.fullmatch(r"pass@\d+", column) and final[column].notna().any()]
    if final.empty or not columns:
        return Missing("no final evaluation with several samples per puzzle")
    long = final.melt(["ablation", "seed"], columns, var_name="step", value_name="pass").dropna(subset=["pass"])
    long["step"] = long["step"].str.removeprefix("pass@").astype(int)
    grid = grouped_panels(long, "pass", "step", baseline, ablations)
    ks = sorted(long["step"].unique())
    for axes in grid.axes.flat:
        axes.set_xscale("log", base=2)
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(PERCENT)
    grid.set_axis_labels("k samples per puzzle", "pass@k")
    return grid.figure


@styled
def frontier(passes: pd.DataFrame, baseline: str = "baseline", ablations: pd.DataFrame | None = None) -> Drawn:
    """pass@16 against pass@1 of the final models, a panel per group of ablations; the cross is the base model.

    `passes`: ablation, seed, step, pass@1, pass@16 (passes.csv). Marks are means with 95 % intervals over the seeds
    that the ablations of a panel have in common. Gray marks are the ablations of the other panels.
    """
    known = passes.dropna(subset=["pass@1", "pass@16"]) if {"pass@1", "pass@16"} <= {*passes} else passes[:0]
    last = known[(known["step"] > 0) & (known["step"] == known.groupby("ablation")["step"].transform("max"))]
    if last["ablation"].nunique() < 2:
        return Missing("fewer than two ablations have pass@16 at the end")
    described = names.described([baseline, *last["ablation"]], ablations)
    made, look = grouping.groups(last, described, baseline), looks(described)
    columns = min(len(made), 2)
    shown = grouping.split(last, made, baseline)
    size = (6.6 if len(made) == 1 else 10, 0.9 + 2.9 * -(-len(made) // columns))
    grid = panels(shown, size, col="panel", col_wrap=columns)
    base, everyone = known.loc[known["step"] == 0, ["pass@1", "pass@16"]].mean(), _means(last)
    for axes, part in parts(grid):
        axes.scatter(everyone["pass@1"], everyone["pass@16"], s=14, color="#d0d5db", zorder=1)
        axes.plot(*base, "x", color=MUTED, markersize=8, markeredgewidth=2)
        for slug, row in _means(part).iterrows():
            axes.plot([row["pass@1 low"], row["pass@1 high"]], [row["pass@16"]] * 2, color=look[slug]["color"], lw=0.9)
            axes.plot([row["pass@1"]] * 2, [row["pass@16 low"], row["pass@16 high"]], color=look[slug]["color"], lw=0.9)
            axes.plot(row["pass@1"], row["pass@16"], look[slug]["marker"], color=look[slug]["color"], markersize=7)
        axes.xaxis.set_major_formatter(PERCENT)
        axes.yaxis.set_major_formatter(PERCENT)
    grid.set(**{f"{axis}lim": _limits(everyone, base, name) for axis, name in (("x", "pass@1"), ("y", "pass@16"))})
    grid.set_axis_labels("pass@1", "pass@16")
    for (axes, part), group in zip(parts(grid), made, strict=True):
        marks = _means(part)
        texts = [grouping.short(slug, group, described) for slug in marks.index]
        points = [*marks[["pass@1", "pass@16"]].to_numpy()]
        if base.notna().all():
            points, texts = [*points, base.to_numpy()], [*texts, "base model"]
        name_points(axes, points, texts)
    return grid.figure


def _means(last: pd.DataFrame) -> pd.DataFrame:
    """Mean and limits of pass@1 and pass@16, one row per ablation."""
    columns = []
    for name in ("pass@1", "pass@16"):
        table = over_seeds(last.rename(columns={name: "pass"}), "pass").set_index("ablation")
        columns += [
            table["mean"].rename(name),
            table["low"].rename(f"{name} low"),
            table["high"].rename(f"{name} high"),
        ]
    return pd.concat(columns, axis=1)


def _limits(everyone: pd.DataFrame, base: pd.Series, name: str) -> tuple[float, float]:
    """Limits of an axis that hold the marks, the base model's too, and their intervals."""
    seen = pd.concat([everyone[name], everyone[f"{name} low"], everyone[f"{name} high"], base[[name]]]).dropna()
    margin = 0.1 * (seen.max() - seen.min()) or 0.05
    return max(0.0, seen.min() - margin), min(1.0, seen.max() + margin)
