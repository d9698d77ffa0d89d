"""What the toy of search predicted for every scheme, beside what training reached, and whether the order is the same.

Predicted is where a scheme comes to rest in the toy of the run's own base model; found is the last evaluation of the
run. Both have the hidden budget of the training. The toy learns nothing but when to stop, so the levels may differ, and
the order of the schemes is what is scored.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from softmax_rewards.common.stats import Interval, mean_interval
from softmax_rewards.verdicts.conditions import Part
from softmax_rewards.verdicts.evidence import Evidence, Untested
from softmax_rewards.verdicts.finished import FinishedRun
from softmax_rewards.weighting.study import search_prediction

FIGURES = {"attempts": "attempts", "formatted": "format", "success": "success"}  # of the toy → of an evaluation
PAIRS = ["condition", "ablation", "seed", "figure", "predicted", "found"]
FOUND = ["condition", "ablation", "figure", "predicted", "found", "low", "high", "seeds"]
RANKS = ["condition", "figure", "ablations", "rank", "low", "high", "seeds"]


def pairs(parts: Sequence[Part], predictions: pd.DataFrame) -> pd.DataFrame:
    """Predicted and found figure of every run that the toy knows. Columns: PAIRS."""
    return pd.concat([_pairs(part, predictions) for part in parts], ignore_index=True)


def found(paired: pd.DataFrame) -> pd.DataFrame:
    """One row per condition, ablation and figure: means over seeds, and the interval of `found`. Columns: FOUND.

    `paired`: as from `pairs`, here and below.
    """
    rows = []
    for names, values in paired.groupby(["condition", "ablation", "figure"], sort=False):
        rows.append([*names, values["predicted"].mean(), *_numbers(mean_interval(values["found"]))])
    return pd.DataFrame(rows, columns=FOUND)


def ranks(paired: pd.DataFrame) -> pd.DataFrame:
    """One row per condition and figure: Spearman's rank correlation over the ablations of a seed. Columns: RANKS.

    The interval is over seeds. Only seeds that all ablations have count. A figure that the toy predicts to be the same
    for all of them has no row.
    """
    rows = []
    for names, values in paired.groupby(["condition", "figure"], sort=False):
        wide = values.pivot(index="seed", columns="ablation", values=["predicted", "found"]).dropna()
        per_seed = [
            wide.loc[seed, "predicted"].corr(wide.loc[seed, "found"], method="spearman")
            for seed in wide.index
            if wide.loc[seed, "predicted"].nunique() > 1 and wide.loc[seed, "found"].nunique() > 1
        ]
        if per_seed:
            rows.append([*names, len(wide.columns.unique("ablation")), *_numbers(mean_interval(per_seed))])
    return pd.DataFrame(rows, columns=RANKS)


def _numbers(interval: Interval) -> list[float]:
    return [interval.estimate, interval.low, interval.high, interval.n]


def _pairs(part: Part, predictions: pd.DataFrame) -> pd.DataFrame:
    rows = []
    condition = part.evidence.condition
    for ablation, names in _learners(part.evidence):
        for run in part.runs:
            if run.ablation != ablation or (row := _prediction(run, names, predictions)) is None:
                continue
            last = run.evaluations.iloc[-1]
            rows += [
                (condition, ablation, run.seed, figure, row[figure], last[name]) for figure, name in FIGURES.items()
            ]
    return pd.DataFrame(rows, columns=PAIRS)


def _learners(evidence: Evidence) -> Iterator[tuple[str, dict[str, object]]]:
    """The ablations that the toy predicts, with the names of their row in `search_prediction.table`."""
    for scheme, chosen, skip in search_prediction.SCHEMES:
        try:
            name = evidence.find({"scheme": scheme, **chosen}, {"skip_unfinished": True} if skip else {})
        except Untested:  # not an ablation of this experiment
            continue
        yield name, {"scheme": scheme, "tau": chosen.get("tau"), "skip_unfinished": skip}


def _prediction(run: FinishedRun, names: dict[str, object], predictions: pd.DataFrame) -> pd.Series | None:
    """The toy's row for a run, None if its base model was not measured."""
    if run.base is None:
        return None
    training = run.record["config"]["training"]
    chosen = (
        (predictions["base"] == run.base["name"])
        & (predictions["group_size"] == training["group_size"])
        & (predictions["hidden_budget"] == training.get("hidden_budget", 0.0))
        & (predictions["scheme"] == names["scheme"])
        & (predictions["skip_unfinished"] == names["skip_unfinished"])
        & (predictions["tau"].isna() if names["tau"] is None else predictions["tau"] == names["tau"])
    )
    rows = predictions[chosen]
    return rows.iloc[0] if len(rows) else None
