"""The archive: nothing is lost on the way in and out, stale and damaged runs do not count, and old names are read."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import synthetic

from softmax_rewards.common import files, provenance
from softmax_rewards.config import experiments, renamed
from softmax_rewards.verdicts import aggregate, archive, archive_files, archiving, finished

ROOT = Path(__file__).parents[2]
OLD = Path(__file__).with_name("old_runs")  # runs as they lay in a folder each, before the archive was parquet
ARCHIVE = ROOT / "results" / "archive"
CONFIGS = ROOT / "config" / "experiments"
# The training code of the whole second series; the task's code is part of it.
FROZEN = {"countdown": "de88fb8926329df7", "multiplication": "e5ef66f2d3b40821"}
RUNS = {
    "countdown-mini-cold": 33,
    "countdown-mini-format": 6,
    "countdown-mini-format-unpaid": 6,
    "countdown-mini-full": 218,
    "countdown-mini-grid-groups-4": 45,
    "countdown-mini-grid-groups-16": 45,
    "countdown-mini-grid-strong": 45,
    "countdown-mini-grid-weak": 45,
    "multiplication-mini": 21,
}


# --- the archive kept with the repository ---------------------------------------------------------


def test_the_repository_keeps_the_464_runs_of_the_first_series():
    assert {folder.name for folder in ARCHIVE.iterdir()} >= set(RUNS) and sum(RUNS.values()) == 464
    for experiment, count in RUNS.items():
        archive_files.verify(ARCHIVE / experiment)
        sizes = {
            table: archive_files.by_run(archive_files.read(ARCHIVE / experiment, table))
            for table in archive_files.TABLES
        }
        assert {len(runs) for runs in sizes.values()} == {count}, experiment
        for table, rows in (("runs", 1), ("metrics", 80), ("timing", 80), ("evaluations", 9), ("puzzles", 1024)):
            assert {one.num_rows for one in sizes[table].values()} == {rows}, (experiment, table)


SECOND = sorted(folder.name for folder in ARCHIVE.iterdir() if folder.name not in RUNS)


@pytest.mark.parametrize("name", SECOND)
def test_an_experiment_of_the_second_series_is_kept_whole(name):
    """Every run of its file, started under a plan."""
    experiment, folder = experiments.load(CONFIGS / f"{name}.yaml"), ARCHIVE / name
    archive_files.verify(folder)
    assert archive.names(str(folder), experiment.runs(), None) == [run.name for run in experiment.runs()]
    records = [json.loads(row["record"]) for row in archive_files.read(folder, "runs").to_pylist()]
    assert len(records) == len(experiment.runs()) and all(record["plan"] for record in records)
    assert {record["trainer"] for record in records} == {FROZEN[experiment.task["name"]]}
    # A new key of the settings must not change the identity of a run that leaves it at its default.
    kept = {f"{record['ablation']}/seed-{record['seed']}": record["fingerprint"] for record in records}
    assert kept == {run.name: provenance.run_fingerprint(run.to_dict()) for run in experiment.runs()}


@pytest.mark.parametrize("old", sorted(OLD.glob("*/*/*")), ids=lambda folder: folder.parent.name)
def test_an_archived_run_has_every_number_of_its_old_tables(old):
    folder = ARCHIVE / old.parents[1].name
    name = renamed.ablation(old.parent.name), int(old.name.removeprefix("seed-"))
    (run,) = archive.read(folder, [f"{name[0]}/seed-{name[1]}"])
    for table in ("metrics", "evaluations", "groups", "puzzles", "timing"):
        rows = archive_files.by_run(archive_files.read(folder, table))[name].to_pandas()
        pd.testing.assert_frame_equal(rows, pd.read_csv(old / f"{table}.csv"), check_exact=True, check_dtype=False)
        if table != "timing":
            pd.testing.assert_frame_equal(getattr(run, table), rows)
    assert run.samples == [json.loads(line) for line in (old / "samples.jsonl").read_text().splitlines()]
    (texts,) = archive_files.by_run(archive_files.read(folder, "runs"))[name].to_pylist()
    assert texts == {"record": (old / "run.json").read_text(), "evaluation": (old / "evaluation.json").read_text()}


@pytest.mark.parametrize("old", sorted(OLD.glob("*/*/*")), ids=lambda folder: folder.parent.name)
def test_an_archived_run_has_the_present_names(old):
    record, before = archive_record(old), json.loads((old / "run.json").read_text())
    assert record["ablation"] == record["config"]["ablation"] == renamed.ablation(old.parent.name)
    training, was = record["config"]["training"], before["config"]["training"]
    assert (training["kl_coef"], training["group_size"]) == (was["kl"], was["samples"])
    assert training["loss_aggregation"] == "token-mean" and was["normaliser"] == "token"
    assert not set(training) & set(renamed.RENAMED["training"])
    assert record["fingerprint"] == before["fingerprint"]


def archive_record(old: Path) -> dict:
    (run,) = archive.read(ARCHIVE / old.parents[1].name, [f"{renamed.ablation(old.parent.name)}/{old.name}"])
    return run.record


# --- keeping and reading --------------------------------------------------------------------------


@pytest.fixture
def run():
    return experiments.load(ROOT / "config/experiments/countdown-mini.yaml").run("softmax-0.5", 1)


@pytest.fixture
def results(tmp_path):
    """Finished runs of two ablations and two seeds."""
    ablations = {name: synthetic.ABLATIONS[name] for name in ("baseline", "softmax-0.5")}
    for folder in synthetic.write_experiment(tmp_path / "results/runs", ablations=ablations, seeds=2, steps=20):
        judge(folder)
    return tmp_path / "results"


def judge(folder: Path, **facts) -> None:
    """Complete a synthetic run: its evaluation is of this very run, and it has times."""
    record = files.read_json(folder / "run.json")
    judged = files.read_json(folder / "evaluation.json") | {"fingerprint": record["fingerprint"], **facts}
    (folder / "evaluation.json").write_text(json.dumps(judged))
    pd.DataFrame({"step": range(1, 21), "seconds": 0.5}).to_csv(folder / "timing.csv", index=False)


ALL = ["baseline/seed-0", "baseline/seed-1", "softmax-0.5/seed-0", "softmax-0.5/seed-1"]


def test_kept_runs_are_read_back_as_they_were(results, tmp_path):
    metrics = pd.read_csv(results / "runs/baseline/seed-0/metrics.csv")
    metrics.insert(3, "kl", np.linspace(0, 1, len(metrics)) / 3)  # a column of this run alone
    metrics["tau"] = np.nan  # a column without a number
    metrics.to_csv(results / "runs/baseline/seed-0/metrics.csv", index=False)
    assert archive.keep(results, tmp_path / "kept") == ALL
    assert sorted(file.name for file in (tmp_path / "kept").iterdir()) == sorted(
        ["SHA256SUMS", *(f"{table}.parquet" for table in archive_files.TABLES)]
    )
    for found in archive.read(tmp_path / "kept", ALL):
        folder = results / f"runs/{found.ablation}/seed-{found.seed}"
        expected = finished.read(folder)
        for table in ("metrics", "groups", "evaluations", "puzzles"):
            pd.testing.assert_frame_equal(getattr(found, table), getattr(expected, table), check_dtype=False)
        assert (found.samples, found.evaluation) == (expected.samples, expected.evaluation)
        assert found.record == expected.record
        assert ("kl" in found.metrics) == (found.ablation == "baseline" and found.seed == 0)


def test_a_summary_is_the_same_from_folders_and_from_the_archive(results, tmp_path):
    (tmp_path / "plan.md").write_text("the plan\n")
    experiment = synthetic.experiment({name: synthetic.ABLATIONS[name] for name in ("baseline", "softmax-0.5")})
    archive.keep(results, tmp_path / "kept")
    runs = [results / "runs" / name for name in ALL]
    aggregate.write(runs, tmp_path / "all", experiment, tmp_path / "plan.md")
    archived = archive.read(tmp_path / "kept", ALL[2:])
    aggregate.write(runs[:2], tmp_path / "half", experiment, tmp_path / "plan.md", archived)
    written = sorted(file.name for file in (tmp_path / "all").iterdir())
    assert written == sorted(file.name for file in (tmp_path / "half").iterdir()) and len(written) > 10
    for name in written:
        assert (tmp_path / "half" / name).read_bytes() == (tmp_path / "all" / name).read_bytes(), name


def test_an_archive_grows_and_a_run_made_anew_replaces_the_old_one(results, tmp_path):
    kept = tmp_path / "kept"
    shutil.move(results / "runs/softmax-0.5", tmp_path / "later")
    archive.keep(results, kept)
    shutil.rmtree(results / "runs/baseline/seed-0")
    shutil.move(tmp_path / "later", results / "runs/softmax-0.5")
    again = results / "runs/baseline/seed-1"
    judge(again, greedy=0.75)
    assert archive.keep(results, kept) == ["baseline/seed-1", *ALL[2:]]
    runs = archive.read(kept, ALL)
    assert [run.evaluation["greedy"] == 0.75 for run in runs] == [False, True, False, False]
    for table in archive_files.TABLES:
        assert len(archive_files.by_run(archive_files.read(kept, table))) == 4
    before = contents(kept)
    assert archive.keep(results, kept) == ["baseline/seed-1", *ALL[2:]]
    assert contents(kept) == before, "the same runs give the same bytes"


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("lacking", archive.KEPT)
def test_a_run_that_is_not_whole_is_not_kept(results, tmp_path, lacking):
    (results / "runs/baseline/seed-0" / lacking).unlink()
    judge_of_another = results / "runs/softmax-0.5/seed-1"
    judge(judge_of_another, fingerprint="of an earlier run")
    assert archive.keep(results, tmp_path / "kept") == ["baseline/seed-1", "softmax-0.5/seed-0"]


def test_without_finished_runs_nothing_is_written(tmp_path):
    assert archive.keep(tmp_path / "results", tmp_path / "kept") == []
    assert not (tmp_path / "kept").exists()


def test_no_file_is_replaced_before_all_are_written(results, tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    archive.keep(results, kept)
    before, written = contents(kept), archive_files.parquet.write_table

    def full(table: pa.Table, file: Path, **options) -> None:
        if "timing" in file.name:
            raise OSError(28, "No space left on device")
        written(table, file, **options)

    monkeypatch.setattr(archive_files.parquet, "write_table", full)
    judge(results / "runs/baseline/seed-0", greedy=0.5)
    with pytest.raises(files.NotWritten, match=r"timing\.parquet"):
        archive.keep(results, kept)
    assert contents(kept) == before


def test_the_command(results, tmp_path, capsys):
    archiving.main([str(results), str(tmp_path / "kept")])
    assert capsys.readouterr().out.splitlines() == [f"[archive] {name}" for name in ALL]
    table = tmp_path / "kept" / "metrics.parquet"
    table.write_bytes(table.read_bytes()[:-1])
    with pytest.raises(SystemExit, match=r"metrics\.parquet.*restore the archive"):
        archiving.main([str(results), str(tmp_path / "kept")])
    with pytest.raises(SystemExit, match="nowhere: no such folder; allowed: results/<experiment>"):
        archiving.main([str(tmp_path / "nowhere"), str(tmp_path / "kept")])
    with pytest.raises(SystemExit):
        archiving.main(["--help"])
    assert "softmax-rewards archive results/" in capsys.readouterr().out


def test_the_checksums_are_those_of_sha256sum(results, tmp_path):
    archive.keep(results, tmp_path / "kept")
    lines = (tmp_path / "kept/SHA256SUMS").read_text().splitlines()
    assert lines == [
        f"{hashlib.sha256((tmp_path / f'kept/{table}.parquet').read_bytes()).hexdigest()}  {table}.parquet"
        for table in archive_files.TABLES
    ]


# --- which runs count -----------------------------------------------------------------------------


def make(folder: Path, run, **changed) -> None:
    """The files of `run`, as trained and judged by the present code; `changed` goes into its evaluation."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"ablation": run.ablation, "seed": run.seed, "config": run.to_dict(), "base": "b", "data": "d"}
    record["fingerprint"] = provenance.run_fingerprint(run.to_dict())
    judged = {"fingerprint": record["fingerprint"], "code": provenance.evaluation_fingerprint(run.to_dict())}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "evaluation.json").write_text(json.dumps(judged | changed))
    for name in archive.SOURCES.values():
        (folder / name).write_text("step\n0\n" if name.endswith(".csv") else '{"step": 0}\n')


