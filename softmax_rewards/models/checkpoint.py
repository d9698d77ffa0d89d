"""Checkpoints in the Hugging Face layout: a folder with `config.json`, `model.safetensors`, `tokenizer.json`.

Only safetensors is read: no pickle, nothing in a checkpoint can execute. Both directions go through
one list of names, so that what is saved is what is loaded.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from softmax_rewards.files import appearing, write_json
from softmax_rewards.models.decoder import Decoder, Shape


def pick_device(wanted: str) -> str:
    """`auto` is the first GPU if there is one, else the CPU; anything else is taken as it is."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted


def device_name(device: torch.device) -> str:
    """The device as a report names it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def load(folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Decoder:
    """Read the model in `folder`; raises ValueError naming file and tensor if one is missing, extra or misshapen."""
    shape = Shape.from_config(read_config(folder))
    with torch.device(device):
        model = Decoder(shape).to(dtype)
    stored: dict[str, tuple[Path, Any]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            reader = safe_open(file, framework="pt")
        except Exception as error:  # safetensors raises its own type, which it does not export everywhere
            raise ValueError(f"{file}: not a readable safetensors file ({error})") from error
        stored.update((name, (file, reader)) for name in reader.keys())  # noqa: SIM118 (not a mapping)
    with torch.no_grad():
        for name, target in _tensors(model):
            if name not in stored:
                raise ValueError(f"{folder}: tensor {name} is missing from its safetensors files")
            file, reader = stored.pop(name)
            value = reader.get_tensor(name)
            if value.shape != target.shape:
                raise ValueError(
                    f"{file}: tensor {name} has shape {list(value.shape)}, config.json asks for {list(target.shape)}"
                )
            target.copy_(value)
    if stored:
        raise ValueError(f"{folder}: unexpected tensor {min(stored)}")
    return model


def save(model: Decoder, folder: Path, config: dict[str, Any]) -> None:
    """Write `model` and its `config.json` into the existing `folder`; a file appears whole or not at all."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(model)}
    write_tensors(tensors, folder / "model.safetensors")
    write_json(config, folder / "config.json")


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's `config.json`."""
    path = folder / "config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a readable JSON file ({error})") from error


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file."""
    with appearing(path) as partial:
        save_file(tensors, partial, metadata={"format": "pt"})


def _tensors(model: Decoder) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the model under its Hugging Face name; parts of the fused matrices are views."""
    shape = model.shape
    kv = shape.num_key_value_heads * shape.head_dim
    parts = {
        "qkv_proj": (("q_proj", "k_proj", "v_proj"), (shape.num_attention_heads * shape.head_dim, kv, kv)),
        "gate_up_proj": (("gate_proj", "up_proj"), (shape.intermediate_size, shape.intermediate_size)),
    }
    for name, parameter in model.named_parameters():  # tied weights appear once, as the embedding
        path = name if name.startswith("lm_head") else f"model.{name}"
        path = path.replace("gate_up_proj", "mlp.gate_up_proj").replace("down_proj", "mlp.down_proj")
        module = path.split(".")[-2]
        if module in parts:
            names, sizes = parts[module]
            for part, view in zip(names, parameter.split(sizes), strict=True):
                yield path.replace(module, part), view
        else:
            yield path, parameter
