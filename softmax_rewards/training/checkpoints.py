"""Checkpoints of a run while it is under way: folders `checkpoint-<updates>`, each with the checksums of its files.

<kind>.safetensors        the engine's state, one file per kind of tensor
state.json                what else the run needs to continue
manifest.json             the sha256 of these, written last
"""

import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import safe_open

from softmax_rewards.common.files import read_json, verified_manifest, write_json, write_manifest, writing
from softmax_rewards.models import checkpoint
from softmax_rewards.policy.engine import Engine

PREFIX = "checkpoint-"


def newest_first(state: Path) -> list[Path]:
    """The checkpoints in a run's folder `state`, whole or damaged."""
    return sorted(state.glob(f"{PREFIX}*"), reverse=True)


def steps(folder: Path) -> int:
    """Updates done at a checkpoint."""
    return int(folder.name.removeprefix(PREFIX))


def write(state: Path, step: int, engine: Engine, facts: dict[str, Any]) -> None:
    """Save the state of the engine and `facts` after `step` updates.

    Raises NotWritten if the disk does not take it, and then leaves nothing behind.
    """
    partial = _emptied(state)
    with writing(state):
        try:
            partial.mkdir()
            names = ["state.json"]
            for kind, values in engine.state():  # one by one, because memory may only have room for one kind
                names.append(f"{kind}.safetensors")
                checkpoint.write_tensors(values, partial / names[-1])
                del values  # before those of the next kind are made
            write_json(facts, partial / "state.json")
            write_manifest(partial, names)
            os.rename(partial, state / f"{PREFIX}{step:08d}")
        except BaseException:
            _emptied(state)
            raise


def read(folder: Path) -> dict[str, Any]:
    """Verify the whole folder and return the facts in `state.json`; raises ValueError, which names a damaged file."""
    verified_manifest(folder)
    return read_json(folder / "state.json")


def expect(facts: dict[str, Any], identity: str, folder: Path) -> None:
    """Raise ValueError if a checkpoint's `facts` belong to a run with another `identity`."""
    if facts.get("identity") != identity:
        raise ValueError(f"{folder} is of other code, data or settings")


def load(folder: Path, engine: Engine) -> None:
    """Load the tensors of a checkpoint that `read` has verified."""
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a mapping)
                engine.load(file.stem, name, tensors.get_tensor(name))


def discard(folder: Path) -> None:
    """Delete a checkpoint. It is renamed first, so that a half deleted one is never read."""
    os.rename(folder, _emptied(folder.parent))
    _emptied(folder.parent)


def _emptied(state: Path) -> Path:
    """The path for a checkpoint that is being written or deleted. What was there before is deleted."""
    partial = state / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    return partial
