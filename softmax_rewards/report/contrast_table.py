"""The table of the controls page: pairs of ablations that differ in one thing."""

import html
from collections.abc import Callable

import pandas as pd
from IPython.display import HTML

from softmax_rewards.report import display, names

MOST_ROWS = 8  # of a question; there are three
QUESTIONS = {
    "the constant": "What the constant does",
    "the setting": "What a setting does, with the same weights",
    "the weights": "What the weights do, against GRPO in the same setting",
}
FILE = "summary/contrasts.csv"


def show(table: pd.DataFrame, ablations: pd.DataFrame) -> HTML:
    """The pairs in mean success over training, one table per question; of many pairs, those that differ most.

    `table`: contrasts.csv; `ablations`: ablations.csv. A line says which rows are left out.
    """
    main = table[(table["endpoint"] == "auc") & table["delta"].notna()]
    parts, left_out = [], len(table) - len(main)
    for question, heading in QUESTIONS.items():
        rows = main[main["question"] == question]
        kept = rows.loc[rows["delta"].abs().sort_values(ascending=False, kind="stable").index[:MOST_ROWS]].sort_index()
        left_out += len(rows) - len(kept)
        if len(kept):
            parts += [f"<h3>{html.escape(heading)}</h3>", _table(names.labeled(kept, ablations)).data]
    if not parts:
        return HTML("<p><em>No two ablations of this experiment differ in one thing.</em></p>")
    shown = f"Of each question, the {MOST_ROWS} largest differences in mean success over training are shown."
    return HTML("\n".join(parts) + f"<p>{shown} {left_out} more rows, also of success at the end, are in {FILE}.</p>")


def _table(rows: pd.DataFrame) -> HTML:
    shown = rows[["ablation", "against", "delta", "low", "high", "p", "seeds", "mde"]]
    formats: dict[str, str | Callable] = {"delta": display.points, "low": display.points, "high": display.points}
    formats |= {"mde": display.size, "p": ".2g"}
    return display.table(shown, formats, {"delta": "difference", "mde": "detectable"})
