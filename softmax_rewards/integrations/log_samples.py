"""The samples of a log as arrays: files in, one number per sample and role out.

A column that the user did not name, and that the layout can do without, is used if all rows of all files allow it. So
the order of files decides nothing. A note says which row speaks against such a column.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from softmax_rewards.common import table_files
from softmax_rewards.common.table_files import Batch
from softmax_rewards.integrations import log_columns, log_files
from softmax_rewards.integrations.log_columns import LARGEST, Column, Needs
from softmax_rewards.integrations.log_layouts import Layout

NO_STEP = -math.inf  # the step of a sample whose log has none
EXACT = 1e3  # sums up to here are rounded to 12 digits; above, NumPy would round the digits that it multiplies with
_KEY = re.compile(r"_\d+_\d+$", re.ASCII)  # end of verl's key of a sample: <uid of the prompt>_<rollout>_<output>


@dataclass(frozen=True)
class Samples:
    """The samples of a log, in its order [n].

    file, group  numbers that stand for the file and for the group's name
    step         NO_STEP where the log has no number of a step
    reward       NaN for a sample that was not scored
    right        0 or 1; None if no column says what is right
    advantage    the trainer's own; None if the log has none
    length       of the answer, in any unit; None if the log has no lengths
    answer       hash of the answer's text, of TRL only; else 0
    """

    file: np.ndarray
    group: np.ndarray
    step: np.ndarray
    reward: np.ndarray
    right: np.ndarray | None
    advantage: np.ndarray | None
    length: np.ndarray | None
    answer: np.ndarray

    def take(self, rows: np.ndarray) -> "Samples":
        """The samples at the given places, or where a mask is true."""
        return replace(self, **{name: value[rows] for name, value in vars(self).items() if value is not None})


def combined(*columns: np.ndarray) -> np.ndarray:
    """A number for each sample [n], equal where all columns are equal."""
    keys = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, places = np.unique(column, return_inverse=True)
        # Numbered again after each column. Otherwise the product could overflow.
        _, keys = np.unique(keys * len(values) + places, return_inverse=True)
    return keys


class Read(NamedTuple):
    """The samples of a log, and the columns of their reward with factors."""

    samples: Samples
    reward: dict[str, float]


def read(files: Sequence[Path], layout: Layout, notes: list[str]) -> Read:
    """The samples of all files. `notes` gets a line about what is there and cannot be used.

    Raises ValueError, one line: file, row (counted from 1), column, value and what is allowed.
    """
    named = layout.required
    # The columns of a plain log have one meaning. Other trainers may write something else under these names.
    default: Needs = "present" if layout.name == "plain" else "none"

    def needs(name: str) -> Needs:
        return "all" if name in named else default

    rewards = [log_columns.reward(name, layout.name == "TRL", needs(name)) for name in layout.reward]
    right = log_columns.verdict(layout.correct, needs(layout.correct)) if layout.correct else None
    advantage = log_columns.advantage(layout.advantage) if layout.advantage else None
    length = log_columns.length(layout.length, needs(layout.length)) if layout.length else None
    names: dict[str, int] = {}
    parts = []
    for index, file, batch in _batches(files, layout, notes):
        for column in filter(None, (*rewards, right, advantage, length)):
            column.add(file, batch)
        parts.append(_identities(layout, file, batch, names) | {"file": np.full(len(batch.numbers), index)})
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    reward, factors = _sum(rewards, layout.reward, files[0], notes)
    samples = Samples(
        file=whole["file"],
        group=_groups(whole),
        step=whole["step"],
        reward=reward,
        right=right.values("the verdict", notes) if right else None,
        advantage=advantage.values("the advantage", notes) if advantage else None,
        length=length.values("the length", notes) if length else None,
        answer=whole["answer"],
    )
    if samples.length is None and layout.answer:
        samples = replace(samples, length=whole["characters"])
    return Read(samples, factors)


def _batches(files: Sequence[Path], layout: Layout, notes: list[str]) -> Iterable[tuple[int, Path, Batch]]:
    required, optional = (
        [name for name in layout.columns if (name in layout.required) == wanted] for wanted in (True, False)
    )
    for index, file in enumerate(files):
        for batch in table_files.batches(file, required, optional, log_files.noting_cut(notes)):
            yield index, file, batch


# ---- which group, step and answer ---------------------------------------------------------------


def _identities(layout: Layout, file: Path, batch: Batch, names: dict[str, int]) -> dict[str, np.ndarray]:
    """The numbers of groups, steps and answers in a batch. `names` gives equal names of groups equal numbers."""
    steps, groups = batch.cells[layout.step], batch.cells[layout.group]
    for name, cells in ((layout.step, steps), (layout.group, groups)):
        if name in layout.required and not {"None", "''", "nan"}.isdisjoint(map(repr, cells)):
            row = next(row for row, cell in enumerate(cells) if log_columns.is_missing(cell))
            raise table_files.wrong(f"{file}, row {batch.numbers[row]}", name, cells[row], "a name")
    numbers = log_columns.each(table_files.number, steps)
    # A prompt may be a list of messages, so its text is the name. A step that is no number becomes a part of the name.
    keys = [
        repr(group) if number is not None or step is None else f"{step!r} {group!r}"
        for number, step, group in zip(numbers, steps, groups, strict=True)
    ]
    answers = batch.cells[layout.answer] if layout.answer else []
    uids = batch.cells[layout.uid] if layout.uid else [None] * len(keys)
    # The answers' texts are not kept: equal ones have equal hashes, and a long log fits into memory.
    hashes = [hash(text if type(text) is str else repr(text)) for text in answers] if layout.name == "TRL" else []
    return {
        "step": np.array([NO_STEP if number is None else number for number in numbers]),
        "group": np.array([names.setdefault(key, len(names)) for key in keys]),
        "uid": np.array([-1 if uid is None else names.setdefault(_prompt_of(uid), len(names)) for uid in uids]),
        "answer": np.array(hashes or [0] * len(keys)),
        "characters": np.array([_characters(text) for text in answers], dtype=float),
    }


def _prompt_of(uid: Any) -> str:
    return f"uid {_KEY.sub('', str(uid))}"


def _groups(whole: Mapping[str, np.ndarray]) -> np.ndarray:
    """The number of each sample's group: by uid, if every sample has one that others share."""
    uid = whole["uid"]
    return uid if uid.min() >= 0 and len(np.unique(uid)) < len(uid) else whole["group"]


