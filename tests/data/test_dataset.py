"""Data sets on disk: complete or absent, and never a test puzzle that training may see."""

import contextlib
import hashlib
import inspect
import pickle
from pathlib import Path

import pandas as pd
import pyarrow
import pytest
from pyarrow import parquet

from softmax_rewards.common import files, hub, plugins, provenance, table_files
from softmax_rewards.data import dataset
from softmax_rewards.data.tasks import countdown

TASK = {"name": "countdown", "train": 50, "warm_start": 40, "test": 30}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "countdown"
    dataset.write(TASK, out)
    return out


def test_the_manifest_tells_what_was_written(folder):
    manifest = files.read_manifest(folder)
    assert manifest["puzzles"] == {"train": 50, "test": 30, "warm_start": 40}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert not list(folder.glob(".*partial"))


def test_the_same_task_gives_the_same_bytes_and_another_seed_others(folder, tmp_path):
    dataset.write(TASK, tmp_path / "again")
    dataset.write(TASK | {"seed": 1}, tmp_path / "other")
    assert files.read_manifest(tmp_path / "again") == files.read_manifest(folder)
    assert files.read_manifest(tmp_path / "other")["sha256"] != files.read_manifest(folder)["sha256"]


def test_no_multiset_of_numbers_is_on_both_sides(folder):
    seen = {tuple(sorted(row["nums"])) for split in ("train", "warm_start") for row in dataset.read(folder, split)}
    assert not seen & {tuple(sorted(row["nums"])) for row in dataset.read(folder, "test")}


def test_overlapping_puzzles_are_refused_by_row():
    test = pd.DataFrame({"question": ["a", "b"], "answer": [1, 2]})
    train = pd.DataFrame({"question": ["c", "B"], "answer": [3, 4]})
    with pytest.raises(ValueError, match=r"^test puzzle in row 1 \(b\) is also in train; allowed: nothing shared"):
        dataset.refuse_overlap(test, train, "train", lambda row: row["question"].lower())
    dataset.refuse_overlap(test, train, "train", lambda row: row["question"])


def test_a_task_that_shares_puzzles_between_splits_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(countdown, "identity", lambda row: len(row["nums"]))
    with pytest.raises(ValueError, match=r"test puzzle in row 0 \(3\) is also in train"):
        dataset.write(TASK, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- Public data ----------------------------------------------------------------------------------

PUBLIC = {"name": "countdown", "source": "public", "operators": "+-*/", "train": 20, "warm_start": 20, "test": 5}


class Hub:
    """Stands in for `hub.fetch`; remembers what it was asked for."""

    def __init__(self):
        self.calls = []

    def fetch(self, repository, revision, patterns, out, kind="model"):
        self.calls.append((repository, revision, tuple(patterns), kind))
        (out / "data").mkdir(parents=True)
        rows = [{"target": a + b - c, "nums": [a, b, c]} for a in range(20, 40) for b in (7, 9) for c in (3, 5)]
        rows += [{"target": a + b, "nums": [a, 99, b, 99]} for a in range(20, 40) for b in (1, 2, 3, 4)]
        pd.DataFrame(rows).to_parquet(out / "data" / "train-00000-of-00001.parquet")
        return revision


def test_public_data_are_fetched_once(tmp_path):
    hub = Hub()
    for out in ("first", "again"):
        dataset.write(PUBLIC, tmp_path / out, tmp_path / "public" / "countdown", hub.fetch)
    wanted = countdown.public(countdown.Options(source="public"))
    assert hub.calls == [(wanted.repository, wanted.revision, wanted.patterns, "dataset")]
    assert files.read_manifest(tmp_path / "first") == files.read_manifest(tmp_path / "again")
    assert {len(row["nums"]) for row in dataset.read(tmp_path / "first", "train")} == {3, 4}


def test_a_public_file_put_there_by_hand_serves_and_its_checksum_is_kept(tmp_path):
    file = tmp_path / "public" / "mine.jsonl"
    file.parent.mkdir()
    file.write_text(
        "".join(f'{{"target": {a + b + 1}, "nums": [{a}, {b}, 1]}}\n' for a in range(2, 9) for b in range(9)[1:])
    )
    hub = Hub()
    dataset.write(PUBLIC, tmp_path / "out", file.parent, hub.fetch)
    assert not hub.calls
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert files.read_manifest(tmp_path / "out")["public"] == {"mine.jsonl": digest}


def test_generated_puzzles_fetch_nothing(tmp_path):
    hub = Hub()
    dataset.write(TASK, tmp_path / "out", tmp_path / "public", hub.fetch)
    assert not hub.calls
    assert not (tmp_path / "public").exists()
    assert "public" not in files.read_manifest(tmp_path / "out")


def test_what_cannot_be_fetched_is_said_in_one_line(tmp_path):
    def offline(*_, **__):
        raise ValueError("cannot be fetched; by hand: put data/*.parquet of it into data/public/countdown")

    with pytest.raises(ValueError, match=r"^cannot be fetched; by hand"):
        dataset.write(PUBLIC, tmp_path / "out", tmp_path / "public", offline)
    with pytest.raises(ValueError, match=r"needs one \.parquet or \.jsonl file below .*public, found 0"):
        dataset.write(PUBLIC, tmp_path / "out", tmp_path / "public")
    assert not (tmp_path / "out").exists()


def test_the_hub_takes_what_is_asked_of_it():
    given = inspect.signature(hub.fetch).bind("a/b", "main", ("*.parquet",), None, kind="dataset")
    assert list(given.arguments) == ["repository", "revision", "patterns", "out", "kind"]


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"not parquet\n\x1b]0;title\x07", None])
def test_a_split_that_cannot_be_read_is_named_in_one_line(folder, tmp_path, damage):
    file = tmp_path / "test.parquet"
    whole = (folder / "test.parquet").read_bytes()
    file.write_bytes(whole[:4] + bytes(40) + whole[44:] if damage is None else damage)
    with pytest.raises(ValueError, match=r"test\.parquet: not a readable parquet file \(") as error:
        dataset.read(tmp_path, "test")
    assert str(error.value).isprintable()
    file.unlink()
    with pytest.raises(ValueError, match=r"test\.parquet: not a readable parquet file \(FileNotFoundError: "):
        dataset.read(tmp_path, "test")


