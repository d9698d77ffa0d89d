"""TensorBoard: the tables of an experiment's runs as event files.

    softmax-rewards tensorboard results/<experiment> OUT
    tensorboard --logdir OUT

Each run becomes OUT/<arm>/seed-<n>, each column of its tables a curve such as `metrics/grad_norm` over steps. May be
called again while runs go on. Needs the extra `tensorboard`.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from softmax_rewards.common.files import appearing
from softmax_rewards.training import plan, run_tables

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

TABLES = ("metrics", "evaluations", "timing")
PREFIX = "events.out.tfevents."  # what TensorBoard takes for event files


def write(experiment: Path, out: Path) -> list[Path]:
    """Write the event file of every run of `results/<experiment>` that has rows; returns the files, one a run.

    A file appears whole, under a name that ends in its last step, and supersedes the one before, which stays until the
    next call: a TensorBoard that is open follows from file to file, and stops where the one it has read is gone.
    Raises ModuleNotFoundError without the extra.
    """
    written = []
    for run in plan.runs(experiment):
        tables = {name: run_tables.rows(run, name) for name in TABLES}
        steps = [int(row["step"]) for rows in tables.values() for row in rows if "step" in row]
        if not steps:
            continue
        file = out / run.parent.name / run.name / f"{PREFIX}{max(steps):08d}"
        _write(list(_events(tables)), file)
        for older in sorted(set(file.parent.glob(f"{PREFIX}*")) - {file})[:-1]:
            older.unlink()
        written.append(file)
    return written


def _write(events: Sequence["Event"], file: Path) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    with appearing(file) as partial, partial.open("wb") as stream:
        records = RecordWriter(stream)
        for event in events:
            records.write(event.SerializeToString())


def _events(tables: dict[str, list[dict[str, float]]]) -> Iterator["Event"]:
    """The events of a run in the order of steps; the clock shows the seconds of training up to the step.

    The beginning says that all from step 0 on is told anew: what was read of an earlier file is dropped.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary

    yield Event(file_version="brain.Event:2")
    yield Event(step=0, session_log=SessionLog(status=SessionLog.START))
    points: dict[int, list[Summary.Value]] = {}
    clock: dict[int, float] = {}
    for name, rows in tables.items():
        for row in rows:
            if "step" in row:
                values = [Summary.Value(tag=f"{name}/{key}", simple_value=row[key]) for key in row if key != "step"]
                points.setdefault(int(row["step"]), []).extend(values)
                clock[int(row["step"])] = row.get("seconds", clock.get(int(row["step"]), 0.0))
    passed = 0.0
    for step, values in sorted(points.items()):
        passed += clock[step]
        yield Event(step=step, wall_time=passed, summary=Summary(value=values))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; without the extra or the folder it ends with one line."""
    parser = argparse.ArgumentParser(description="Writes an experiment's runs as event files for TensorBoard.")
    parser.add_argument("experiment", type=Path, help="results/<experiment>")
    parser.add_argument("out", type=Path, help="folder for the event files")
    given = parser.parse_args(arguments)
    if not given.experiment.is_dir():
        sys.exit(f"{given.experiment}: no such folder; allowed: results/<experiment>")
    try:
        written = write(given.experiment, given.out)
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed; it comes with: pip install -c constraints.txt -e '.[tensorboard]'")
    print(f"{len(written)} runs in {given.out}; look at them with: tensorboard --logdir {given.out}")
