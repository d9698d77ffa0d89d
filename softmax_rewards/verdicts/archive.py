"""Archive: the tables of finished runs kept with the repository, a few hundred KB a run.

An experiment's key `archive` names the folder. A run found there with the fingerprint that it would get today
is taken as it is; any other is trained.
"""

import functools
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softmax_rewards.common import files, provenance
from softmax_rewards.config.run import Run

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


def finished(folder: Path, run: Mapping[str, Any]) -> bool:
    """Whether `folder` has all files of a run of this ablation and seed, whatever code, base model and puzzles made it.

    `run` is `config.Run.to_dict()`. It is the same ablation if it has the same weighting and training settings; those
    that an earlier revision did not have count as their defaults. A run whose files differ from their manifest is none,
    which is said once; those that were kept before there were manifests count without.
    """
    return _finished(folder, run) is not None


def holds(folder: Path, run: Mapping[str, Any], sources: Mapping[str, str]) -> bool:
    """Whether `folder` has this very run, trained and judged by the present code.

    `sources` are the sha256 of the data and of the base model ("data", "base") as far as they exist here: a base
    model made on another machine may differ in its last bits, and runs from both must not be mixed.
    """
    found = _finished(folder, run)
    if found is None:
        return False
    record, judged = found
    return (
        record["fingerprint"] == provenance.run_fingerprint(run)
        and judged.get("code") == provenance.evaluation_fingerprint(run)
        and all(record[name] == sha for name, sha in sources.items())
    )


def _finished(folder: Path, run: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The record and the evaluation of a run that is `finished`, else None."""
    if not all((folder / name).is_file() for name in KEPT):
        return None
    try:
        if (folder / "manifest.json").exists():
            files.verified_manifest(folder)
        record, judged = (files.read_json(folder / name) for name in ("run.json", "evaluation.json"))
    except ValueError as error:
        _say_once(f"[archive] {error}: the run does not count")
        return None
    config = record["config"]
    same = all(config[key] == run[key] for key in ("ablation", "seed", "weighting"))
    same = same and Run.from_dict(config).to_dict()["training"] == run["training"]
    return (record, judged) if same and record["fingerprint"] == judged.get("fingerprint") else None


@functools.cache  # Snakemake asks for a run more than once
def _say_once(text: str) -> None:
    print(text, file=sys.stderr)


def keep(results: Path, archive: Path) -> list[Path]:
    """Copy each finished run of `results/<experiment>` to `archive/<ablation>/seed-<n>`; returns the folders.

    A finished run has been evaluated. `manifest.json`, written last, has the sha256 of each file. The copy's `run.json`
    is taken away first, so that a copy cut short before it is written does not count; one cut short after it does not
    either, unless its evaluation is of this very run.
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
        files.write_manifest(target, list(KEPT))
        kept.append(target)
    return kept
