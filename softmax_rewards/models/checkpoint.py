"""Checkpoints in the Hugging Face layout: a folder with `config.json`, safetensors files and `tokenizer.json`.

Only safetensors is read and no pickle, so nothing in a checkpoint can execute. Saving and loading use the same list of
names. Files are mapped into memory and copied into the parameters in pieces. So loading a model of S bytes needs little
more than S bytes of memory.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from softmax_rewards.common.files import appearing, read_json, write_json
from softmax_rewards.common.terminal import plain
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.shape import Shape

INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5 * 10**9  # a larger model is saved as several files, as on the hub
PIECE_BYTES = 2**26  # read from a file before it is closed and opened again
ELEMENT_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}  # stored types that are allowed for weights


def pick_device(device: str) -> str:
    """`auto` means the first GPU, or the CPU if there is none. Any other name stays as it is."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def device_name(device: torch.device) -> str:
    """The name of the device in reports."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def load(folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Decoder:
    """Load the model in `folder`, from one file or several, directly to `device` and `dtype`.

    Raises ValueError as `check` does, before the model takes any memory.
    """
    shape, stored = check(folder)
    model = Decoder.empty(shape, device, dtype)
    with torch.no_grad():
        for name, target in named_tensors(model):
            for rows, piece in stored[name].pieces():
                target[rows].copy_(piece)
    return model


def check(folder: Path) -> tuple[Shape, dict[str, "Stored"]]:
    """Check the files of the model in `folder`; return its shape and where each tensor is stored.

    No model is allocated. Weights are read only if a tied head is stored as well. Raises ValueError naming the file,
    and the key or tensor that is missing, unexpected, of the wrong shape or not supported.
    """
    config = read_config(folder)
    try:
        shape = Shape.from_config(config)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None
    stored = _stored(folder)
    shapes = {name: list(tensor.shape) for name, tensor in named_tensors(Decoder.empty(shape, "meta"))}
    # Some checkpoints store a tied head as well, although the embedding is enough.
    head = stored.get("lm_head.weight") if shape.tie_word_embeddings else None
    if head is not None:
        shapes["lm_head.weight"] = shapes["model.embed_tokens.weight"]
    for name, size in shapes.items():
        if name not in stored:
            raise ValueError(f"{folder}: tensor {name} is missing from its safetensors files")
        stored[name].check(size)
    for name in sorted(stored.keys() - shapes.keys()):
        if not name.endswith("rotary_emb.inv_freq"):  # a constant in old Llama checkpoints, computed here
            raise ValueError(f"{stored[name].file}: unexpected tensor {name}")
    if head is not None:
        # A head that differs would be lost here. (transformers would use it, although the config says it is tied.)
        for rows, piece in head.pieces():
            if not (piece == stored["model.embed_tokens.weight"].read(rows)).all():
                raise ValueError(
                    f"{head.file}: tensor lm_head.weight differs from model.embed_tokens.weight;"
                    " allowed only with tie_word_embeddings false in config.json"
                )
    return shape, stored


def save(model: Decoder, folder: Path, config: dict[str, Any]) -> None:
    """Write `model` in its own dtype and its `config.json` into the existing `folder`; replace a model there.

    A model of more than `SHARD_BYTES` is written as several files with an index. Parameters on a GPU are copied to the
    host, one file at a time.
    """
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in named_tensors(model):
        if shards[-1] and size + tensor.nbytes > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = tensor.detach()
        size += tensor.nbytes
    # An interrupted save must not leave a mixture of two models that could be loaded.
    for old in [*folder.glob("*.safetensors"), folder / INDEX]:
        old.unlink(missing_ok=True)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_tensors({name: tensor.cpu().contiguous() for name, tensor in shard.items()}, folder / file)
        weight_map |= dict.fromkeys(shard, file)
    if len(shards) > 1:
        total = sum(tensor.nbytes for shard in shards for tensor in shard.values())
        write_json({"metadata": {"total_size": total}, "weight_map": weight_map}, folder / INDEX)
    dtype = str(model.embed_tokens.weight.dtype).removeprefix("torch.")
    # transformers 4 called this key torch_dtype. A config with the old key gets the value there too.
    names = ["dtype", *({"torch_dtype"} & config.keys())]
    write_json(config | dict.fromkeys(names, dtype), folder / "config.json")


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's `config.json`."""
    return read_json(folder / "config.json")


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file."""
    with appearing(path) as partial:
        partial.unlink(missing_ok=True)
        partial.touch()
        mode = partial.stat().st_mode  # from the umask; safetensors would let only the owner read the file
        try:
            save_file(tensors, partial, metadata={"format": "pt"})
        except SafetensorError as error:
            # The system's error, for example a full disk, is only in the message's text.
            os_error = re.search(r"\(os error ([0-9]+)\)", str(error))
            if os_error is None:
                raise
            raise OSError(int(os_error[1]), os.strerror(int(os_error[1]))) from error
        partial.chmod(mode)


def named_tensors(model: Decoder) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the model with its Hugging Face name, without a tied head. Parts of fused matrices are views."""
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


