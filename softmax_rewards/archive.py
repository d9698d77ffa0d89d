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
    "puzzles.csv",
    "run.json",
    "evaluation.json",
)


def holds(folder: Path, run: Mapping[str, Any], sources: Mapping[str, str]) -> bool:
    """Whether `folder` has all files of `run` (`config.Run.to_dict()`), trained and judged by the present code.

    `sources` are the sha256 of the data and of the base model ("data", "base") as far as they exist here: a base
    model made on another machine may differ in its last bits, and runs from both must not be mixed.
    """
    if not all((folder / name).is_file() for name in KEPT):
        return False
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    judged = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    fingerprint = provenance.run_fingerprint(run)
    return (
        record["fingerprint"] == judged.get("fingerprint") == fingerprint
        and judged.get("code") == provenance.evaluation_fingerprint(run)
        and all(record[name] == sha for name, sha in sources.items())
    )


def keep(results: Path, archive: Path) -> list[Path]:
    """Copy each finished run of `results/<experiment>` to `archive/<ablation>/seed-<n>`; returns the folders.

    A finished run has been evaluated. The copy's `run.json` is taken away first, so that a copy cut short before it is
    written does not count; one cut short after it does not either, unless its evaluation is of this very run.
    """
    kept = []
    for source in sorted((results / "runs").glob("*/*")):
        if not all((source / name).is_file() for name in KEPT):
            continue
        target = archive / source.relative_to(results / "runs")
        target.mkdir(parents=True, exist_ok=True)
        (target / "run.json").unlink(missing_ok=True)
        for name in KEPT:
            shutil.copyfile(source / name, target / name)
        kept.append(target)
    return kept
