"""Base settings: what an evaluation of the base model depends on. Runs that agree in it share one evaluation."""

from typing import Any

from softmax_rewards.config.run import Run

LEAST_SAMPLES = 32  # answers per puzzle; the base is evaluated once, so it can be known better than a final model


def of(run: Run) -> dict[str, Any]:
    """The settings of the evaluation of the run's base model, as JSON has them."""
    names = ("max_new_tokens", "device", "precision", "rollout_batch_size", "reward_timeout")
    return {
        "task": run.task,
        "model": run.model,
        "puzzles": run.evaluation.puzzles,
        "pass_puzzles": run.evaluation.pass_puzzles,
        "samples": max(run.evaluation.pass_samples, LEAST_SAMPLES),
        **{name: getattr(run.training, name) for name in names},
    }
