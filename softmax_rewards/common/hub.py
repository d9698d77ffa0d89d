"""The Hugging Face hub: files of a repository at one commit, straight into a folder."""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from softmax_rewards.common.files import sha256
from softmax_rewards.common.terminal import plain

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

ATTEMPTS = 2  # to download a file that arrives damaged


def fetch(
    repository: str,
    revision: str,
    patterns: Sequence[str],
    out: Path,
    kind: Literal["model", "dataset"] = "model",
) -> str:
    """Download the files of `repository` that match `patterns` into `out`; returns the commit they are from.

    `revision` is a branch, a tag or a commit. A new call keeps whole files and continues broken ones. It deletes files
    at the top of `out` that match but belong to an earlier commit. Of a model only files at the top count, because its
    folders hold other formats. Every file is compared with the hub's own checksum; a damaged one is deleted and fetched
    once more. `HF_ENDPOINT`, `HF_TOKEN` and the other variables of `huggingface_hub` apply.

    Raises ValueError, one line that says what to do by hand: if the hub cannot be reached, if it has no such files, if
    a file has no checksum or a name that leads out of `out`, or if a file is damaged twice.
    """
    from huggingface_hub.utils import filter_repo_objects

    try:
        commit, files = _matching(repository, revision, patterns, kind)
        damaged = _download(repository, commit, files, out, kind)
    except Exception as error:  # errors of several libraries, of the network and of the disk
        reason = plain(f"{type(error).__name__}: {' '.join(str(error).split())}")
        raise ValueError(_advice(repository, revision, patterns, out, reason)) from error
    missing = [name for name in files if not (out / name).is_file()]
    if missing or not files:
        how = f"arrived damaged {ATTEMPTS} times" if set(missing) == set(damaged) else "did not arrive"
        reason = f"{', '.join(missing)} {how}" if files else "it has no such files"
        raise ValueError(_advice(repository, revision, patterns, out, reason))
    here = [path.name for path in out.iterdir() if path.is_file()]
    for name in filter_repo_objects(here, allow_patterns=list(patterns)):
        if name not in files:
            (out / name).unlink()
    shutil.rmtree(out / ".cache", ignore_errors=True)  # where huggingface_hub keeps notes on the download
    return commit


def _matching(
    repository: str, revision: str, patterns: Sequence[str], kind: Literal["model", "dataset"]
) -> tuple[str, dict[str, "RepoSibling"]]:
    """The commit that `revision` names, and its files that match, by name. ValueError for an unsafe name."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    ignored = ["*/*"] if kind == "model" else None
    api = HfApi(_endpoint())
    info = api.model_info if kind == "model" else api.dataset_info
    listing = info(repository, revision=revision, files_metadata=True)
    files = {file.rfilename: file for file in listing.siblings or []}
    names = list(filter_repo_objects(files, allow_patterns=list(patterns), ignore_patterns=ignored))
    for name in names:
        _refuse_unsafe(files[name])
    return listing.sha or revision, {name: files[name] for name in names}


def _download(
    repository: str, commit: str, files: Mapping[str, "RepoSibling"], out: Path, kind: Literal["model", "dataset"]
) -> list[str]:
    """Download `files` into `out`, damaged ones once more. Returns those that are still damaged; they are deleted."""
    from huggingface_hub import snapshot_download

    names = damaged = list(files)
    for _ in range(ATTEMPTS):
        if not damaged:
            break
        snapshot_download(
            repository, repo_type=kind, revision=commit, local_dir=out, allow_patterns=names, endpoint=_endpoint()
        )
        damaged = [name for name in names if (out / name).is_file() and not _is_whole(out / name, files[name])]
        for name in damaged:
            (out / name).unlink()
    return damaged


def _endpoint() -> str | None:
    """The hub's address as it is set now; huggingface_hub itself reads it only once, when it is imported."""
    return os.environ.get("HF_ENDPOINT")


def _refuse_unsafe(file: "RepoSibling") -> None:
    """Raise ValueError for a name that leads out of the folder or steers a terminal, and for a missing checksum."""
    path = PurePosixPath(file.rfilename)
    if path.is_absolute() or ".." in path.parts or not file.rfilename.isprintable():
        raise ValueError(f"the hub names a file {file.rfilename!r}; allowed: names below the folder")
    if file.lfs is None and file.blob_id is None:
        raise ValueError(f"the hub gives no checksum of {file.rfilename}")


def _is_whole(path: Path, file: "RepoSibling") -> bool:
    """Whether `path` has the hub's checksum: sha256 for a large file, git's for a small one."""
    if file.lfs is not None:
        return path.stat().st_size == file.lfs.size and sha256(path) == file.lfs.sha256
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == file.blob_id


def _advice(repository: str, revision: str, patterns: Sequence[str], out: Path, reason: str) -> str:
    files = ", ".join(patterns)
    return f"{repository} at {revision} cannot be fetched ({reason}); by hand: put {files} of it into {out}"
