"""The experiments with real models take one step on the CPU: same prompts and settings, one layer of the model's width.

The vocabularies are cut to what the test's tokenizer needs: with all 152 k tokens of Qwen a step takes a minute.
"""

import csv
import dataclasses
import math
from pathlib import Path

import pytest

from softmax_rewards.config import experiments
from softmax_rewards.data import dataset
from softmax_rewards.models import catalogue
from softmax_rewards.training import base_model, trainer

FOLDER = Path(__file__).parents[2] / "config/experiments"
SHAPES = {
    "countdown-smollm2": "smollm2-135m-instruct",
    "countdown-smollm2-cpu": "smollm2-135m-instruct",
    "countdown-qwen2.5-0.5b": "qwen2.5-0.5b",
    "countdown-qwen2.5-3b": "qwen2.5-3b-instruct",
}


@pytest.mark.parametrize(
    ("name", "ablation"), [*((name, "softmax-0.5") for name in SHAPES), ("countdown-qwen2.5-0.5b", "injection")]
)
def test_one_step(name, ablation, tmp_path, monkeypatch):
    experiment = experiments.load(FOLDER / f"{name}.yaml")
    monkeypatch.setitem(catalogue.MODELS[SHAPES[name]].config, "vocab_size", 1024)
    sizes = {"train": 4, "warm_start": 4, "test": 2}
    task = experiment.task | {"source": "generate"} | sizes
    model = {"source": "random", "shape": SHAPES[name], "layers": 1, "dtype": experiment.training.precision}
    start = experiment.model["warm_start"]
    few = {"steps": min(start["steps"], 1), "traces": 2, "device": "cpu"}
    model |= {"template": experiment.model["template"], "warm_start": start | few}
    dataset.write(task, tmp_path / "data")
    base_model.build(model, task, tmp_path / "data", tmp_path / "base")
    small = {
        "steps": 1,
        "prompts_per_step": 2,
        "group_size": 2,
        "max_new_tokens": 4,
        "checkpoint_every": 9,
        "device": "cpu",
    }
    run = dataclasses.replace(
        experiment.run(ablation, 0),
        task=task,
        model=model,
        training=dataclasses.replace(experiment.ablations[ablation].training, **small),
        evaluation=experiments.Evaluation(puzzles=2, pass_puzzles=1, pass_samples=16, samples=1),
    )
    trainer.train(run, tmp_path / "data", tmp_path / "base", tmp_path / "run")
    with (tmp_path / "run/metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert all(math.isfinite(float(row[key])) for key in ("loss", "grad_norm", "entropy"))
    assert float(row["grad_norm"]) > 0
