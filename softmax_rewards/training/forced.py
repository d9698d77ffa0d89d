"""Forced jobs: what earlier jobs kept in order to save work is dropped, so that a forced job does its work again."""

import shutil
from pathlib import Path

# Rule → how many folders above its first output it keeps something, and what would be used again.
KEPT = {
    "train": (0, ("finished", "state", "evaluation")),
    "evaluate": (0, ("evaluation",)),
    "pages": (1, ("logs/report",)),
}


def drop_kept(rule: str, output: Path) -> None:
    """Drop what a forced job of `rule` would take over. `output` is the first file that the job makes.

    A training job would restore its finished run or go on from a checkpoint. The evaluation would publish what the
    training job left. The report would only execute pages that are out of date.
    """
    above, names = KEPT.get(rule, (0, ()))
    for name in names:
        shutil.rmtree(output.parents[above] / name, ignore_errors=True)
