"""Measures the hot functions one by one with pytest-benchmark.

    pytest benchmarks/hot.py --benchmark-json benchmarks/results/hot.json

`per_second` in `extra_info` counts the things in the test's name. No test asserts a time. A function that takes seconds
is measured three to five times, all others as often as pytest-benchmark wants.
"""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
import work
from peers.project import load, rollout, updater_of

from softmax_rewards import weighting
from softmax_rewards.config import experiments
from softmax_rewards.data import dataset
from softmax_rewards.data.tasks import _countdown, countdown
from softmax_rewards.integrations import reward_log
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.update import Updater
from softmax_rewards.training import base_model
from softmax_rewards.verdicts import aggregate
from softmax_rewards.weighting.study import analysis

REPOSITORY = Path(__file__).parents[1]
ROWS, GROUP = 4096, 8


@pytest.fixture
def measure(benchmark: Any) -> Callable[..., Any]:
    """`measure(count, call)` times `call()`, which does `count` things. `rounds` fixes the number of repetitions."""

    def run(count: int, call: Callable[[], Any], rounds: int | None = None) -> Any:
        result = benchmark.pedantic(call, rounds=rounds, warmup_rounds=1) if rounds else benchmark(call)
        benchmark.extra_info["per_second"] = count / benchmark.stats.stats.median
        return result

    return run


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def step_work(tmp_path_factory: pytest.TempPathFactory) -> work.Work:
    """A step of the embedded model's shape with random weights: 64 prompts, 8 answers of 32 tokens."""
    folder = tmp_path_factory.mktemp("work")
    case = work.Case(longest=32, config=work.qwen2(64, 192, 2, 4, 1, 64))
    return work.make(case, folder / "base", folder / "data", threads=1, device="cpu")


@pytest.fixture(scope="module")
def updater(step_work: work.Work) -> Updater:
    return updater_of(step_work.training, load(step_work, torch.float32), 0)


@pytest.fixture(scope="module")
def rollouts(step_work: work.Work, updater: Updater) -> Rollouts:
    return rollout(step_work, updater.engine.gradients.model, updater, step_work.puzzles, seed=0)


@pytest.mark.parametrize("scheme", weighting.names())
def test_groups_weighted(measure: Callable[..., Any], scheme: str) -> None:
    dice = np.random.default_rng(0)
    rewards = dice.choice([0.0, 0.1, 1.1], size=(ROWS, GROUP), p=[0.4, 0.5, 0.1])
    temperature = {"tau": 0.5} if "tau" in weighting.hyperparameters(scheme) else {}
    measure(ROWS, lambda: weighting.compute(scheme, rewards, rewards > 1, **temperature))


def test_groups_analyzed(measure: Callable[..., Any], tmp_path: Path) -> None:
    groups = 10**6
    measure(groups, lambda: analysis.write(tmp_path, groups, (0.0, 1.1), GROUP, 0), rounds=3)


@pytest.mark.parametrize("numbers", [3, 4])
def test_puzzles_generated_with_a_reference(measure: Callable[..., Any], numbers: int) -> None:
    def generate() -> dict[Any, Any]:
        dice = np.random.default_rng(0)
        return _countdown.generate(range(1, 13), numbers, range(1, 31), "+-*", 20_000, dice)

    measure(len(generate()), generate, rounds=3)


def test_puzzles_solved_exactly(measure: Callable[..., Any]) -> None:
    dice = np.random.default_rng(0)
    puzzles = [(dice.integers(1, 100, size=4).tolist(), int(dice.integers(10, 101))) for _ in range(50)]
    measure(len(puzzles), lambda: [_countdown.solve(*puzzle) for puzzle in puzzles], rounds=3)


@pytest.mark.parametrize("template", ["compact", "chat"])
def test_answers_verified(measure: Callable[..., Any], template: str) -> None:
    rows = countdown.build(countdown.Options(train=500, warm_start=500, test=64))["train"].to_dict("records")
    dice, options = np.random.default_rng(0), countdown.DEFAULTS
    answers = [(countdown.trace(row, dice, options, template), row) for row in rows]
    measure(len(answers), lambda: [countdown.score(text, row, options) for text, row in answers])


