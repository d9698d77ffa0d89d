"""Conditions on a page: the same figure or table once for each part of an experiment that is judged apart."""

import html
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
from IPython.display import HTML, display

from softmax_rewards.report import display as show
from softmax_rewards.report import names

if TYPE_CHECKING:
    from softmax_rewards.report.plots.drawing import Drawn


def usual(ablations: pd.DataFrame) -> pd.DataFrame:
    """The rows of ablations.csv that were trained like their baseline, or were planned to be compared with it."""
    return ablations[ablations["setting"].isna() | ablations["planned"]]


def figures(
    ablations: pd.DataFrame, draw: Callable[[Sequence[str], str], "Drawn"], description: str, caption: str = ""
) -> None:
    """Show `draw(names of the ablations, baseline)` for each condition of `ablations`, under its name if it has one.

    description  alternative text of the figures
    caption      what to see, as HTML; it stands below the last figure
    """
    parts = list(_by_condition(ablations))
    for number, (condition, members) in enumerate(parts, 1):
        title = f" ({condition})" if condition else ""
        drawn = draw(members["ablation"].tolist(), members["baseline"].iloc[0])
        display(*_heading(condition))
        show.figure(drawn, description + title, caption if number == len(parts) else "")


def tables(ablations: pd.DataFrame, make: Callable[[Sequence[str]], HTML]) -> None:
    """Show `make(names of the ablations)` for each condition of `ablations`, under its name if it has one."""
    for condition, members in _by_condition(ablations):
        display(*_heading(condition), make(members["ablation"].tolist()))


def verdicts(frame: pd.DataFrame, columns: Sequence[str], headings: Mapping[str, str] | None = None) -> None:
    """Show `display.verdicts` for each condition of `frame`, under its name if it has one."""
    for condition, rows in _by_condition(frame):
        display(*_heading(condition), show.verdicts(rows, columns, headings))


def _by_condition(frame: pd.DataFrame) -> Iterable[tuple[Hashable, pd.DataFrame]]:
    """Name → rows of each condition; the name is empty if the experiment has only one."""
    return frame.groupby(names.conditions(frame), sort=False)


def _heading(condition: Hashable) -> list[HTML]:
    return [HTML(f"<h3>{html.escape(str(condition))}</h3>")] if condition else []
