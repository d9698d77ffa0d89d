"""The log of training groups that `WeightedGRPOTrainer` keeps, one line per answer that got a reward:

    <output_dir>/training_groups/groups.jsonl
    {"step": 3, "group": 0, "accuracy": 1.0, "well_formed": 1.0, "reward": 1.1, "correct": 1, "weight": 2.5, …}

TRL's own `completions/` cannot replace it. TRL has one buffer for training and evaluation, which is as long as a
training batch. So what it writes after an evaluation are held-out answers, and what it writes every `logging_steps`
leaves out the batches between. Here is every group that was trained on, once, and nothing else.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FOLDER, FILE = "training_groups", "groups.jsonl"
COMPLETIONS = "completions"  # TRL's folder beside it


def preferred(path: Path) -> Path:
    """The log of training groups in `path`, or beside it if `path` is TRL's folder of completions; else `path`."""
    folder = path.parent if path.name == COMPLETIONS else path
    groups = folder / FOLDER
    return groups if path.is_dir() and (groups / FILE).is_file() else path


class GroupLog:
    """Appends batches of groups to the log of one output folder.

    A run that resumes at a step, or begins again, first removes the lines from that step on, because it trains on other
    answers there. A line that an interruption cut short is removed too.
    """

    def __init__(self, output: Path) -> None:
        self.file = output / FOLDER / FILE
        self._step: int | None = None
        self._groups = 0  # written at this step; a step may consist of several batches

    def append(self, step: int, size: int, columns: Mapping[str, np.ndarray]) -> None:
        """Write one batch. Each `size` consecutive answers are a group.

        step     number of updates before the answers were sampled
        columns  name → [B]; an answer whose `reward` is NaN is left out, and any other NaN is written as null
        """
        if self._step is None or step < self._step:
            self._remove_from(step)
        if step != self._step:
            self._step, self._groups = step, 0
        values = {name: _plain(column) for name, column in columns.items()}
        number = len(values["reward"])
        with self.file.open("a", encoding="utf-8") as lines:
            for i in range(number):
                if values["reward"][i] is not None:
                    key = {"step": step, "group": self._groups + i // size}
                    row = {name: column[i] for name, column in values.items()}
                    lines.write(json.dumps(key | row | key) + "\n")  # a reward function may be called `step`
        self._groups += number // size

    def _remove_from(self, step: int) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a+b") as lines:
            lines.seek(0)
            # Steps never decrease within the file, so what stays is its beginning.
            lines.truncate(sum(_lengths_before(step, lines)))


def _lengths_before(step: int, lines: Iterator[bytes]) -> Iterator[int]:
    """The length in bytes of each whole line before the first one of `step` or a later step."""
    for line in lines:
        try:
            if not line.endswith(b"\n") or json.loads(line)["step"] >= step:
                return
        except (ValueError, TypeError, KeyError):
            return
        yield len(line)


def _plain(column: np.ndarray) -> list[Any]:
    """The values for JSON. Trainers store rewards in float32, so 0.1 shall not become 0.10000000149011612."""
    if not np.issubdtype(column.dtype, np.floating):
        return column.tolist()
    return [None if math.isnan(value) else float(str(value)) for value in column.astype(np.float32)]