def test_tokens_decoded_to_text(measure: Callable[..., Any], step_work: work.Work, rollouts: Rollouts) -> None:
    rows = rollouts.completions.tokens.tolist()
    measure(rollouts.completions.tokens.numel(), lambda: step_work.tokenizer.decode_batch(rows))


def test_tokens_sampled(measure: Callable[..., Any], step_work: work.Work, updater: Updater) -> None:
    tokens = step_work.sequences * step_work.training.max_new_tokens
    measure(
        tokens, lambda: rollout(step_work, updater.engine.gradients.model, updater, step_work.puzzles, seed=0), rounds=5
    )


def test_tokens_trained(measure: Callable[..., Any], updater: Updater, rollouts: Rollouts) -> None:
    weights = np.random.default_rng(0).normal(size=rollouts.lengths.shape)
    measure(int(rollouts.lengths.sum()), lambda: updater.update(0, rollouts, weights), rounds=5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_parameters_stepped(measure: Callable[..., Any], step_work: work.Work, dtype: torch.dtype) -> None:
    optimizer = updater_of(step_work.training, load(step_work, dtype), 0).engine.optimizer
    gradients = [torch.ones_like(value, dtype=torch.float32) for value in optimizer.parameters.values()]

    def step() -> None:
        optimizer.add([gradient.clone() for gradient in gradients])
        optimizer.step(1.0, torch.Generator().manual_seed(0))

    measure(step_work.shape.parameters, step)


def test_runs_aggregated(measure: Callable[..., Any], tmp_path: Path) -> None:
    ablations = {f"softmax-{index}": {"scheme": "softmax", "tau": 0.1 + index / 10} for index in range(9)}
    ablations = {"baseline": {"scheme": "linear"}, **ablations}
    runs = synthetic.write_experiment(
        tmp_path / "runs", ablations=ablations, gains=dict.fromkeys(ablations, 0.1), seeds=10
    )
    plan, experiment = REPOSITORY / "docs/analysis-plan.md", synthetic.experiment(ablations, ["softmax-1"])
    measure(len(runs), lambda: aggregate.write(runs, tmp_path / "summary", experiment, plan), rounds=3)


def test_jobs_started(measure: Callable[..., Any], tmp_path: Path) -> None:
    """A whole training job with one small step. Nearly all of its time is start-up."""
    experiment = experiments.load(work.EXPERIMENT)
    run = experiment.run(experiment.baseline, 0)
    training = dataclasses.replace(
        run.training, steps=1, prompts_per_step=1, group_size=2, max_new_tokens=1, device="cpu"
    )
    evaluation = dataclasses.replace(run.evaluation, puzzles=1, pass_puzzles=1, samples=1)
    run = dataclasses.replace(run, training=training, evaluation=evaluation)
    dataset.write(run.task, tmp_path / "data")
    untrained = experiment.model | {"warm_start": experiment.model["warm_start"] | {"steps": 0}}
    base_model.build(untrained, run.task, tmp_path / "data", tmp_path / "base")
    script = [sys.executable, "workflow/scripts/train.py", "--run", run.to_json()]
    inputs = ["--data", tmp_path / "data/manifest.json", "--base", tmp_path / "base/manifest.json"]
    inputs += ["--plan", "docs/analysis-plan.md", "--predictions", "docs/predictions.json"]
    number = iter(range(100))

    def start() -> None:
        record = ["--record", tmp_path / f"run-{next(number)}/run.json"]
        subprocess.run([*script, *inputs, *record], cwd=REPOSITORY, check=True)

    measure(1, start, rounds=3)


def test_rows_of_a_reward_log(measure: Callable[..., Any], tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), 100_000
    correct = rng.random(rows) < 0.1
    columns = {"group": np.arange(rows) // GROUP, "reward": correct + 0.1 * (rng.random(rows) < 0.5)}
    columns |= {"correct": correct.astype(int), "length": rng.poisson(60, rows), "step": np.arange(rows) // 512}
    pd.DataFrame(columns).to_csv(tmp_path / "log.csv", index=False)
    measure(rows, lambda: reward_log.read(tmp_path / "log.csv"), rounds=3)
