"""Downloads, from a stand-in server that speaks the hub's interface."""

from threading import Event

import huggingface_hub.constants
import huggingface_hub.file_download
import pytest
import standin_hub
from standin_hub import COMMIT, Hub, serving

from softmax_rewards.common import hub

REPOSITORY = "Owner/Tiny-Model"
BIG_NAME = "model.safetensors"
BIG = bytes(range(256)) * 4096
FILES = {
    "config.json": b"{}",
    BIG_NAME: BIG,
    "pytorch_model.bin": b"pickle",
    "original/model.safetensors": b"the same in another format",
    "README.md": b"words",
    "chat_template.jinja": b"{{ messages }}",
}
PATTERNS = ("model*.safetensors", "*.json", "*.jinja")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(huggingface_hub.file_download.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)  # another file of tests may have set it
    with serving(Hub(REPOSITORY, dict(FILES))) as standin:
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
        yield standin


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_the_files_that_are_wanted_arrive_and_no_others(server, tmp_path, revision):
    assert hub.fetch(REPOSITORY, revision, PATTERNS, tmp_path) == COMMIT
    assert contents(tmp_path) == {name: FILES[name] for name in ("chat_template.jinja", "config.json", BIG_NAME)}
    asked = {path.rsplit("/", 1)[-1] for _, path, _ in server.requests}
    assert not asked & {"pytorch_model.bin", "README.md"}


def test_a_broken_connection_goes_on_where_it_stopped(server, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", len(BIG) // 8)
    server.breaking = {BIG_NAME}
    hub.fetch(REPOSITORY, "main", PATTERNS, tmp_path)
    assert (tmp_path / BIG_NAME).read_bytes() == BIG
    ranges = [wanted for method, path, wanted in server.requests if method == "GET" and path.endswith(BIG_NAME)]
    assert ranges == [None, f"bytes={len(BIG) // 2}-"]


def test_a_new_call_keeps_the_files_that_are_whole(server, tmp_path, monkeypatch):
    small = {"config.json", "chat_template.jinja"}
    get = huggingface_hub.file_download.http_get

    def fails_at_last(url, *arguments, **options):
        while url.endswith(BIG_NAME) and not small <= set(contents(tmp_path)):
            Event().wait(0.01)
        if url.endswith(BIG_NAME):
            raise OSError("the network is gone")
        get(url, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub.file_download, "http_get", fails_at_last)
        with pytest.raises(ValueError, match=r"cannot be fetched \(OSError: the network is gone\)"):
            hub.fetch(REPOSITORY, "main", PATTERNS, tmp_path)
    assert BIG_NAME not in contents(tmp_path)
    server.requests.clear()
    hub.fetch(REPOSITORY, "main", PATTERNS, tmp_path)
    got = [path.rsplit("/", 1)[-1] for method, path, _ in server.requests if method == "GET" and "/resolve/" in path]
    assert got == [BIG_NAME]
    assert set(contents(tmp_path)) == {*small, BIG_NAME}


def test_finished_files_are_not_fetched_again(server, tmp_path):
    hub.fetch(REPOSITORY, "main", PATTERNS, tmp_path)
    server.requests.clear()
    hub.fetch(REPOSITORY, "main", PATTERNS, tmp_path)
    assert not [path for method, path, _ in server.requests if method == "GET" and path.endswith(BIG_NAME)]
    (tmp_path / BIG_NAME).write_bytes(b"damaged")
    hub.fetch(REPOSITORY, "main", PATTERNS, tmp_path)
    assert (tmp_path / BIG_NAME).read_bytes() == BIG


def test_files_of_an_earlier_commit_do_not_stay(server, tmp_path):
    for name in ("model.safetensors.index.json", "model-00001-of-00002.safetensors", "notes.txt"):
        (tmp_path / name).write_text("old")
    hub.fetch(REPOSITORY, "main", PATTERNS, tmp_path)
    assert set(contents(tmp_path)) == {"chat_template.jinja", "config.json", BIG_NAME, "notes.txt"}


def test_a_data_sets_files_may_lie_in_folders(tmp_path, monkeypatch):
    files = {"data/train-00000-of-00001.parquet": b"rows", "README.md": b"words"}
    with serving(Hub("Owner/Puzzles", files, kind="datasets")) as standin:
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
        assert hub.fetch("Owner/Puzzles", "main", ["*.parquet"], tmp_path, kind="dataset") == COMMIT
    assert contents(tmp_path) == {"data/train-00000-of-00001.parquet": b"rows"}


@pytest.mark.parametrize("name", [BIG_NAME, "config.json"])
def test_a_damaged_file_is_fetched_again_and_refused_if_it_stays_damaged(server, tmp_path, name):
    server.flipping = {name: 1}
    hub.fetch(REPOSITORY, "main", PATTERNS, tmp_path)
    assert (tmp_path / name).read_bytes() == FILES[name]
    (tmp_path / name).unlink()
    server.flipping = {name: 2}
    with pytest.raises(
        ValueError, match=rf"cannot be fetched \({name} arrived damaged 2 times\); by hand: put"
    ) as error:
        hub.fetch(REPOSITORY, "main", PATTERNS, tmp_path)
    assert "\n" not in str(error.value)
    assert name not in contents(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["data/../../outside.parquet", "/data/outside.parquet", "data/\x1b]0;title\x07.parquet", "data/a\nb.parquet"],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, monkeypatch, name):
    with serving(Hub("Owner/Puzzles", {name: b"rows"}, kind="datasets")) as standin:
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
        with pytest.raises(ValueError, match=r"the hub names a file '.*'; allowed: names below the folder") as error:
            hub.fetch("Owner/Puzzles", "main", ["*.parquet"], tmp_path / "out", kind="dataset")
    assert str(error.value).isprintable()
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_file_without_a_checksum_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(standin_hub, "checksum", lambda content: {})
    with pytest.raises(ValueError, match=r"the hub gives no checksum of model\.safetensors"):
        hub.fetch(REPOSITORY, "main", [BIG_NAME], tmp_path)
    assert not contents(tmp_path)


@pytest.mark.parametrize(
    ("repository", "revision", "patterns", "said"),
    [
        (REPOSITORY, "v9", PATTERNS, "Owner/Tiny-Model at v9 cannot be fetched (RevisionNotFoundError: "),
        ("Owner/Other", "main", PATTERNS, "Owner/Other at main cannot be fetched (RepositoryNotFoundError: "),
        (REPOSITORY, "main", ["*.gguf"], "at main cannot be fetched (it has no such files); by hand: put *.gguf of it"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(server, tmp_path, repository, revision, patterns, said):
    with pytest.raises(ValueError) as error:
        hub.fetch(repository, revision, patterns, tmp_path)
    assert said in str(error.value)
    assert str(error.value).endswith(f"by hand: put {', '.join(patterns)} of it into {tmp_path}")
    assert "\n" not in str(error.value)
    assert not contents(tmp_path)


@pytest.mark.parametrize("beside", [False, True])
def test_an_unreachable_hub_is_said_in_one_line(tmp_path, monkeypatch, beside):
    if beside:  # huggingface_hub would take any folder with something in it for the whole
        (tmp_path / "config.json").write_text("{}")
    with serving(Hub(REPOSITORY, FILES)) as standin:
        url = standin.url
    monkeypatch.setenv("HF_ENDPOINT", url)
    with pytest.raises(ValueError, match=r"Tiny-Model at main cannot be fetched \(\w+Error: .*; by hand: put model\*"):
        hub.fetch(REPOSITORY, "main", PATTERNS, tmp_path)
