"""The state that TRL's trainers save: trainer_state.json, with the history of what was logged at which step."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

NAME = "trainer_state.json"


class TrainerState(NamedTuple):
    """A state: its file, the step at which it was saved, and the entries of its log."""

    file: Path
    step: int
    history: Sequence[Mapping[str, Any]]

    def evaluations(self) -> set[Any]:
        """The steps at which the trainer evaluated."""
        return {entry.get("step") for entry in self.history if any(name.startswith("eval_") for name in entry)}


def last(folder: Path, notes: list[str]) -> TrainerState | None:
    """The state that got furthest, in the folder or in its last checkpoint; None if there is none.

    A run that was resumed and killed leaves an old state in its folder and a newer one in a checkpoint. A state has the
    whole history up to its step. A killed run can leave a state without its end; then `notes` gets a line, and the one
    before counts. Raises ValueError, one line, if no state can be read.
    """
    checkpoints = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal()]
    newest_first = sorted(checkpoints, key=lambda path: -int(path.name.removeprefix("checkpoint-")))
    problems = []
    states = []
    for files in ([folder / NAME], [path / NAME for path in newest_first]):
        for file in filter(Path.is_file, files):
            try:
                states.append(read(file))
                break
            except ValueError as error:
                problems.append(str(error))
    if problems and not states:
        raise ValueError(problems[0])
    notes += [f"Left out: {problem}." for problem in problems]
    return max(states, key=lambda state: state.step, default=None)


def read(file: Path) -> TrainerState:
    """One state. Raises ValueError, one line, for a file in another form."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return TrainerState(file, content.get("global_step", 0), [dict(entry) for entry in content["log_history"]])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{file}: no log_history; allowed: the {NAME} that TRL writes") from None
