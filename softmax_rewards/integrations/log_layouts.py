"""Layouts of reward logs: which column of a log has which role (`reward_log` describes the layouts)."""

from pathlib import Path
from typing import NamedTuple

from softmax_rewards.common import plugins, table_files


class Layout(NamedTuple):
    """The columns of a log by their role.

    `reward` maps columns to their factors. `answer` has texts; they are counted if there is no column `length`.
    """

    name: str
    group: str
    step: str | None
    reward: dict[str, float]
    correct: str | None
    completion: str | None
    advantage: str | None
    length: str | None
    answer: str | None

    @property
    def needed(self) -> list[str]:
        """The columns to read."""
        named = [
            self.group,
            self.step,
            *self.reward,
            self.correct,
            self.completion,
            self.advantage,
            self.length,
            self.answer,
        ]
        return [name for name in dict.fromkeys(named) if name is not None]


def recognize(file: Path, group: str | None, reward: str | None, correct: str | None, length: str | None) -> Layout:
    """The layout of a log, from the columns of its first file and from the columns that the user names.

    Raises ValueError for an unknown column, and for a log without a reward.
    """
    first = table_files.first(file)
    columns = list(first)
    # A named group column or both plain columns decide for the plain layout, whatever else is there.
    plain = group is not None or {"group", "reward"} <= set(columns)
    step = "step" if "step" in columns else None
    completion = advantage = answer = None
    if not plain and {"input", "output", "score"} <= set(columns):
        name, group, rewards, answer = "verl", "input", {"score": 1.0}, "output"
        if correct is None and "acc" in columns and _all_truths(file, "acc"):
            correct = "acc"
    elif not plain and {"step", "prompt", "completion"} <= set(columns):
        name, group, completion, answer = "TRL", "prompt", "completion", "completion"
        advantage = "advantage" if "advantage" in columns else None
        between = columns[columns.index("completion") + 1 : columns.index("advantage") if advantage else None]
        numeric = [name for name in between if first[name] is None or table_files.number(first[name]) is not None]
        rewards = dict.fromkeys(numeric, 1.0)
        if not rewards and reward is None:
            raise ValueError(f"{file}: no reward among {', '.join(columns)}; allowed: name its column with --reward")
    else:
        name, group, rewards = "plain", group or "group", {"reward": 1.0}
        if length is None and "length" in columns:
            length = "length"
    if reward is not None:
        rewards = _factors(reward)
    named_columns = {"group": [group], "reward": rewards, "correct": [correct], "length": [length]}
    for option, named in named_columns.items():
        for column in filter(None, named):
            if column not in columns:
                raise ValueError(f"{file}: --{option}: {plugins.unknown('column', column, columns)}")
    return Layout(name, group, step, rewards, correct, completion, advantage, length, answer)


def _all_truths(file: Path, column: str) -> bool:
    return all(table_files.truth(row[column]) is not None for _, row in table_files.rows(file, [column]))


def _factors(text: str) -> dict[str, float]:
    """ "accuracy,format=0.1" → {"accuracy": 1.0, "format": 0.1}."""
    factors: dict[str, float] = {}
    for part in text.split(","):
        column, _, factor = part.partition("=")
        value = table_files.number(factor) if factor else 1.0
        if not column or value is None or column in factors:
            raise ValueError(f"--reward: {part!r} in {text!r}; allowed: COLUMN or COLUMN=NUMBER, each column once")
        factors[column] = value
    return factors
