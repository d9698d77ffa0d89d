"""What the toy of search predicted beside what training reached: the table, and the rank correlations."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from planted import finished_run
from scipy import stats

from softmax_rewards.verdicts import search_scores
from softmax_rewards.verdicts.evidence import LINEAR, Evidence

TRAINING = {"group_size": 8, "hidden_budget": 0.0, "skip_unfinished": False}
WEIGHTINGS = {
    "baseline": LINEAR,
    "dr": {"scheme": "dr_grpo"},
    "half": {"scheme": "softmax", "tau": 0.5},
    "raft": {"scheme": "raft"},
    "skipped": LINEAR,
}
PREDICTED = {"baseline": 1.2, "dr": 2.0, "half": 2.9, "raft": 3.6, "skipped": 2.2}
NAMES = {  # ablation → scheme, τ and "cut answers are left out" of its row in the table of predictions
    "baseline": ("linear", np.nan, False),
    "dr": ("dr_grpo", np.nan, False),
    "half": ("softmax", 0.5, False),
    "raft": ("raft", np.nan, False),
    "skipped": ("linear", np.nan, True),
}


@pytest.fixture(scope="module")
def predictions():
    """Predictions for this base model, and larger ones for others, which must not be read."""
    rows = []
    for base, size, loss, extra in (("b", 8, 0.0, 0), ("other", 8, 0.0, 90), ("b", 4, 0.0, 90), ("b", 8, 0.3, 90)):
        for name, (scheme, tau, skip) in NAMES.items():
            figures = {"attempts": PREDICTED[name] + extra, "formatted": 0.5, "success": PREDICTED[name] / 30}
            names = {"base": base, "group_size": size, "hidden_budget": loss}
            rows.append(names | {"scheme": scheme, "tau": tau, "skip_unfinished": skip} | figures)
    return pd.DataFrame(rows)


def part(attempts, base="b", seeds=3):
    """One condition. `attempts` → ablation → attempts at the end; seed s adds s hundredths to the first ablation."""
    runs = []
    for name in attempts:
        skip = {"skip_unfinished": True} if name == "skipped" else {}
        for seed in range(seeds):
            end = attempts[name] + 0.01 * seed * (name == "baseline")
            run = finished_run(
                name, seed, (0.09, 0.1, 0.03 * end), weighting=WEIGHTINGS[name], training=TRAINING | skip,
                attempts=[9.0, 9.0, end],
            )  # fmt: skip
            runs.append(dataclasses.replace(run, base={"name": base} if base else None))
    configs = {run.ablation: run.record["config"] for run in runs}
    return SimpleNamespace(runs=runs, evidence=Evidence(pd.DataFrame(), configs, "baseline", condition="trap"))


def test_each_ablation_stands_beside_its_prediction(predictions):
    found = search_scores.found(search_scores.pairs([part(PREDICTED)], predictions)).set_index(["ablation", "figure"])
    assert set(found.index.unique("ablation")) == set(PREDICTED) and set(found["condition"]) == {"trap"}
    for name, attempts in PREDICTED.items():
        row = found.loc[(name, "attempts")]
        end = attempts + 0.01 * (name == "baseline")
        assert (row["predicted"], row["found"], row["seeds"]) == (attempts, pytest.approx(end), 3)
        assert found.loc[(name, "success"), "found"] == pytest.approx(0.03 * end)
    assert found.loc[("dr", "formatted"), "found"] == 0.9


def test_the_rank_correlation_is_that_of_scipy_over_the_ablations(predictions):
    ranks = search_scores.ranks(search_scores.pairs([part(PREDICTED)], predictions)).set_index("figure")
    assert ranks.loc["attempts", "rank"] == ranks.loc["success", "rank"] == pytest.approx(1)
    assert "formatted" not in ranks.index  # the toy predicts one value for all
    mixed = PREDICTED | {"raft": 1.0, "dr": 2.5}
    row = search_scores.ranks(search_scores.pairs([part(mixed)], predictions)).set_index("figure").loc["attempts"]
    expected = stats.spearmanr(list(PREDICTED.values()), list(mixed.values())).statistic
    assert row["rank"] == pytest.approx(expected) and (row["ablations"], row["seeds"]) == (5, 3)


def test_only_seeds_that_all_ablations_have_are_ranked(predictions):
    whole = part(PREDICTED)
    whole.runs = [run for run in whole.runs if (run.ablation, run.seed) != ("dr", 1)]
    ranks = search_scores.ranks(search_scores.pairs([whole], predictions))
    assert set(ranks["seeds"]) == {2}


@pytest.mark.parametrize("base", [None, "unmeasured"])
def test_without_a_measured_base_both_tables_are_empty(predictions, base):
    paired = search_scores.pairs([part(PREDICTED, base)], predictions)
    found, ranks = search_scores.found(paired), search_scores.ranks(paired)
    assert list(found.columns) == search_scores.FOUND and list(ranks.columns) == search_scores.RANKS
    assert found.empty and ranks.empty
