"""What the toy of search predicts for the experiment's base models, from how each was measured to search.

The predictions use the base's evaluation only, and nothing that was found by training.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from softmax_rewards.config.run import Run
from softmax_rewards.data import tasks
from softmax_rewards.verdicts import bases
from softmax_rewards.verdicts.finished import FinishedRun
from softmax_rewards.weighting.study import search_base, search_prediction
from softmax_rewards.weighting.study.search_toy import Search

SETTING = ["base", "group_size", "hidden_budget", "format_reward"]


def table(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """One row per base model, group size, hidden budget and scheme: `search_prediction.table`. Empty if none is known.

    The first row of a setting is the base model itself in the toy.
    """
    parts = []
    for names, search, start in _settings(runs):
        learners = search_prediction.learners(names["group_size"], names["format_reward"])
        parts.append(search_prediction.table(search, start, learners).assign(**names))
    return _joined(parts, search_prediction.REACHED)


def curves(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """The expected gradient of the schemes of a figure, one row per point: `search_prediction.curves`."""
    parts = []
    for names, search, _ in _settings(runs):
        learners = search_prediction.learners(names["group_size"], names["format_reward"], search_prediction.CURVED)
        parts.append(search_prediction.curves(search, learners).assign(**names))
    return _joined(parts, search_prediction.CURVE)


def _settings(runs: Sequence[FinishedRun]) -> Iterator[tuple[dict[str, Any], Search, float]]:
    """Each setting that runs were trained with: its names, the toy of its base model, and the base's q."""
    for base in bases.distinct(runs):
        if not search_base.measured(base["search"]):
            continue
        _, options = tasks.load(base["settings"]["task"])
        started = [run for run in runs if run.base and run.base["name"] == base["name"]]
        trained = [Run.from_dict(run.record["config"]).training for run in started]
        for size, loss in sorted({(training.group_size, training.hidden_budget) for training in trained}):
            search, start = search_base.read(base["search"], base["settings"]["max_new_tokens"], loss)
            # A task without this option pays nothing for the format.
            paid = getattr(options, "format_reward", 0.0)
            yield dict(zip(SETTING, (base["name"], size, loss, paid), strict=True)), search, start


def _joined(parts: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    empty = pd.DataFrame(columns=[*SETTING, *columns])
    return pd.concat(parts, ignore_index=True)[[*SETTING, *columns]] if parts else empty
