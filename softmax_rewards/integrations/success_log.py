"""The log of one run of TRL or verl: its success on held-out prompts, step by step.

A run that was stopped and resumed evaluates again where it goes on, and may go on in another file. The later
evaluation counts. If a run goes back to an earlier step, its later steps come from weights that were given up, so they
are dropped.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from softmax_rewards.common import plugins, table_files
from softmax_rewards.integrations import log_files, trainer_state

SUFFIXES = (".jsonl", ".csv")

Rows = Sequence[tuple[str, Mapping[str, Any]]]  # (where a row stands, the row)


def curve(folder: Path, success: str, notes: list[str]) -> pd.DataFrame:
    """The evaluations of the run in a folder: step, success and tokens. `notes` gets lines about what was left out.

    Raises ValueError, one line, for a folder or a log in another form.
    """
    logs = _logs(folder, success, notes)
    points: dict[int, float] = {}
    again: dict[int, None] = {}
    for step, value in _by_progress(logs, success):
        if step in points:
            if points[step] != value:  # a trainer may log an evaluation twice
                again[step] = None
            points = {earlier: kept for earlier, kept in points.items() if earlier <= step}
        points[step] = value
    if again:
        listed = ", ".join(map(str, again))
        notes.append(f"{folder}: evaluated again at step {listed}, as a resumed run does: the later evaluation counts.")
    steps = sorted(points)
    if steps[0] != 0 or len(steps) < 2:
        listed = ", ".join(map(str, steps))
        raise ValueError(f"{folder}: evaluated at step {listed}; allowed: at step 0, before training, and later")
    # The tokens are unknown. The steps replace them, and `judge` drops the endpoint that needs tokens.
    return pd.DataFrame({"step": steps, "success": [points[step] for step in steps], "tokens": steps})


def _logs(folder: Path, success: str, notes: list[str]) -> list[Rows]:
    """The rows of each log in the folder that has evaluations: TRL's state, or else tables."""
    tables = sorted(file for file in folder.iterdir() if table_files.is_table(file) and file.suffix in SUFFIXES)
    state = trainer_state.last(folder, notes)
    logs: dict[Path, Rows]
    if state is not None:
        logs = {state.file: [(f"{state.file}, entry {number}", row) for number, row in enumerate(state.history, 1)]}
    else:
        logs = {file: _table(file, notes) for file in tables}
    if not logs:
        raise ValueError(f"{folder}: no log; allowed: {trainer_state.NAME}, or .jsonl or .csv files")
    found = {file: rows for file, rows in logs.items() if any(_evaluated(row, success) for _, row in rows)}
    if not found:
        # Trainers log dozens of names. Those of evaluations are the likely ones.
        seen = dict.fromkeys(name for rows in logs.values() for _, row in rows for name in row)
        if success in seen:
            raise ValueError(f"{next(iter(logs))}: {success}: empty at every step; allowed: shares of right answers")
        offered = [name for name in seen if name.startswith(("eval_", "val-"))] or list(seen)
        raise ValueError(f"{next(iter(logs))}: {plugins.unknown('name of success', success, offered)}")
    others = [file.name for file in tables if file not in found]
    if others:
        notes.append(f"{folder}: files that are not read: {', '.join(others)}.")
    return list(found.values())


def _table(file: Path, notes: list[str]) -> Rows:
    rows = []
    for where, row in table_files.rows(file, cut=log_files.noting_cut(notes)):
        nested = row.get("data")  # verl's logger: {"step": 10, "data": {...}}
        rows.append((where, {**nested, "step": row.get("step")} if isinstance(nested, dict) else row))
    return rows


def _by_progress(logs: Sequence[Rows], success: str) -> Iterable[tuple[int, float]]:
    """The evaluations (step, success) of all logs, those of the log that gets furthest last."""
    evaluations = [[_point(where, row, success) for where, row in rows if _evaluated(row, success)] for rows in logs]
    # `min` decides between logs that end together: a resumed part begins later.
    ordered = sorted(filter(None, evaluations), key=lambda points: (max(points)[0], min(points)[0]))
    return itertools.chain.from_iterable(ordered)


def _evaluated(row: Mapping[str, Any], success: str) -> bool:
    return row.get(success) not in (None, "")


def _point(where: str, row: Mapping[str, Any], success: str) -> tuple[int, float]:
    step, value = (table_files.number(row.get(name)) for name in ("step", success))
    if step is None or step != int(step) or step < 0:
        raise table_files.wrong(where, "step", row.get("step"), "a whole number from 0 on")
    if value is None or not 0 <= value <= 1:
        raise table_files.wrong(where, success, row[success], "a share of right answers, 0 to 1")
    return int(step), value
