"""TensorBoard: the tables of an experiment's runs as event files.

Each run becomes a folder <ablation>/seed-<n>, and each column of its tables a curve such as `metrics/grad_norm` over
steps. Needs the extra `tensorboard`.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from softmax_rewards.common.files import appearing
from softmax_rewards.training import plan, run_tables

TABLES = ("metrics", "evaluations", "timing")
PREFIX = "events.out.tfevents."  # by which TensorBoard knows event files
DESCRIPTION = "Write the tables of an experiment's runs as event files for TensorBoard; call it again while runs go on."
EXAMPLE = "example: softmax-rewards tensorboard results/countdown-mini curves && tensorboard --logdir curves"


def write(experiment: Path, out: Path) -> list[Path]:
    """Write the event file of every run of `results/<experiment>` that has rows; returns the files, one per run.

    A file appears whole, and its name ends in its last step. Raises ModuleNotFoundError without the extra.
    """
    written = []
    for run in plan.runs(experiment):
        tables = {name: run_tables.rows(run, name) for name in TABLES}
        steps = [int(row["step"]) for rows in tables.values() for row in rows if "step" in row]
        if not steps:
            continue
        file = out / run.parent.name / run.name / f"{PREFIX}{max(steps):08d}"
        _write(tables, file)
        # The file before it stays until the next call: an open TensorBoard stops if the file that it has read is gone.
        for older in sorted(set(file.parent.glob(f"{PREFIX}*")) - {file})[:-1]:
            older.unlink()
        written.append(file)
    return written


def _write(tables: dict[str, list[dict[str, float]]], file: Path) -> None:
    """Write one event per number, in the order of steps. Its time is the seconds of training up to the step."""
    from torch.utils.tensorboard import SummaryWriter

    points: dict[int, dict[str, float]] = {}
    for name, rows in tables.items():
        for row in rows:
            if "step" in row:
                points.setdefault(int(row["step"]), {}).update({f"{name}/{key}": row[key] for key in row})
    passed = 0.0
    with TemporaryDirectory() as folder:
        # With `purge_step=0` a reader forgets what it has read from an earlier file.
        with SummaryWriter(folder, max_queue=1_000, purge_step=0) as writer:
            for step, values in sorted(points.items()):
                passed += values.get("timing/seconds", 0.0)
                for tag, value in values.items():
                    if not tag.endswith("/step"):
                        writer.add_scalar(tag, value, step, walltime=passed)
        (events,) = Path(folder).iterdir()
        with appearing(file) as partial:
            shutil.copyfile(events, partial)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line `softmax-rewards tensorboard`. Without the folder or the extra it ends with one line."""
    parser = argparse.ArgumentParser(prog="softmax-rewards tensorboard", description=DESCRIPTION, epilog=EXAMPLE)
    parser.add_argument("experiment", type=Path, metavar="EXPERIMENT", help="folder of the experiment, results/NAME")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the event files, made if missing")
    options = parser.parse_args(arguments)
    if not options.experiment.is_dir():
        sys.exit(f"{options.experiment}: no such folder; allowed: results/<experiment>")
    try:
        written = write(options.experiment, options.out)
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed; it comes with: pip install -c constraints.txt -e '.[tensorboard]'")
    print(f"{len(written)} runs in {options.out}; look at them with: tensorboard --logdir {options.out}")
