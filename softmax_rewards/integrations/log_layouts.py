"""Layouts of reward logs: which column of a log has which role (`reward_log` describes the layouts)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from softmax_rewards.common import plugins, table_files

PLAIN, VERL, TRL = {"group", "reward"}, {"input", "output", "score"}, {"step", "prompt", "completion"}


class Layout(NamedTuple):
    """The columns of a log by their role.

    required  the columns that every row has; a column with another role may be missing, and is then not used
    reward    columns → factors. In a TRL log without --reward these are all columns that may be reward functions
    answer    a column of texts; they are counted if there is no column `length`
    uid       a column of verl that names samples by their group
    """

    name: str
    required: frozenset[str]
    group: str
    step: str
    reward: dict[str, float]
    correct: str | None = None
    advantage: str | None = None
    length: str | None = None
    answer: str | None = None
    uid: str | None = None

    @property
    def columns(self) -> list[str]:
        """All columns to read."""
        roles = [self.group, self.step, self.correct, self.advantage, self.length, self.answer, self.uid]
        return [name for name in dict.fromkeys([*self.reward, *roles]) if name is not None]


def recognize(
    columns: Mapping[Path, Sequence[str]],
    group: str | None,
    reward: str | None,
    correct: str | None,
    length: str | None,
) -> Layout:
    """The layout of a log, from the columns of all its files and from the columns that the user names.

    Raises ValueError for a column that a file lacks, and for a log without a reward.
    """
    shared = set.intersection(*map(set, columns.values()))
    factors = _factors(reward) if reward is not None else None
    # A named group column or both plain columns decide for the plain layout, whatever else is there.
    plain = group is not None or shared >= PLAIN
    if not plain and shared >= VERL:
        layout = Layout("verl", frozenset(VERL), "input", "step", factors or {"score": 1.0}, correct or "acc")
        layout = layout._replace(length=length, answer="output", uid="uid")
    elif not plain and shared >= TRL:
        rewards = factors or dict.fromkeys(_between(columns), 1.0)
        layout = Layout("TRL", frozenset(TRL), "prompt", "step", rewards, correct, "advantage", length, "completion")
    else:
        group = group or "group"
        layout = Layout("plain", frozenset({group}), group, "step", factors or {"reward": 1.0}, correct or "correct")
        layout = layout._replace(length=length or "length")
    named = {"group": [layout.group], "reward": factors or {}, "correct": [correct], "length": [length]}
    if layout.name != "TRL":
        named["reward"] = layout.reward
    for option, names in named.items():
        for column in filter(None, names):
            for file, present in columns.items():
                if column not in present:
                    raise ValueError(f"{file}: --{option}: {plugins.unknown('column', column, list(present))}")
    return layout._replace(required=layout.required.union(*(filter(None, names) for names in named.values())))


def _between(columns: Mapping[Path, Sequence[str]]) -> list[str]:
    """The columns of a TRL log behind `completion`, up to `advantage`: reward functions and extra columns."""
    found: dict[str, None] = {}
    for names in columns.values():
        behind = list(names[names.index("completion") + 1 :])
        found |= dict.fromkeys(behind[: behind.index("advantage")] if "advantage" in behind else behind)
    return list(found)


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
