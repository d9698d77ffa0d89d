"""Archive: the tables of finished runs kept with the repository, about ten KB per run.

An experiment's key `archive` names the folder, `results/archive/<experiment>`. A run found there with the fingerprint
that it would get today is taken as it is; any other is trained. `archive_files.py` says how the folder is laid out.
"""

import functools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from softmax_rewards.common import files, provenance
from softmax_rewards.config import renamed
from softmax_rewards.config.run import Run
from softmax_rewards.verdicts import archive_files, finished
from softmax_rewards.verdicts.archive_files import Name
from softmax_rewards.verdicts.finished import FinishedRun

# Table → the file of a run that it keeps. The weights and the episodes of a run are not kept.
SOURCES = {
    "metrics": "metrics.csv",
    "evaluations": "evaluations.csv",
    "groups": "groups.csv",
    "puzzles": "puzzles.csv",
    "samples": "samples.jsonl",
    "timing": "timing.csv",
}
FRAMES = ("metrics", "groups", "evaluations", "puzzles")  # of a run that is read
KEPT = (*SOURCES.values(), "run.json", "evaluation.json")


def holds(folder: Path, run: Mapping[str, Any], sources: Mapping[str, str]) -> bool:
    """Whether the archive `folder` has this very run, trained and judged by the present code.

    Args:
        run: the resolved run, `config.run.Run.to_dict()`.
        sources: the sha256 of the data and of the base model ("data", "base") as far as they exist here. A base model
            made on another machine may differ in its last bits, and runs from both must not be mixed.
    """
    archived = _finished(folder, run)
    if archived is None:
        return False
    record, judged = archived
    return (
        record["fingerprint"] == provenance.run_fingerprint(run)
        and judged.get("code") == provenance.evaluation_fingerprint(run)
        and all(record[name] == sha for name, sha in sources.items())
    )


def has(folder: Path, run: Mapping[str, Any]) -> bool:
    """Whether the archive has a run of this ablation and seed, whatever code, base model and puzzles made it.

    It is the same ablation if it has the same weighting and training settings. A setting that an earlier revision did
    not have counts as its default.
    """
    return _finished(folder, run) is not None


def names(folder: str | None, runs: Iterable[Run], sources: Mapping[str, str] | None) -> list[str]:
    """The names of those `runs` that are taken from the archive `folder`, None if there is no archive.

    They are the runs that it `holds` with these `sources`; without them all that it `has`, of whatever code.
    """
    if folder is None:
        return []
    if sources is None:
        return [run.name for run in runs if has(Path(folder), run.to_dict())]
    return [run.name for run in runs if holds(Path(folder), run.to_dict(), sources)]


def read(folder: Path, run_names: Sequence[str]) -> list[FinishedRun]:
    """The runs `run_names` ("<ablation>/seed-<n>") of the archive.

    Raises ValueError, one line, if a file of the archive is damaged or a run is not there.
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
    tables: Mapping[str, Mapping[Name, pa.Table]],
    name: Name,
) -> FinishedRun:
    frames = {table: tables[table][name].to_pandas() for table in FRAMES}
    samples = tables["samples"][name].to_pylist() if name in tables["samples"] else []
    return finished.complete(FinishedRun(origin, record, evaluation=judged, samples=samples, **frames))


def keep(results: Path, folder: Path) -> list[str]:
    """Add each finished run of `results/<experiment>` to the archive `folder`; returns their names.

    A finished run has been evaluated. It replaces a run of the same ablation and seed; all others stay. Raises
    ValueError, one line, if a file of the archive is damaged: then nothing is written.
    """
    new: dict[Name, Path] = {}
    for source in sorted((results / "runs").glob("*/*")):
        if all((source / name).is_file() for name in KEPT):
            record, judged = (files.read_json(source / name) for name in ("run.json", "evaluation.json"))
            if record["fingerprint"] == judged.get("fingerprint"):  # else it is being made again
                record = renamed.record(record)
                new[record["ablation"], record["seed"]] = source
    if new:
        old = _records(folder, archive_files.sums(folder))
        tables = {}
        for table in archive_files.TABLES:
            parts = archive_files.by_run(archive_files.read(folder, table)) if old else {}
            tables[table] = archive_files.together(parts | {name: _rows(new[name], table) for name in new})
        archive_files.write(folder, tables)
    return [f"{ablation}/seed-{seed}" for ablation, seed in new]


def _rows(source: Path, table: str) -> pa.Table:
    """The rows that a table of the archive keeps of the run in the folder `source`."""
    if table == "runs":
        texts = [(source / name).read_bytes().decode() for name in ("run.json", "evaluation.json")]
        return pa.table({"record": texts[:1], "evaluation": texts[1:]})
    file = source / SOURCES[table]
    if file.suffix == ".jsonl":
        return pa.Table.from_pylist(finished.read_samples(file))
    return archive_files.from_frame(pd.read_csv(file))


def _finished(folder: Path, run: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The record and the evaluation of a run that the archive `has`, else None."""
    try:
        records = _records(folder, archive_files.sums(folder))
    except ValueError as error:
        _say_once(f"[archive] {error}; until then its runs do not count")
        return None
    name = run["ablation"], run["seed"]
    if name not in records:
        return None
    record, judged = records[name]
    config = record["config"]
    training = Run.from_dict(config).to_dict()["training"]
    same = config["weighting"] == run["weighting"] and training == run["training"]
    return (record, judged) if same and record["fingerprint"] == judged.get("fingerprint") else None


@functools.cache  # Snakemake asks for every run; the archive is verified and read once
def _records(folder: Path, sums: str) -> dict[Name, tuple[dict[str, Any], dict[str, Any]]]:
    """Name of a run → its record, with today's names of settings, and its evaluation. `sums`: the checksums' text."""
    if not sums:
        return {}
    archive_files.verify(folder)
    return {
        (row["ablation"], row["seed"]): (renamed.record(json.loads(row["record"])), json.loads(row["evaluation"]))
        for row in archive_files.read(folder, "runs").to_pylist()
    }


@functools.cache  # Snakemake asks for a run more than once
def _say_once(text: str) -> None:
    print(text, file=sys.stderr)
