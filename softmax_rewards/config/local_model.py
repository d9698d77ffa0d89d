"""The folder of a local model, looked at when a config is checked: can a run load what lies there?

Only names, `config.json` and the first bytes of weights are read, so neither torch nor much time is needed. Making the
base model (`models/model_folder.py`) checks the rest, tensor by tensor.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from softmax_rewards.common.files import read_json
from softmax_rewards.common.option_errors import ConfigError
from softmax_rewards.models.shape import Shape

NEEDED = ("config.json", "tokenizer.json")  # as in `models/model_folder.py`
WEIGHTS = "*.safetensors"
ALLOWED = f"a folder with {', '.join(NEEDED)} and model{WEIGHTS} (docs/models.md)"
POINTER = b"version https://git-lfs"  # the beginning of the small text that git keeps instead of a large file


class Kind(NamedTuple):
    """What a folder may hold instead of weights that can be loaded, the names that show it, and what to do."""

    what: str
    names: tuple[str, ...]
    remedy: str


SAVE = "load it with transformers and write it with save_pretrained"
ORIGINAL = "take the model that it was made from"
KINDS = (  # the first one with a name in the folder counts, so those with special names come first
    Kind("a LoRA adapter", ("adapter_config.json", "adapter_model.*"), "merge it into its base model and save that"),
    Kind("weights for llama.cpp", ("*.gguf",), f"{ORIGINAL}, or {SAVE}"),
    Kind("weights for MLX", ("*.npz",), ORIGINAL),
    Kind("a sharded checkpoint", ("*.distcp", "*_rank_*.pt"), "merge the shards with the tool of that trainer"),
    Kind("pickled weights", ("pytorch_model*", "consolidated*.pth", "model*.pt", "model*.pth"), SAVE),
    Kind("weights of another framework", ("*.h5", "*.msgpack", "*.onnx"), SAVE),
    Kind("commits of the hub's cache", ("snapshots",), "name the folder of one of them, snapshots/<commit>"),
    Kind("checkpoints of a trainer", ("checkpoint-*", "global_step*"), "name the folder of one model among them"),
)


def check(folder: Path) -> None:
    """Raise ConfigError, one line with what to do, unless `folder` looks like a model that a run can load."""
    if (found := problem(folder)) is not None:
        raise ConfigError(f"model.path: {found}")
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    missing += [] if _weights(folder) else [f"model{WEIGHTS}"]
    if missing:
        how = f"; for the tokenizer: {SAVE}" if "tokenizer.json" in missing else ""
        raise ConfigError(f"model.path: {folder}: {', '.join(missing)} missing{how}; allowed: {ALLOWED}")
    try:
        Shape.from_config(read_json(folder / "config.json"))
    except ValueError as error:
        raise ConfigError(f"model.path: {folder}: {error}") from None


def problem(folder: Path) -> str | None:
    """What `folder` holds instead of a model's weights, and what to do about it; None if nothing of that kind."""
    found = _other_kind(folder)
    return f"{found}; allowed: {ALLOWED}" if found is not None else None


def _other_kind(folder: Path) -> str | None:
    if folder.is_file():
        return f"{folder} is one file; name the folder of a whole model"
    weights = _weights(folder)
    for file in weights:
        with file.open("rb") as stream:
            if stream.read(len(POINTER)) == POINTER:
                return f"{file} is a pointer of git-lfs, without weights; call `git lfs pull` there"
    if weights:
        return _quantized(folder)
    for kind in KINDS:
        if (name := _first(folder, kind.names)) is not None:
            return f"{folder} holds {kind.what} ({name}); {kind.remedy}"
    return None


def _quantized(folder: Path) -> str | None:
    """What `config.json` says about quantized weights."""
    file = folder / "config.json"
    config: dict[str, Any] = read_json(file) if file.is_file() else {}
    for key, maker in (("quantization_config", "transformers"), ("quantization", "MLX")):
        if config.get(key):
            return f"{folder} holds weights quantized for {maker} (config.json: {key}); {ORIGINAL}"
    return None


def _weights(folder: Path) -> list[Path]:
    """The safetensors files, without those of an adapter."""
    return [file for file in sorted(folder.glob(WEIGHTS)) if file.is_file() and not file.name.startswith("adapter")]


def _first(folder: Path, patterns: Iterable[str]) -> str | None:
    return next((path.name for pattern in patterns for path in sorted(folder.glob(pattern))), None)
