"""Pairs of ablations that differ in one thing."""

import pandas as pd
import pytest

from softmax_rewards.verdicts import contrasts
from softmax_rewards.verdicts.evidence import Evidence

USUAL = {"steps": 80, "kl": 0.0, "learning_rate": 2e-4}
LINEAR, HALF = {"scheme": "linear"}, {"scheme": "softmax", "tau": 0.5}
ABLATIONS = {
    "baseline": (LINEAR, {}),
    "softmax": (HALF, {}),
    "centered": ({"scheme": "softmax_centered", "tau": 0.5}, {}),
    "centered-hot": ({"scheme": "softmax_centered", "tau": 1.0}, {}),
    "plus-one": ({"scheme": "linear_plus_one"}, {}),
    "linear-kl": (LINEAR, {"kl": 0.02}),
    "softmax-kl": (HALF, {"kl": 0.02}),
    "softmax-fast": (HALF, {"learning_rate": 4e-4, "kl": 0.02}),
    "raft-slow": ({"scheme": "raft"}, {"learning_rate": 1e-4}),
}
# Success of seeds 0, 1, 2 in points above a level of each seed, so that pairing matters.
HEIGHTS = {ablation: [place, place + 0.1, place - 0.1] for place, ablation in enumerate(ABLATIONS)}


@pytest.fixture
def evidence():
    configs = {ablation: {"weighting": w, "training": USUAL | changes} for ablation, (w, changes) in ABLATIONS.items()}
    rows = {
        (ablation, seed): {"auc": 0.01 * height + 0.1 * seed, "final": 0.2}
        for ablation, heights in HEIGHTS.items()
        for seed, height in enumerate(heights)
        if (ablation, seed) != ("softmax-kl", 2)
    }
    measures = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["ablation", "seed"])
    return Evidence(measures, configs, "baseline")


def test_pairs_differ_in_exactly_one_thing(evidence):
    assert list(contrasts.pairs(evidence)) == [
        ("the constant", "softmax", "centered", "softmax τ=0.5 − softmax centered τ=0.5"),
        ("the constant", "plus-one", "baseline", "linear plus one − linear"),
        ("the setting", "linear-kl", "baseline", "kl 0.02, with linear"),
        ("the setting", "softmax-kl", "softmax", "kl 0.02, with softmax τ=0.5"),
        ("the weights", "softmax-kl", "linear-kl", "softmax τ=0.5 − linear, with kl 0.02"),
        ("the setting", "softmax-fast", "softmax", "kl 0.02, learning_rate 0.0004, with softmax τ=0.5"),
    ]


def test_differences_are_paired_by_seed(evidence):
    table = contrasts.table(evidence).set_index(["ablation", "against", "endpoint"])
    row = table.loc["softmax", "centered", "auc"]
    assert row["delta"] == pytest.approx(-0.01)
    assert row["high"] - row["low"] == pytest.approx(0, abs=1e-12)  # the spread between seeds is shared
    assert table.loc["softmax-kl", "linear-kl", "auc"]["seeds"] == 2
    assert (table.loc[(slice(None), slice(None), "final"), "delta"] == 0).all()


def test_ablations_say_their_setting_only_where_it_is_another(evidence):
    table = contrasts.ablations(evidence, evidence.configs).set_index("ablation")
    assert table["setting"].isna().sum() == 5
    assert table.loc["softmax-kl"].tolist() == ["softmax τ=0.5", "kl 0.02", "", "baseline", False]


def test_a_newer_setting_is_named_whichever_of_both_has_another_value():
    """A record has such a setting only where it is not the default."""
    plain, other = USUAL, USUAL | {"sampler": "vllm", "importance_cap": 2.0}
    assert contrasts.changed(other, plain) == "sampler vllm, importance_cap 2.0"
    assert contrasts.changed(plain, other) == "sampler native, importance_cap None"
    assert contrasts.changed(plain, USUAL | {"sampler": "native"}) == ""


def test_an_experiment_without_pairs_has_an_empty_table(evidence):
    alone = Evidence(evidence.measures.loc[["baseline"]], {"baseline": evidence.configs["baseline"]}, "baseline")
    table = contrasts.table(alone)
    assert table.empty
    assert list(table) == contrasts.COLUMNS
