"""Checkpoints of a run while it is under way: folders `checkpoint-<updates>`, each with the checksums of its files.

<kind>.safetensors        a kind of tensor of the engine's state
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
    """Save the state of the engine and `facts` after `step` updates; if it cannot, raise NotWritten and leave
    nothing."""
    partial = _emptied(state)
    with writing(state):
        try:
            partial.mkdir()
            names = ["state.json"]
            for kind, values in engine.state():  # one file per kind: the host holds one kind at a time
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
    """The facts in `state.json`, after the whole folder is verified; ValueError names a damaged file."""
    verified_manifest(folder)
    return read_json(folder / "state.json")


def expect(facts: dict[str, Any], identity: str, folder: Path) -> None:
    """Raise ValueError if a checkpoint's `facts` are not those of a run with this `identity`."""
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
    """The path for a checkpoint that is not whole yet, or no longer. What was there is deleted."""
    partial = state / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    return partial
