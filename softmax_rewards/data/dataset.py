"""The data of a task on disk: train, test and warm-start puzzles with a manifest of their checksums."""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import pandas as pd

from softmax_rewards.data import tasks
from softmax_rewards.common.files import appearing, sha256, write_manifest
from softmax_rewards.common.terminal import plain

SPLITS = ("train", "test", "warm_start")


def write(task: dict[str, Any], out: Path, public: Path | None = None, fetch: Callable[..., str] | None = None) -> None:
    """Build the task's puzzles into the folder `out`: one parquet file per split, then `manifest.json`.

    `task` is the task's name and options. If these ask for public data, it is read from the folder `public`. If
    that folder has none, `fetch` downloads it there: `hub.fetch`, passed in so that a change of it changes no run's
    fingerprint. The manifest has the checksum of public data, whether downloaded or copied by hand.
    Raises ValueError, one line, if data cannot be fetched or read, or if a test puzzle, which the line names, is
    also in `train` or `warm_start`.
    """
    module, options = tasks.load(task)
    hub_data = module.public(options)
    if hub_data and public and fetch and not tasks.data_files(public):
        public.mkdir(parents=True, exist_ok=True)
        fetch(hub_data.repository, hub_data.revision, hub_data.patterns, public, kind="dataset")
    splits = module.build(options, public)
    for name in ("train", "warm_start"):
        refuse_overlap(splits["test"], splits[name], name, module.identity)
    for name in SPLITS:
        with appearing(out / f"{name}.parquet") as partial:
            splits[name].to_parquet(partial, index=False)
    facts: dict[str, Any] = {"task": task, "puzzles": {name: len(splits[name]) for name in SPLITS}}
    if hub_data and public:
        facts["public"] = {file.relative_to(public).as_posix(): sha256(file) for file in tasks.data_files(public)}
    write_manifest(out, [f"{name}.parquet" for name in SPLITS], **facts)


def read(folder: Path, split: str, count: int | None = None) -> list[dict[str, Any]]:
    """The puzzles of one split as dicts, the first `count` of them.

    Raises ValueError, in one line that names the file, if it cannot be read or holds fewer.
    """
    file = folder / f"{split}.parquet"
    try:
        rows = pd.read_parquet(file).to_dict("records")
    except Exception as error:  # damaged bytes become whatever error pyarrow or pandas meets first
        reason = plain(" ".join(str(error).split()))
        raise ValueError(f"{file}: not a readable parquet file ({type(error).__name__}: {reason})") from error
    if count is not None and len(rows) < count:
        raise ValueError(f"{file}: {count} puzzles are asked for, it holds {len(rows)}")
    return rows[:count]


def refuse_overlap(
    test: pd.DataFrame, other: pd.DataFrame, name: str, identity: Callable[[dict[str, Any]], Hashable]
) -> None:
    """Raise ValueError naming the first row of `test` whose `identity` a row of `other` shares."""
    seen = {identity(row) for row in other.to_dict("records")}
    for number, row in enumerate(test.to_dict("records")):
        if identity(row) in seen:
            raise ValueError(
                f"test puzzle in row {number} ({identity(row)}) is also in {name}; allowed: nothing shared by both"
            )
