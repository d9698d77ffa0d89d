"""What an experiment costs on a processor: figures worked out by hand."""

import dataclasses
from pathlib import Path

import pytest

from softmax_rewards.config import cost, experiments, processor_cost
from softmax_rewards.config.processor_cost import Speed

ROOT = Path(__file__).parents[2]
SPEED = Speed(start=5.0, answer_tokens=40.0, rollout=1e-3, position=2e-3, update=3e-3, memory=500_000_000)


def load(name: str) -> experiments.Experiment:
    return experiments.load(ROOT / f"config/experiments/{name}.yaml")


def test_a_run_has_a_start_its_steps_and_its_evaluations():
    run = load("countdown-mini").run("baseline", 0)
    # 60 steps of 32 · 8 answers, decoded and learned; 7 points of the curve and four answers at the end for 1024
    # puzzles; pass@k with 128 · 16 answers, and 128 greedy ones. Every answer has 48 of 64 tokens. Each rollout, and
    # each 1024 answers of an evaluation, end with 16 positions of few rows.
    answers, evaluated = 60 * 256, (7 + 4) * 1024 + 128 * 17
    tails = 16 * 2e-3 * (60 + 7 + 4 + 1 + 2)
    by_hand = 5 + 48 * (answers * 4e-3 + evaluated * 1e-3) + tails
    assert processor_cost.run_seconds(run, SPEED) == pytest.approx(by_hand, rel=1e-12)
    # Measured every 20 steps, pass@k has two more points than the final one.
    often = dataclasses.replace(run, evaluation=dataclasses.replace(run.evaluation, pass_every=20))
    more = 2 * (128 * 16 * 48e-3 + 2 * 16 * 2e-3)
    assert processor_cost.run_seconds(often, SPEED) == pytest.approx(by_hand + more, rel=1e-12)
    thrice = dataclasses.replace(run, training=dataclasses.replace(run.training, updates_per_batch=3))
    assert processor_cost.run_seconds(thrice, SPEED) == pytest.approx(by_hand + 48 * answers * 2 * 3e-3, rel=1e-12)


def test_answers_grow_where_they_have_room_and_are_as_long_as_allowed_without_traces():
    run = load("countdown-mini").run("baseline-room", 0)
    decoding_only = dataclasses.replace(SPEED, start=0.0, update=0.0, position=0.0)
    answers = 30 * 256 + (4 + 4) * 1024 + 128 * 17
    assert processor_cost.run_seconds(run, decoding_only) == pytest.approx(answers * 1.6 * 40 * 1e-3, rel=1e-12)
    without_traces = dataclasses.replace(decoding_only, answer_tokens=256)
    assert processor_cost.run_seconds(run, without_traces) == pytest.approx(answers * 256 * 1e-3, rel=1e-12)


def test_the_line_adds_up_runs_and_base_model():
    experiment = load("countdown-mini")
    # The base model: a start, 1500 updates on 64 traces of 40 tokens. Both conditions evaluate it: a start each, and 33
    # answers to each of 1024 puzzles.
    base = 3 * 5 + 1500 * 64 * 40 * 3e-3 + 2 * 1024 * 33 * 40 * 1e-3
    runs = sum(processor_cost.run_seconds(run, SPEED) for run in experiment.runs())
    line = processor_cost.estimate(experiment, SPEED, 2)
    assert line.startswith("countdown-mini: 60 runs, each about 1 core-hours on this machine's processor")
    assert f"base model {base / 3600:.2g}; {(runs + base) / 3600:.0f} core-hours in all" in line
    assert line.endswith(f"with 2 cores {(runs + base) / 7200:.0f} hours; memory of a run 0.5 GB")
    # 60 starts of 5 seconds each, and little else
    short = dataclasses.replace(SPEED, rollout=1e-6, position=0.0, update=1e-6)
    assert "with 1 core 7 minutes" in processor_cost.estimate(experiment, short, 1)


def test_a_large_model_needs_the_memory_of_its_shape():
    experiment = load("countdown-smollm2")
    run = experiment.runs()[0]
    peak = cost.memory(cost.shape_of(experiment.model), run.training, run.evaluation).peak
    assert f"memory of a run {peak / 1e9:.1f} GB" in processor_cost.estimate(experiment, SPEED, 2)


@pytest.mark.parametrize(
    ("name", "wanted"), [("countdown-mini", True), ("countdown-smollm2", True), ("countdown-qwen2.5-3b", False)]
)
def test_models_that_a_processor_can_train_are_tried(name, wanted):
    assert processor_cost.wanted(load(name)) is wanted


def test_a_run_bound_to_a_gpu_is_not_tried():
    experiment = load("countdown-mini")
    ablations = {
        name: dataclasses.replace(ablation, training=dataclasses.replace(ablation.training, device="cuda"))
        for name, ablation in experiment.ablations.items()
    }
    assert not processor_cost.wanted(dataclasses.replace(experiment, ablations=ablations))
