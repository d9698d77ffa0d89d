"""Event files have what the tables have, read back by TensorBoard itself."""

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from softmax_rewards.common import files
from softmax_rewards.training import tensorboard

REASON = "the extra `tensorboard` is not installed"
ARCHIVE = Path(__file__).parents[2] / "results" / "archive" / "countdown-mini-full"
RUNS = ("baseline/seed-0", "softmax-0.5/seed-1")


@pytest.fixture
def accumulator():
    """TensorBoard's reader of one run's folder, all points kept."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason=REASON)

    def made(folder):
        return module.EventAccumulator(str(folder), size_guidance={module.SCALARS: 0})

    return made


@pytest.fixture
def experiment(tmp_path):
    """Two finished runs out of the repository's archive."""
    tables = {name: pd.read_parquet(ARCHIVE / f"{name}.parquet") for name in tensorboard.TABLES}
    for run in RUNS:
        folder = tmp_path / "results/full/runs" / run
        folder.mkdir(parents=True)
        ablation, seed = run.split("/seed-")
        for name, table in tables.items():
            own = table[(table["ablation"] == ablation) & (table["seed"] == int(seed))]
            files.write_csv(own.drop(columns=["ablation", "seed"]), folder / f"{name}.csv")
        (folder / "run.json").write_text("{}")
    return tmp_path / "results/full"


def assert_curves(reader, folder):
    """The reader has every number of the run's tables, at its step, as float32 holds it."""
    reader.Reload()
    tags = set()
    for name in tensorboard.TABLES:
        table = pd.read_csv(folder / f"{name}.csv").set_index("step")
        for column in table.columns[table.notna().any()]:
            points = reader.Scalars(f"{name}/{column}")
            assert [point.step for point in points] == table[column].dropna().index.tolist()
            assert [point.value for point in points] == table[column].dropna().astype("float32").tolist()
            tags.add(f"{name}/{column}")
    assert set(reader.Tags()["scalars"]) == tags


def test_finished_runs_read_back_as_their_tables(experiment, tmp_path, accumulator):
    written = tensorboard.write(experiment, tmp_path / "out")
    assert [file.parent.relative_to(tmp_path / "out").as_posix() for file in written] == list(RUNS)
    for run in RUNS:
        reader = accumulator(tmp_path / "out" / run)
        assert_curves(reader, experiment / "runs" / run)
        seconds = pd.read_csv(experiment / "runs" / run / "timing.csv")["seconds"]
        assert reader.Scalars("metrics/loss")[-1].wall_time == pytest.approx(seconds.sum())


def test_a_reader_that_is_open_follows_a_run_that_goes_on(experiment, tmp_path, accumulator):
    done = experiment / "runs" / RUNS[0]
    growing = tmp_path / "results/other/runs/baseline/seed-0"
    (growing / "state").mkdir(parents=True)
    rows = {name: pd.read_csv(done / f"{name}.csv").to_dict("records") for name in tensorboard.TABLES}

    def grow(step):
        for name in tensorboard.TABLES:
            text = "".join(json.dumps(row) + "\n" for row in rows[name] if row["step"] <= step)
            (growing / f"state/{name}.jsonl").write_text(text + '{"step": 99, "lo')  # the last row is half written

    out = tmp_path / "out"
    grow(20)
    (early,) = tensorboard.write(tmp_path / "results/other", out)
    assert early.name.endswith("00000020")
    reader = accumulator(early.parent)
    reader.Reload()
    assert [point.step for point in reader.Scalars("metrics/loss")] == list(range(1, 21))
    grow(40)
    (late,) = tensorboard.write(tmp_path / "results/other", out)
    assert sorted(late.parent.iterdir()) == [early, late]
    reader.Reload()
    assert [point.step for point in reader.Scalars("metrics/loss")] == list(range(1, 41))
    assert [point.step for point in reader.Scalars("evaluations/success")] == [0, 10, 20, 30, 40]
    for file in done.iterdir():
        shutil.copyfile(file, growing / file.name)
    (last,) = tensorboard.write(tmp_path / "results/other", out)
    assert sorted(last.parent.iterdir()) == [late, last]
    assert_curves(reader, growing)
    assert_curves(accumulator(last.parent), growing)


def test_runs_without_rows_have_no_file(tmp_path, capsys):
    (tmp_path / "x/runs/baseline/seed-0/state").mkdir(parents=True)
    tensorboard.main([str(tmp_path / "x"), str(tmp_path / "out")])
    assert capsys.readouterr().out.startswith(f"0 runs in {tmp_path / 'out'};")
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_said_in_one_line(experiment, tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as stopped:
        tensorboard.main([str(tmp_path / "gone"), str(tmp_path / "out")])
    assert str(stopped.value) == f"{tmp_path / 'gone'}: no such folder; allowed: results/<experiment>"
    for name in [name for name in sys.modules if "tensorboard" in name.split(".")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(SystemExit, match=r"^tensorboard\S* is not installed; .*\.\[tensorboard\]'$"):
        tensorboard.main([str(experiment), str(tmp_path / "out")])
