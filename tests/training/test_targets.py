"""Targets: a path that stands for nothing is refused by one line that says what to write instead."""

from pathlib import Path

import pytest

from softmax_rewards.config import experiments
from softmax_rewards.training import targets

ROOT = Path(__file__).parents[2]


@pytest.fixture
def experiment():
    return experiments.load(ROOT / "tests/smoke/smoke.yaml")


def refused(make) -> str:
    with pytest.raises(SystemExit) as error:
        make()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_experiment_that_is_not_named_is_told_how_to_be(experiment):
    explain = targets.unnamed_experiment("results", ROOT / "config/experiments")
    named = targets.Named({"smoke": experiment}, explain)
    assert named["smoke"] is experiment and list(named) == ["smoke"]
    assert refused(lambda: named["multiplication-mini"]) == (
        "results/multiplication-mini: config/config.yaml does not name this experiment (it names smoke); "
        "write: snakemake TARGET --config experiments='[multiplication-mini]'"
    )
    said = refused(lambda: named["multiplication-min"])
    assert said.startswith("results/multiplication-min: unknown experiment 'multiplication-min' (nearest: 'multipl")
    assert "allowed: smoke, or another one with --config experiments=" in said


def test_a_run_of_the_experiment_is_found_and_no_other(experiment):
    assert targets.run(experiment, "baseline", "1") == experiment.run("baseline", 1)
    assert refused(lambda: targets.run(experiment, "softmx", "0")) == (
        "smoke: unknown ablation 'softmx' (nearest: 'softmax-0.5'); allowed: baseline, softmax-0.5"
    )
    for seed in ("7", "01"):  # the folder of seed 1 is seed-1
        assert refused(lambda seed=seed: targets.run(experiment, "baseline", seed)) == (
            f"smoke: baseline: seed-{seed} is not among its seeds; allowed: 0, 1, "
            "or add it to `seeds` in the experiment's file"
        )


def test_a_folder_of_data_that_nothing_needs_is_refused():
    named = targets.Named({"mini-1": 1}, targets.unneeded_folder("data/models"))
    assert refused(lambda: named["mini-2"]) == (
        "data/models/mini-2: no experiment of config/config.yaml needs this folder; allowed: mini-1"
    )