def test_a_run_is_held_if_the_present_code_would_make_it_again(run, tmp_path):
    kept, made = tmp_path / "kept", tmp_path / "results" / "runs" / run.name
    values = run.to_dict()
    assert not archive.has(kept, values) and not archive.holds(kept, values, {})
    make(made, run)
    assert archive.keep(tmp_path / "results", kept) == ["softmax-0.5/seed-1"]
    assert archive.holds(kept, values, {}) and archive.holds(kept, values, {"base": "b", "data": "d"})
    assert not archive.holds(kept, values, {"base": "of another machine"})
    assert not archive.holds(kept, {**values, "seed": 2}, {})
    make(made, run, code="older")
    archive.keep(tmp_path / "results", kept)
    assert not archive.holds(kept, values, {}) and archive.has(kept, values)
    assert archive.has(kept, {**values, "task": "of another kind"})
    assert not archive.has(kept, {**values, "weighting": {"scheme": "linear"}})
    assert not archive.has(kept, {**values, "training": {**values["training"], "steps": 7}})
    assert archive.names(str(kept), [run], None) == [run.name] and archive.names(str(kept), [run], lambda run: {}) == []
    assert archive.names(None, [run], None) == []
    # A run that is being made anew leaves the archive alone.
    (made / "run.json").unlink()
    assert archive.keep(tmp_path / "results", kept) == [] and archive.has(kept, values)


