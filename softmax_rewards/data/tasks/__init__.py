"""Tasks: puzzles, prompts and verifiers. One public module per task, found by its file name.

A task module has `Options`, `DEFAULTS`, `ALPHABET` and the functions `reward_range`, `public`, `build`, `identity`,
`prompt`, `score`, `reference_answer`, `trace`, `solution` and `arithmetic`. `countdown.py` documents them. Every
verifier returns a `Score`. A task whose thinking consists of attempts at the answer also has `attempts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from softmax_rewards.common import plugins


@dataclass(frozen=True, slots=True)
class Score:
    """The verdict on one completion.

    `attempts` counts the equations in the thinking. `self_checks` counts those that the thinking itself marks as right
    or wrong. `gave_up` is true if the thinking ends its search without claiming success.

    `flexible` is a second, unpaid verdict, for tasks whose results are compared with a more lenient benchmark. It is
    None for a task without one.
    """

    reward: float
    correct: bool
    formatted: bool
    attempts: int
    self_checks: int
    gave_up: bool
    flexible: bool | None = None


class Attempt(NamedTuple):
    """One attempt in the thinking. `mark` is True if the text calls it right, False if wrong, None otherwise."""

    hit: bool
    """Whether the value that is written for the attempt is the right answer."""
    mark: bool | None


@dataclass(frozen=True, slots=True)
class Public:
    """A task's public data: files of a data set on the Hugging Face hub, at one commit."""

    repository: str
    revision: str
    patterns: tuple[str, ...]


def data_files(folder: Path) -> list[Path]:
    """The public data files in `folder` and its subfolders."""
    return sorted([*folder.rglob("*.parquet"), *folder.rglob("*.jsonl")])


def load(task: Mapping[str, Any]) -> tuple[ModuleType, Any]:
    """The module and the `Options` of a task, from the name and options in a config."""
    module = plugins.load(plugins.TASKS, task["name"], "task")
    return module, module.Options(**{key: value for key, value in task.items() if key != "name"})
