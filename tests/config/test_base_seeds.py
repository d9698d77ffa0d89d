"""Experiments with several base models: which seed starts from which base, and what is refused."""

import dataclasses
from pathlib import Path

import pytest

from softmax_rewards.config import base_seeds, experiments, folders
from softmax_rewards.config.run import ConfigError

SMOKE = Path(__file__).parents[1] / "smoke/smoke.yaml"


def smoke(**changes):
    values = experiments.read_merged(SMOKE)[0]
    return experiments.check("smoke", values | changes)


def test_one_base_leaves_every_run_as_it_is():
    experiment = experiments.load(SMOKE)
    assert experiment.bases == 1 and smoke(bases=1) == experiment
    for run in experiment.runs():
        assert (run.task, run.model) == (experiment.task, experiment.model)
        assert '"bases"' not in run.to_json()


def test_seeds_take_turns_with_the_bases():
    plain = experiments.load(SMOKE)
    experiment = smoke(bases=2, seeds=[0, 1, 2, 5])
    runs = {run.seed: run for run in experiment.runs() if run.ablation == "baseline"}
    for seed, base in ((0, 0), (1, 1), (2, 0), (5, 1)):
        run = runs[seed]
        assert run.task == plain.task | {"seed": plain.task["seed"] + base}
        start = plain.model["warm_start"]
        start = start | {"seed": start["seed"] + base}
        assert run.model == plain.model | {"seed": plain.model["seed"] + base, "warm_start": start}
        assert base_seeds.shifted(run.task, run.model, -base) == (plain.task, plain.model)
    # Runs of base 0 are those of the experiment with one base.
    assert runs[0].to_json() == plain.run("baseline", 0).to_json()
    assert experiment.run("softmax-0.5", 5).model == runs[5].model, "ablations of a seed share their base"


def test_every_base_has_its_folders():
    runs = smoke(bases=2, seeds=[0, 1, 2, 3]).runs()
    for key in (folders.task_key, folders.model_key, folders.base_evaluation_key):
        assert [key(run) for run in runs[:4]] == [key(runs[0]), key(runs[1])] * 2 and key(runs[0]) != key(runs[1])
    assert folders.task_key(runs[0]) == folders.task_key(experiments.load(SMOKE).runs()[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bases": 0}, "bases: 0 is not allowed; allowed: an integer of at least 1"),
        (
            {"bases": 3},
            "bases: 3 is not allowed; allowed: a number of bases that the seeds of every ablation reach "
            "(base = seed mod bases); the seeds 0, 1 of baseline reach 2",
        ),
        ({"bases": 2, "seeds": [0, 2, 4]}, "the seeds 0, 2, 4 of baseline reach 1"),
        (
            {"bases": 2, "model": {"source": "local", "path": "folder", "template": "compact"}},
            "bases: 2 is not allowed; allowed: 1 beside model.source local, which has no seed: its weights are fixed",
        ),
        (
            {"bases": 2, "model": {"source": "smollm2"}},
            "bases: 2 is not allowed; allowed: 1 beside model.source smollm2, which has no seed: its weights are fixed",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes, message):
    with pytest.raises(ConfigError) as error:
        smoke(**changes)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_task_without_a_seed_has_one_set_of_puzzles():
    experiment = experiments.load(SMOKE)
    fixed = {key: value for key, value in experiment.task.items() if key != "seed"}
    with pytest.raises(ValueError, match=r"1 beside task\.name countdown, which has no seed"):
        base_seeds.check(2, fixed, experiment.model, {"baseline": (0, 1)})
    ablation = dataclasses.replace(experiment.ablations["softmax-0.5"], seeds=(1,))
    with pytest.raises(ConfigError, match=r"the seeds 1 of softmax-0\.5 reach 1"):
        dataclasses.replace(experiment, bases=2, ablations=experiment.ablations | {"softmax-0.5": ablation})