@pytest.mark.parametrize("damage", ["changed", "gone", "unlisted", "no sums", "empty sums"])
def test_runs_of_a_damaged_archive_do_not_count(run, tmp_path, capsys, damage):
    kept = tmp_path / "kept"
    make(tmp_path / "results" / "runs" / run.name, run)
    archive.keep(tmp_path / "results", kept)
    file, sums = kept / "metrics.parquet", kept / "SHA256SUMS"
    if damage == "changed":
        file.write_bytes(file.read_bytes() + b"x")
    if damage == "gone":
        file.unlink()
    if damage == "unlisted":
        sums.write_text(sums.read_text().replace("metrics", "other"))
    if damage == "no sums":
        sums.unlink()
    if damage == "empty sums":
        sums.write_text("")
    what = {
        "changed": f"{file} is damaged (sha256 differs)",
        "gone": f"{file} is damaged (no such file)",
        "unlisted": f"{sums} is damaged (it does not name one file per table)",
        "no sums": f"{sums} is damaged (no checksums)",
        "empty sums": f"{sums} is damaged (no checksums)",
    }[damage]
    what += f"; restore the archive: git checkout -- {kept}"
    for _ in range(3):
        assert not archive.has(kept, run.to_dict()) and not archive.holds(kept, run.to_dict(), {})
    assert capsys.readouterr().err == f"[archive] {what}; until then its runs are ignored\n"
    # Nothing is written over what may be restored.
    before = contents(kept)
    for refused in (lambda: archive.keep(tmp_path / "results", kept), lambda: archive.read(kept, [run.name])):
        with pytest.raises(ValueError) as error:
            refused()
        assert str(error.value) == what
    assert contents(kept) == before


def test_a_run_that_is_not_there_is_named(results, tmp_path):
    archive.keep(results, tmp_path / "kept")
    with pytest.raises(ValueError, match="kept: no run baseline/seed-7 in this archive"):
        archive.read(tmp_path / "kept", ["baseline/seed-7"])
