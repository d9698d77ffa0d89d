"""Tasks: puzzles, prompts and verifiers. One public module per task, found by its file name.

A task module offers `Options`, `ALPHABET` and the functions `reward_range`, `public`, `build`, `identity`, `prompt`,
`score`, `reference_answer`, `trace` and `solution`; `countdown.py` documents them. `Score` is what every verifier returns.
"""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from softmax_rewards.common import plugins


@dataclass(frozen=True, slots=True)
class Score:
    """The verdict on one completion.

    `attempts` counts the equations tried in the thinking, `self_checks` those that the thinking itself marked
    as right or wrong. `gave_up` says that the answer is not one of those marked as right, or that the thinking
    ends by saying that it gives up.
    """

    reward: float
    correct: bool
    formatted: bool
    attempts: int
    self_checks: int
    gave_up: bool


@dataclass(frozen=True, slots=True)
class Public:
    """A data set on the Hugging Face hub: a task's public data, at one commit."""

    repository: str
    revision: str
    patterns: tuple[str, ...]


def data_files(folder: Path) -> list[Path]:
    """The files of public data at any depth below `folder`."""
    return sorted([*folder.rglob("*.parquet"), *folder.rglob("*.jsonl")])


def load(task: dict[str, Any]) -> tuple[ModuleType, Any]:
    """The module of a task and its `Options`, from its name and options as a config gives them."""
    module = plugins.load(plugins.TASKS, task["name"], "task")
    return module, module.Options(**{key: value for key, value in task.items() if key != "name"})
