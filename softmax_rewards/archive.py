"""Archive: the tables of finished runs kept with the repository, a few hundred KB a run.

An experiment's key `archive` names the folder. A run found there with the fingerprint that it would get today
is taken as it is; any other is trained.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softmax_rewards import provenance

# Of a run's files all but the weights, the episodes and what only resuming needs.
KEPT = (
    "metrics.csv",
    "groups.csv",
    "evaluations.csv",
    "samples.jsonl",
    "timing.csv",
    "evaluation.json",
    "puzzles.csv",
    "run.json",
)


def holds(folder: Path, run: Mapping[str, Any]) -> bool:
    """Whether `folder` has the files of `run` (`config.Run.to_dict()`), made by the present code."""
    record = folder / "run.json"
    if not record.is_file():
        return False
    return json.loads(record.read_text(encoding="utf-8"))["fingerprint"] == provenance.run_fingerprint(run)


def keep(results: Path, archive: Path) -> list[Path]:
    """Copy each finished run of `results/<experiment>` to `archive/<ablation>/seed-<n>`; returns the folders.

    A finished run has been evaluated. `run.json` is copied last, so that a copy cut short does not count.
    """
    kept = []
    for summary in sorted((results / "runs").glob("*/*/evaluation.json")):
        source = summary.parent
        target = archive / source.relative_to(results / "runs")
        target.mkdir(parents=True, exist_ok=True)
        (target / "run.json").unlink(missing_ok=True)
        for name in KEPT:
            shutil.copyfile(source / name, target / name)
        kept.append(target)
    return kept
