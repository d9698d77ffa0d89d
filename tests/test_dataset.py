"""Data sets on disk: complete or absent, and never a test puzzle that training may see."""

import hashlib

import pandas as pd
import pytest

from softmax_rewards import dataset, files

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
    test = pd.DataFrame({"nums": [[1, 2, 3], [4, 5, 6]], "target": [6, 15]})
    train = pd.DataFrame({"nums": [[7, 8, 9], [6, 4, 5]], "target": [24, 1]})
    with pytest.raises(ValueError, match=r"test puzzle in row 1 \(nums \[4, 5, 6\]\) overlaps train"):
        dataset.refuse_overlap(test, train, "train")
    dataset.refuse_overlap(test.iloc[:1], train, "train")


def test_asking_for_more_puzzles_than_there_are_is_refused(folder):
    assert len(dataset.read(folder, "test", 30)) == 30
    with pytest.raises(ValueError, match=r"test\.parquet: 31 puzzles are asked for, it holds 30"):
        dataset.read(folder, "test", 31)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    files.write_text("first", tmp_path / "file")
    with pytest.raises(RuntimeError), files.appearing(tmp_path / "file") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert (tmp_path / "file").read_text() == "first"
    with pytest.raises(ValueError, match=r"no readable manifest\.json, the folder is not complete"):
        files.read_manifest(tmp_path)
