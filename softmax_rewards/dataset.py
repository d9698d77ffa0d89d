"""The data of a task on disk: train, test and warm-start puzzles with a manifest of their checksums."""

from pathlib import Path
from typing import Any

import pandas as pd

from softmax_rewards import tasks
from softmax_rewards.files import appearing, write_manifest

SPLITS = ("train", "test", "warm_start")


def write(task: dict[str, Any], out: Path, source: Path | None = None) -> None:
    """Build the task's puzzles into the folder `out`: one parquet file a split and `manifest.json`, written last.

    `task` is the task's name and options; `source` a folder that may hold its public data. Raises ValueError
    naming the puzzle if a test puzzle is also in `train` or `warm_start`.
    """
    module, options = tasks.load(task)
    splits = module.build(options, source)
    for name in ("train", "warm_start"):
        refuse_overlap(splits["test"], splits[name], name)
    for name in SPLITS:
        with appearing(out / f"{name}.parquet") as partial:
            splits[name].to_parquet(partial, index=False)
    counts = {name: len(splits[name]) for name in SPLITS}
    write_manifest(out, [f"{name}.parquet" for name in SPLITS], task=task, puzzles=counts)


def read(folder: Path, split: str, count: int | None = None) -> list[dict[str, Any]]:
    """The puzzles of one split as dicts, the first `count` of them; raises ValueError if there are fewer."""
    file = folder / f"{split}.parquet"
    rows = pd.read_parquet(file).to_dict("records")
    if count is not None and len(rows) < count:
        raise ValueError(f"{file}: {count} puzzles are asked for, it holds {len(rows)}")
    return rows[:count]


def refuse_overlap(test: pd.DataFrame, other: pd.DataFrame, name: str) -> None:
    """Raise ValueError naming the first multiset of numbers that both `test` and `other` contain."""
    seen = {tuple(sorted(nums)) for nums in other["nums"]}
    for row, nums in enumerate(test["nums"]):
        if tuple(sorted(nums)) in seen:
            raise ValueError(
                f"test puzzle in row {row} (nums {sorted(nums)}) overlaps {name}: no multiset of numbers may be in both"
            )
