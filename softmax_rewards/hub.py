"""The Hugging Face hub: files of a repository at one commit, straight into a folder."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal


def fetch(
    repository: str,
    revision: str,
    patterns: Sequence[str],
    out: Path,
    kind: Literal["model", "dataset"] = "model",
) -> str:
    """Download the files of `repository` that match `patterns` into `out`; returns the commit they are from.

    `revision` is a branch, a tag or a commit. After a broken connection a file goes on where it stopped; a new call
    keeps the files that are whole, and deletes those at the top of `out` that match too but are of an earlier
    commit. Of a model only files at the top count, those in folders are other formats.
    `HF_ENDPOINT`, `HF_TOKEN` and the other variables of `huggingface_hub` hold.

    Raises ValueError in one line, with what to do by hand, if the hub cannot be reached or has no such files.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils import filter_repo_objects

    ignored = ["*/*"] if kind == "model" else None
    endpoint = os.environ.get("HF_ENDPOINT")  # as it is now: huggingface_hub looks once, when it is imported
    try:
        found = HfApi(endpoint).repo_info(repository, repo_type=kind, revision=revision)
        every = [file.rfilename for file in found.siblings]
        names = list(filter_repo_objects(every, allow_patterns=list(patterns), ignore_patterns=ignored))
        if names:
            snapshot_download(
                repository,
                repo_type=kind,
                revision=found.sha,
                local_dir=out,
                allow_patterns=names,
                endpoint=endpoint,
            )
    except Exception as error:  # of several libraries, below which lie the network's and the disk's
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(_advice(repository, revision, patterns, out, reason)) from error
    missing = [name for name in names if not (out / name).is_file()]
    if missing or not names:
        reason = f"{', '.join(missing)} did not arrive" if names else "it has no such files"
        raise ValueError(_advice(repository, revision, patterns, out, reason))
    here = [path.name for path in out.iterdir() if path.is_file()]
    for name in filter_repo_objects(here, allow_patterns=list(patterns)):
        if name not in names:
            (out / name).unlink()
    shutil.rmtree(out / ".cache", ignore_errors=True)  # huggingface_hub's notes on the download
    return found.sha


def _advice(repository: str, revision: str, patterns: Sequence[str], out: Path, reason: str) -> str:
    wanted = ", ".join(patterns)
    return f"{repository} at {revision} cannot be fetched ({reason}); by hand: put {wanted} of it into {out}"