@dataclass(frozen=True)
class Stored:
    """A tensor in a safetensors file."""

    file: Path
    name: str
    shape: list[int]
    dtype: str  # its name in safetensors

    def check(self, shape: list[int]) -> None:
        """Raise ValueError unless the tensor has `shape` and an allowed type."""
        if self.shape != shape:
            raise ValueError(f"{self.file}: tensor {self.name} has shape {self.shape}, config.json asks for {shape}")
        if self.dtype not in ELEMENT_BYTES:
            allowed = ", ".join(ELEMENT_BYTES)
            raise ValueError(f"{self.file}: tensor {self.name} has dtype {self.dtype}; allowed: {allowed}")

    def pieces(self) -> Iterator[tuple[slice, Tensor]]:
        """Its rows in pieces of about `PIECE_BYTES`, each with its slice. The caller must not keep a piece."""
        count, *row = self.shape
        step = max(PIECE_BYTES // (ELEMENT_BYTES[self.dtype] * torch.Size(row).numel()), 1)
        for start in range(0, count, step):
            rows = slice(start, min(start + step, count))
            yield rows, self.read(rows)

    def read(self, rows: slice) -> Tensor:
        """The rows in the slice."""
        # The pages that were read from a mapped file count as memory of the process until the file is closed. So the
        # file is opened again for each piece.
        with safe_open(self.file, framework="pt") as reader:
            return reader.get_slice(self.name)[rows]


def _stored(folder: Path) -> dict[str, Stored]:
    """Every tensor stored in `folder`, by name.

    It lies in the files that the index names. Without an index it lies in `model.safetensors`, or else in any
    safetensors file. Raises ValueError naming the file and the tensor that is wrong.
    """
    index = folder / INDEX
    weight_map: dict[str, Any] = {}
    if index.exists():
        stated = read_json(index).get("weight_map")
        if not isinstance(stated, dict) or not stated:
            problem = "is missing" if stated is None else f"{json.dumps(stated)[:100]}"
            raise ValueError(f"{index}: weight_map {problem}; allowed: a mapping from tensors to files")
        weight_map = stated
        for name, file in weight_map.items():
            _check_name(name, index)
            # Any other name could point out of the folder, to a file that does not belong to the model.
            simple = isinstance(file, str) and file.isprintable() and Path(file).name == file
            if not simple or not file.endswith(".safetensors"):
                raise ValueError(f"{index}: weight_map.{name}: {file!r}; allowed: names of safetensors files beside it")
            if not (folder / file).is_file():
                raise ValueError(f"{folder / file}: no such file, although {INDEX} places tensor {name} there")
    files = sorted({folder / file for file in weight_map.values()})
    whole = folder / "model.safetensors"
    files = files or ([whole] if whole.is_file() else sorted(folder.glob("*.safetensors")))
    if not files:
        pickles = sorted(file.name for end in ("bin", "pt", "pth") for file in folder.glob(f"*.{end}"))
        pickled = f", only {pickles[0]}, and pickled weights are not loaded" if pickles else ""
        raise ValueError(f"{folder}: no safetensors file{pickled}; a checkpoint with model.safetensors is needed")
    stored: dict[str, Stored] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as reader:
                for name in reader.keys():  # noqa: SIM118 (not a mapping)
                    _check_name(name, file)
                    if name in stored:
                        raise ValueError(f"{file}: tensor {name} is in {stored[name].file.name} too")
                    part = reader.get_slice(name)
                    stored[name] = Stored(file, name, list(part.get_shape()), part.get_dtype())
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{file}: {plain(f'{_damage(file)} ({error})')}") from error
    for name, file in weight_map.items():
        if name not in stored or stored[name].file.name != file:
            raise ValueError(f"{folder / file}: tensor {name} is missing, although {INDEX} places it there")
    return stored


def _check_name(name: str, file: Path) -> None:
    if not name.isprintable():  # error messages show the name in a terminal
        raise ValueError(f"{file}: tensor {name!r}; allowed: names that can be printed")


def _damage(file: Path) -> str:
    """What is wrong with a file that safetensors refuses: the first tensor that is cut short, if the header tells."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            header = min(int.from_bytes(stream.read(8), "little"), size)
            entries = json.loads(stream.read(header))
        ends = {name: entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"}
        cut = [name for name, end in ends.items() if 8 + header + end > size]
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        cut = []  # the file cannot be opened, or its header is cut short or missing
    return f"cut short within tensor {min(cut, key=ends.__getitem__)}" if cut else "not a readable safetensors file"