def _characters(answer: Any) -> int:
    if type(answer) is str:
        return len(answer)
    # TRL writes conversations as lists of messages.
    parts = answer if isinstance(answer, list) else [answer]
    texts = [part.get("content") if isinstance(part, dict) else part for part in parts]
    return sum(len(str(text)) for text in texts if text is not None)


# ---- reward -------------------------------------------------------------------------------------


def _sum(
    columns: Sequence[Column], factors: Mapping[str, float], file: Path, notes: list[str]
) -> tuple[np.ndarray, dict[str, float]]:
    """The weighted sum of the columns that can be used, and their factors. NaN only where all of them are missing."""
    found = {column.name: column.values("a reward", notes) for column in columns}
    used = {name: values for name, values in found.items() if values is not None}
    if not used:
        listed = ", ".join(found) or "no column"
        raise ValueError(f"{file}: no reward among {listed}; allowed: name its column with --reward")
    first = next(iter(used.values()))
    total, scored = np.zeros_like(first), np.zeros(len(first), dtype=bool)
    for name, values in used.items():
        there = ~np.isnan(values)
        total[there] += factors[name] * values[there]
        scored |= there
    small = np.abs(total) <= EXACT
    total[small] = np.round(total[small], 12)  # 0.1 + 0.2 and 0.3 are the same reward
    if (highest := np.abs(total).max()) > LARGEST:
        raise ValueError(f"{' + '.join(used)}: {highest:g}; allowed: a reward from -{LARGEST:g} to {LARGEST:g}")
    total[~scored] = math.nan
    return total, {name: factors[name] for name in used}
