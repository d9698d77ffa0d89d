"""What belongs to a model folder: weights in safetensors, and the small files beside them."""

import json
from pathlib import Path

PATTERNS = ("model*.safetensors", "*.json", "*.jinja")
"""Files that a pretrained model needs here: no pickled weights, no second copy of them in another format."""

NEEDED = ("config.json", "tokenizer.json")


def weights(folder: Path) -> list[str]:
    """Names of the files with the weights: those that the index lists, or else the only one."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return ["model.safetensors"]
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (json.JSONDecodeError, KeyError) as error:
        raise ValueError(f"{index}: not a readable index of safetensors files ({error!r})") from error


def refuse_incomplete(folder: Path, where: str) -> None:
    """Raise ValueError that begins with `where` and names every file that `folder` lacks."""
    missing = [name for name in (*NEEDED, *weights(folder)) if not (folder / name).is_file()]
    if missing:
        needed = ", ".join((*NEEDED, "model.safetensors or its shards"))
        raise ValueError(f"{where}: {', '.join(missing)} missing; needed: {needed}")