class Touch:
    """A pickle that makes a file when it is read."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_pickles_within_a_parquet_file_are_not_run(tmp_path):
    evil = pickle.dumps(Touch(tmp_path / "made"))
    extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": evil}
    for name, metadata, frame in (
        ("field", extension, {b"pandas": b"{}"}),
        ("schema", {}, {b"pandas": evil, b"pickle": evil}),
    ):
        schema = pyarrow.schema([pyarrow.field("a", pyarrow.int64(), metadata=metadata)], metadata=frame)
        parquet.write_table(pyarrow.table({"a": [1]}, schema=schema), tmp_path / f"{name}.parquet")
        for read in (lambda name=name: dataset.read(tmp_path, name), lambda name=name: rows(tmp_path, name)):
            with contextlib.suppress(ValueError):
                assert read() == [{"a": 1}]
            assert not (tmp_path / "made").exists()


def rows(folder, name):
    return [row for _, row in table_files.rows(folder / f"{name}.parquet")]


def test_asking_for_more_puzzles_than_there_are_is_refused(folder):
    assert len(dataset.read(folder, "test", 30)) == 30
    with pytest.raises(ValueError, match=r"test\.parquet: 31 puzzles are asked for, the file has 30"):
        dataset.read(folder, "test", 31)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    files.write_text("first", tmp_path / "file")
    with pytest.raises(RuntimeError), files.appearing(tmp_path / "file") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert (tmp_path / "file").read_text() == "first"
    with pytest.raises(ValueError, match=r"no readable manifest\.json, the folder is not complete"):
        files.read_manifest(tmp_path)


def test_the_code_of_a_task_includes_its_private_parts():
    entry = Path(dataset.__file__)
    parts = {
        task: {name.rpartition(".")[2] for name in provenance.closure(entry, [f"{plugins.TASKS}.{task}"])}
        for task in plugins.names(plugins.TASKS)
    }
    private = {file.stem for file in Path(countdown.__file__).parent.glob("_[a-z]*.py")}
    assert {name for name in private if name.startswith("_countdown")} < parts["countdown"]
    assert private <= set().union(*parts.values()), "none that no task uses"
    assert all("hub" not in names for names in parts.values()), "how files are fetched concerns no trained run"
