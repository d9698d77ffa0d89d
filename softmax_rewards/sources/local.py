"""`local`: a model in a folder of this machine, in the Hugging Face layout.

The weights are linked rather than copied where the file system allows it. What the folder holds is taken once: a
model that changed needs a folder of another name.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softmax_rewards.sources import Template, _folder
from softmax_rewards.warm_start import NONE, WarmStart


@dataclass(frozen=True)
class Options:
    """Where the model is, and how it is used."""

    path: str  # relative to the folder that the pipeline runs in
    template: Template = "auto"
    warm_start: WarmStart = NONE


def make(options: Options, task: dict[str, Any], data: Path, out: Path) -> dict[str, Any]:
    """Take the model's files over into `out`; ValueError names a folder or a file that is missing."""
    folder = Path(options.path)
    if not folder.is_dir():
        raise ValueError(f"model.path: {folder} is no folder; allowed: one with {', '.join(_folder.PATTERNS)}")
    _folder.refuse_incomplete(folder, f"model.path: {folder}")
    names = {file.name for pattern in _folder.PATTERNS for file in folder.glob(pattern)}
    others = {name for name in names if not name.endswith(".safetensors")} - {"manifest.json"}
    for name in sorted(others.union(_folder.weights(folder))):
        take_over(folder / name, out / name)
    return {}


def take_over(source: Path, target: Path) -> None:
    """Make `target` the same file as `source` by a hard link, or a copy of it where they lie on different disks."""
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)  # the file itself: in a hub's cache `source` is a symbolic link
    except OSError:
        shutil.copyfile(source, target)
