"""Folders of `data/` that experiments share: one per task and one per base model, named after their settings."""

import hashlib
from typing import Any

from softmax_rewards.config.experiments import Experiment
from softmax_rewards.config.run import canonical


def key(name: str, *specs: Any) -> str:
    """A folder's name for everything made from equal settings: shared by experiments, never overwritten."""
    return f"{name}-{hashlib.sha256(canonical(specs).encode()).hexdigest()[:8]}"


def task_key(experiment: Experiment) -> str:
    """The folder of the experiment's puzzles in `data/tasks/`."""
    return key(experiment.task["name"], experiment.task)


def model_key(experiment: Experiment) -> str:
    """The folder of the experiment's base model in `data/models/`: it learned from the task's puzzles."""
    return key(experiment.model["source"], experiment.model, experiment.task)
