"""The cache of parsed sources: what makes an entry invalid, and a cache that cannot be used."""

import json

import pytest

from softmax_rewards.common import source_cache


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "module.py"
    file.write_text("VALUE = 1\n")
    return file


@pytest.fixture
def calls():
    return []


@pytest.fixture
def cached(source, calls):
    """A function that looks up a result, which is the number of computations so far."""

    def look_up(version="1"):
        def compute():
            calls.append(version)
            return {"count": len(calls)}

        return source_cache.cached(source, version, compute)["count"]

    return look_up


def test_a_result_is_kept_until_the_source_or_the_version_changes(source, cached):
    assert (cached(), cached()) == (1, 1)
    source.write_text("VALUE = 2\n")
    assert (cached(), cached()) == (2, 2)
    assert (cached("2"), cached("2")) == (3, 3)
    assert len(list((source.parent / "__pycache__").iterdir())) == 1


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"key": ', json.dumps({"key": "other", "value": {"count": 9}})])
def test_a_damaged_entry_is_computed_again(source, cached, damage):
    assert cached() == 1
    (entry,) = (source.parent / "__pycache__").iterdir()
    entry.write_text(damage)
    assert (cached(), cached()) == (2, 2)


def test_a_cache_that_cannot_be_written_is_ignored(source, cached):
    (source.parent / "__pycache__").write_text("a file in its place")
    assert (cached(), cached()) == (1, 2)
