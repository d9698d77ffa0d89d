"""Conditions on a page: the same figure once for each part of an experiment that is judged apart."""

import html
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd
from IPython.display import HTML, display

from softmax_rewards.report.display import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def usual(ablations: pd.DataFrame) -> pd.DataFrame:
    """The rows of ablations.csv that were trained like their baseline, or were planned to be compared with it."""
    return ablations[ablations["setting"].isna() | ablations["planned"]]


def figures(ablations: pd.DataFrame, draw: Callable[[Sequence[str], str], "Figure"], description: str) -> None:
    """Show `draw(names of the ablations, baseline)` for each condition of `ablations`, under its name if it has one.

    description  alternative text of the figures
    """
    for condition, members in ablations.fillna({"condition": ""}).groupby("condition", sort=False):
        title = f" ({condition})" if condition else ""
        if condition:
            display(HTML(f"<h3>{html.escape(str(condition))}</h3>"))
        display(figure(draw(members["ablation"].tolist(), members["baseline"].iloc[0]), description + title))
