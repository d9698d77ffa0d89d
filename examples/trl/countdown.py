"""Trains the embedded model on Countdown in TRL, 20 steps with the weights of a scheme, on processors alone.

    pip install -c constraints.txt -e '.[trl]'
    python examples/trl/countdown.py config/experiments/countdown-mini.yaml results/trl-countdown
    python examples/trl/countdown.py config/experiments/countdown-mini.yaml results/trl-countdown \\
        --scheme softmax_centered --tau 0.5
    softmax-rewards judge results/trl-countdown/runs --success eval_rewards/accuracy/mean
    softmax-rewards advise results/trl-countdown/runs/linear/seed-0

The first call also makes the puzzles and the base model of the experiment, which takes some minutes on two cores.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from softmax_rewards.common.files import read_manifest
from softmax_rewards.config import experiments
from softmax_rewards.config.experiments import Experiment
from softmax_rewards.data import dataset, tasks
from softmax_rewards.integrations.scheme import Scheme
from softmax_rewards.integrations.trl import WeightedGRPOTrainer
from softmax_rewards.training import base_model

STEPS = 20
MICRO_BATCHES = 4  # per step
HELD_OUT = 64  # most puzzles of an evaluation; each is answered as often as in training


def prepare(experiment: Experiment, data: Path, base: Path) -> None:
    """Make the puzzles and the base model, unless they are there already."""
    if _made(data).get("task") != experiment.task:
        (base / "manifest.json").unlink(missing_ok=True)  # it was trained on other puzzles
        dataset.write(experiment.task, data)
    if _made(base).get("model") != experiment.model:
        base_model.build(experiment.model, experiment.task, data, base)


def _made(folder: Path) -> dict[str, Any]:
    return read_manifest(folder) if (folder / "manifest.json").is_file() else {}


def puzzles(experiment: Experiment, data: Path, split: str, count: int | None = None) -> Dataset:
    """Prompts, and the puzzle of each as JSON. TRL hands the column `puzzle` to the reward functions."""
    task, _ = tasks.load(experiment.task)
    rows = dataset.read(data, split, count)
    return Dataset.from_list([{"prompt": task.prompt(row, "compact"), "puzzle": json.dumps(row)} for row in rows])


def rewards(experiment: Experiment) -> list[Callable[..., list[float]]]:
    """This project's verifier as two reward functions for TRL."""
    task, options = tasks.load(experiment.task)

    def accuracy(completions: list[str], puzzle: list[str], **_: Any) -> list[float]:
        pairs = zip(completions, map(json.loads, puzzle), strict=True)
        return [float(task.score(text, row, options).correct) for text, row in pairs]

    def well_formed(completions: list[str], puzzle: list[str], **_: Any) -> list[float]:
        pairs = zip(completions, map(json.loads, puzzle), strict=True)
        return [float(task.score(text, row, options).formatted) for text, row in pairs]

    return [accuracy, well_formed]


def train(experiment: Experiment, scheme: Scheme, seed: int, out: Path, run: Path) -> None:
    """Train with TRL and the settings of the experiment. Puzzles and base model lie in `out`, the logs in `run`."""
    data, base, settings = out / "data", out / "base_model", experiment.training
    prepare(experiment, data, base)
    _, options = tasks.load(experiment.task)
    answers = settings.prompts_per_step * settings.group_size
    arguments = GRPOConfig(
        output_dir=str(run), seed=seed, max_steps=STEPS,
        num_generations=settings.group_size, max_completion_length=settings.max_new_tokens,
        per_device_train_batch_size=answers // MICRO_BATCHES, gradient_accumulation_steps=MICRO_BATCHES,
        learning_rate=settings.learning_rate, lr_scheduler_type="constant", max_grad_norm=settings.max_grad_norm,
        # The sum of the weighted rewards reaches 1.1, as the range says. With TRL's default weights it would reach 2.
        reward_weights=[1.0, options.format_reward],
        eval_strategy="steps", eval_steps=STEPS // 2, eval_on_start=True, per_device_eval_batch_size=HELD_OUT,
        logging_steps=1, save_strategy="no", report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False,
        dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = WeightedGRPOTrainer(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        rewards(experiment),
        arguments,
        puzzles(experiment, data, "train"),
        puzzles(experiment, data, "test", min(HELD_OUT, experiment.evaluation.puzzles)),
        processing_class=AutoTokenizer.from_pretrained(base, padding_side="left"),
        scheme=scheme,
        correct="accuracy",
    )
    trainer.train()
    trainer.save_state()  # `judge` reads it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", type=Path, help="file of an experiment: Countdown with the embedded model")
    parser.add_argument("out", type=Path, help="folder for puzzles, base model and runs")
    parser.add_argument("--scheme", default="linear", help="a file of softmax_rewards/weighting/schemes/")
    parser.add_argument("--tau", type=float, help="temperature, for schemes that have one")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    weighting = {"scheme": options.scheme} | ({} if options.tau is None else {"tau": options.tau})
    try:
        experiment = experiments.load(options.experiment)
        if experiment.task["name"] != "countdown" or experiment.model["source"] != "mini":
            raise ValueError(f"{options.experiment}: allowed: task.name countdown and model.source mini")
        task, task_options = tasks.load(experiment.task)
        scheme = Scheme(weighting, task.reward_range(task_options), threshold=1.0)
    except ValueError as error:
        sys.exit(str(error))
    name = "-".join(map(str, weighting.values()))
    train(experiment, scheme, options.seed, options.out, options.out / "runs" / name / f"seed-{options.seed}")


if __name__ == "__main__":
    main()
