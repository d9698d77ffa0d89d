"""Folders of `data/` that experiments share, named after settings: tasks, base models, evaluations of base models."""

import hashlib
from typing import Any

from softmax_rewards.config import base_settings
from softmax_rewards.config.run import Run, canonical


def key(name: str, *specs: Any) -> str:
    """The name of a folder for what equal settings make. Experiments share it; other settings have another folder."""
    return f"{name}-{hashlib.sha256(canonical(specs).encode()).hexdigest()[:8]}"


def task_key(run: Run) -> str:
    """The folder of the run's puzzles in `data/tasks/`."""
    return key(run.task["name"], run.task)


def model_key(run: Run) -> str:
    """The folder of the run's base model in `data/models/`. The model learned from the task's puzzles."""
    return key(run.model["source"], run.model, run.task)


def base_evaluation_key(run: Run) -> str:
    """The folder of the evaluation of the run's base model in `data/base-evaluations/`."""
    return key(run.model["source"], base_settings.of(run))
