"""Archive: tables of finished runs that are kept with the repository, about ten KB per run.

An experiment's key `archive` names the folder, `results/archive/<experiment>`. A run in it is used as it is if it has
the fingerprint that it would get today. All other runs are trained. `archive_files.py` describes the files.
"""

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from softmax_rewards.common import files, provenance
from softmax_rewards.config import renamed
from softmax_rewards.config.run import Run
from softmax_rewards.verdicts import archive_files, bases, finished
from softmax_rewards.verdicts.archive_files import Name
from softmax_rewards.verdicts.finished import FinishedRun

# Table of the archive → file of a run. Model weights and episodes are too large to keep.
SOURCES = {
    "metrics": "metrics.csv",
    "evaluations": "evaluations.csv",
    "groups": "groups.csv",
    "puzzles": "puzzles.csv",
    "samples": "samples.jsonl",
    "timing": "timing.csv",
}
FRAMES = ("metrics", "groups", "evaluations", "puzzles")  # tables that `read` returns as data frames
KEPT = (*SOURCES.values(), "run.json", "evaluation.json")


def holds(folder: Path, run: Mapping[str, Any], sources: Mapping[str, str]) -> bool:
    """Whether the archive `folder` has this run, trained and evaluated by today's code.

    run      the run with all defaults, `config.run.Run.to_dict()`
    sources  "data" and "base" → sha256 of the puzzles and of the base model, as far as they exist here
    """
    archived = _finished(folder, run)
    if archived is None:
        return False
    record, judged = archived
    return (
        record["fingerprint"] == provenance.run_fingerprint(run)
        and judged.get("code") == provenance.evaluation_fingerprint(run)
        # A base model made on another machine may differ in its last bits. Runs from both must not be mixed.
        and all(record[name] == sha for name, sha in sources.items())
    )


def has(folder: Path, run: Mapping[str, Any]) -> bool:
    """Whether the archive has a run of this ablation and seed, made by any code, base model and puzzles.

    The weighting and the training settings must be the same. A setting that an older run lacks counts as its default.
    """
    return _finished(folder, run) is not None


def names(folder: str | None, runs: Iterable[Run], sources: Callable[[Run], Mapping[str, str]] | None) -> list[str]:
    """The names of those `runs` that are taken from the archive `folder`; none if `folder` is None.

    `sources` gives the checksums of a run's puzzles and base model, as `holds` takes them. With `sources` these are the
    runs that the archive `holds`, without `sources` all that it `has`.
    """
    if folder is None:
        return []
    if sources is None:
        return [run.name for run in runs if has(Path(folder), run.to_dict())]
    return [run.name for run in runs if holds(Path(folder), run.to_dict(), sources(run))]


def read(folder: Path, run_names: Sequence[str]) -> list[FinishedRun]:
    """The runs `run_names` ("<ablation>/seed-<n>") of the archive.

    Raises ValueError, one line, if a file of the archive is damaged or a run is missing.
    """
    records = _records(folder, archive_files.sums(folder))
    known = {f"{ablation}/seed-{seed}": (ablation, seed) for ablation, seed in records}
    if missing := [name for name in run_names if name not in known]:
        raise ValueError(f"{folder}: no run {missing[0]} in this archive")
    tables = {table: archive_files.by_run(archive_files.read(folder, table)) for table in (*FRAMES, "samples")}
    return [_read(f"{folder}: {name}", *records[known[name]], tables, known[name]) for name in run_names]


def _read(
    origin: str,
    record: dict[str, Any],
    judged: dict[str, Any],
    base: dict[str, Any] | None,
    tables: Mapping[str, Mapping[Name, pa.Table]],
    name: Name,
) -> FinishedRun:
    frames = {table: tables[table][name].to_pandas() for table in FRAMES}
    samples = tables["samples"][name].to_pylist() if name in tables["samples"] else []
    run = FinishedRun(origin, record, evaluation=judged, samples=samples, base=base, **frames)
    return finished.complete(run)


def keep(results: Path, folder: Path) -> list[str]:
    """Add the finished runs in `results` (results/<experiment>) to the archive `folder`; returns their names.

    A run is finished once it is evaluated. It replaces an archived run of the same ablation and seed; all other
    archived runs stay. Raises ValueError, one line, if a file of the archive is damaged; then nothing is written.
    """
    new: dict[Name, Path] = {}
    for source in sorted((results / "runs").glob("*/*")):
        if all((source / name).is_file() for name in KEPT):
            record, judged = (files.read_json(source / name) for name in ("run.json", "evaluation.json"))
            # Otherwise the run is being trained again and the evaluation is still the old one.
            if record["fingerprint"] == judged.get("fingerprint"):
                record = renamed.record(record)
                new[record["ablation"], record["seed"]] = source
    if new:
        summary = results / "summary" / "bases.json"
        evaluated = files.read_json(summary)["bases"] if summary.is_file() else []
        old = _records(folder, archive_files.sums(folder))
        tables = {}
        for table in archive_files.TABLES:
            parts = archive_files.by_run(archive_files.read(folder, table)) if old else {}
            tables[table] = archive_files.together(parts | {name: _rows(new[name], table, evaluated) for name in new})
        archive_files.write(folder, tables)
    return [f"{ablation}/seed-{seed}" for ablation, seed in new]


def _rows(source: Path, table: str, evaluated: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The rows of one run, in the folder `source`, for one table; `evaluated` are evaluations of base models."""
    if table == "runs":
        record, judged = ((source / name).read_bytes().decode() for name in ("run.json", "evaluation.json"))
        columns = {"record": [record], "evaluation": [judged]}
        if base := bases.find(renamed.record(json.loads(record)), evaluated):
            columns["base"] = [json.dumps(base, sort_keys=True)]
        return pa.table(columns)
    file = source / SOURCES[table]
    if file.suffix == ".jsonl":
        return pa.Table.from_pylist(finished.read_samples(file))
    return archive_files.from_frame(pd.read_csv(file))


def _finished(folder: Path, run: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Record and evaluation of a run that the archive `has`, else None."""
    try:
        records = _records(folder, archive_files.sums(folder))
    except ValueError as error:
        _say_once(f"[archive] {error}; until then its runs are ignored")
        return None
    name = run["ablation"], run["seed"]
    if name not in records:
        return None
    record, judged, _ = records[name]
    config = record["config"]
    training = Run.from_dict(config).to_dict()["training"]
    same = config["weighting"] == run["weighting"] and training == run["training"]
    return (record, judged) if same and record["fingerprint"] == judged.get("fingerprint") else None


@functools.cache  # Snakemake asks for every run; the archive is verified and read once
def _records(folder: Path, sums: str) -> dict[Name, tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]]:
    """Name of a run → its record, with today's names of settings, its evaluation, and that of its base model.

    `sums` is the text of the checksums. It belongs to the cache's key, so that a changed archive is read again.
    """
    if not sums:
        return {}
    archive_files.verify(folder)
    return {
        (row["ablation"], row["seed"]): (
            renamed.record(json.loads(row["record"])),
            json.loads(row["evaluation"]),
            json.loads(row["base"]) if row.get("base") else None,  # runs of the first series have none
        )
        for row in archive_files.read(folder, "runs").to_pylist()
    }


@functools.cache  # Snakemake asks for each run more than once
def _say_once(text: str) -> None:
    print(text, file=sys.stderr)
