"""A task's data on disk: train, test and warm-start puzzles, and a manifest with their checksums."""

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyarrow import parquet

from softmax_rewards.common.files import appearing, sha256, write_manifest
from softmax_rewards.common.terminal import plain
from softmax_rewards.data import tasks

if TYPE_CHECKING:  # a run only reads puzzles, and starts without waiting for pandas
    import pandas as pd

SPLITS = ("train", "test", "warm_start")


def write(task: dict[str, Any], out: Path, public: Path | None = None, fetch: Callable[..., str] | None = None) -> None:
    """Build the task's puzzles into the folder `out`: one parquet file per split, then `manifest.json`.

    `task` is the task's name and options. If they ask for public data, it is read from the folder `public`. If that
    folder has no data, `fetch` (`hub.fetch`) downloads it there. The manifest has the checksums of public data too.

    Raises ValueError (one line) if data cannot be fetched or read. Raises ValueError, naming the puzzle, if a test
    puzzle is also in `train` or `warm_start`.
    """
    module, options = tasks.load(task)
    hub_data = module.public(options)
    # `fetch` is an argument and not an import: otherwise a change of `hub.py` would change every run's fingerprint.
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
    """The first `count` puzzles of one split as dicts; all of them without `count`.

    Raises ValueError (one line with the file) if the file cannot be read or has fewer puzzles.
    """
    file = folder / f"{split}.parquet"
    try:
        with parquet.ParquetFile(file) as table:
            rows = table.read().to_pylist()
    except Exception as error:  # pyarrow raises many kinds of errors on damaged bytes
        reason = plain(" ".join(str(error).split()))
        raise ValueError(f"{file}: not a readable parquet file ({type(error).__name__}: {reason})") from error
    if count is not None and len(rows) < count:
        raise ValueError(f"{file}: {count} puzzles are asked for, the file has {len(rows)}")
    return rows[:count]


def refuse_overlap(
    test: "pd.DataFrame", other: "pd.DataFrame", name: str, identity: Callable[[dict[str, Any]], Hashable]
) -> None:
    """Raise ValueError if a row of `test` has the same `identity` as a row of `other`; it names the first such row."""
    seen = {identity(row) for row in other.to_dict("records")}
    for number, row in enumerate(test.to_dict("records")):
        if identity(row) in seen:
            raise ValueError(
                f"test puzzle in row {number} ({identity(row)}) is also in {name}; allowed: nothing shared by both"
            )
