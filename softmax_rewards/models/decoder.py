"""The decoder: one readable transformer for Qwen2, Qwen3 and Llama checkpoints, driven by `config.json`.

The three families are the same pre-norm decoder (RMSNorm, rotary positions, grouped-query attention,
SwiGLU) and differ in two switches: Qwen2 has biases on q, k and v (arXiv 2407.10671), Qwen3 normalises
every head of q and k (arXiv 2505.09388), Llama has neither (arXiv 2302.13971).

q, k and v are one matrix here, gate and up another: fewer and larger matrix products. `checkpoint.py`
takes them apart and puts them together, so that on disk the layout is Hugging Face's.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FAMILIES = {"qwen2": {"qkv_bias": True}, "qwen3": {"qk_norm": True}, "llama": {}}


@dataclass(frozen=True)
class Shape:
    """The part of a Hugging Face `config.json` that the computation depends on."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rope_theta: float
    rms_norm_eps: float
    tie_word_embeddings: bool
    qkv_bias: bool = False
    qk_norm: bool = False

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Shape":
        """Read a `config.json`; raises ValueError naming what this decoder does not support."""
        family = config.get("model_type")
        if family not in FAMILIES:
            raise ValueError(f"config.json: model_type {family!r} is not supported; allowed: {', '.join(FAMILIES)}")
        # transformers 5 writes the rotary settings as one mapping, earlier versions as two keys.
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        if rope.get("rope_type", "default") != "default":
            raise ValueError(f"config.json: rope_type {rope['rope_type']!r} is not supported; allowed: default")
        if config.get("use_sliding_window"):
            raise ValueError("config.json: use_sliding_window true is not supported")
        if config.get("hidden_act", "silu") != "silu":
            raise ValueError(f"config.json: hidden_act {config['hidden_act']!r} is not supported; allowed: silu")
        heads = config["num_attention_heads"]
        return cls(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            num_hidden_layers=config["num_hidden_layers"],
            num_attention_heads=heads,
            num_key_value_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            rope_theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
            rms_norm_eps=config["rms_norm_eps"],
            tie_word_embeddings=config.get("tie_word_embeddings", False),
            **FAMILIES[family],
        )


class Cache:
    """Keys and values of every layer: `[layers, 2, B, kv_heads, capacity, head_dim]`, filled column by column."""

    def __init__(self, shape: Shape, rows: int, capacity: int, like: Tensor) -> None:
        size = (shape.num_hidden_layers, 2, rows, shape.num_key_value_heads, capacity, shape.head_dim)
        self.store = like.new_empty(size)
        self.length = 0

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write the columns `length …` of one layer; return all columns so far as views."""
        end = self.length + keys.shape[2]
        self.store[layer, 0, :, :, self.length : end] = keys
        self.store[layer, 1, :, :, self.length : end] = values
        return self.store[layer, 0, :, :, :end], self.store[layer, 1, :, :, :end]

    def select(self, rows: Tensor) -> None:
        """Keep only `rows` (indices, which may repeat), in that order."""
        old = self.store
        self.store = old.new_empty((*old.shape[:2], len(rows), *old.shape[3:]))
        self.store[..., : self.length, :] = old[..., : self.length, :].index_select(2, rows)


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # The mean of squares is taken in float32, as in the reference implementations.
        scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.eps)
        return self.weight * (x * scale.to(x.dtype))


def rotary_tables(positions: Tensor, shape: Shape, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary embedding (arXiv 2104.09864): `positions[B, T]` -> each `[B, 1, T, head_dim]`."""
    half = torch.arange(0, shape.head_dim, 2, device=positions.device, dtype=torch.float32) / shape.head_dim
    angles = positions[:, None, :, None].float() * shape.rope_theta**-half
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (x_i, x_{i+d/2}) of every head of `x[B, heads, T, d]` by their position's angle."""
    cos, sin = tables
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            shape.num_attention_heads,
            shape.num_key_value_heads,
            shape.head_dim,
        )
        self.qkv_proj = nn.Linear(
            shape.hidden_size, (self.heads + 2 * self.kv_heads) * self.head_dim, bias=shape.qkv_bias
        )
        self.o_proj = nn.Linear(self.heads * self.head_dim, shape.hidden_size, bias=False)
        self.q_norm = RMSNorm(self.head_dim, shape.rms_norm_eps) if shape.qk_norm else None
        self.k_norm = RMSNorm(self.head_dim, shape.rms_norm_eps) if shape.qk_norm else None

    def forward(
        self, x: Tensor, tables: tuple[Tensor, Tensor], mask: Tensor | None, cache: Cache | None, layer: int
    ) -> Tensor:
        rows, length, _ = x.shape
        qkv = self.qkv_proj(x).view(rows, length, -1, self.head_dim).transpose(1, 2)
        # Queries and keys are rotated in one go; a norm of their own comes first where the family has one.
        turned, values = qkv.split((self.heads + self.kv_heads, self.kv_heads), dim=1)
        if self.q_norm is not None:
            queries, keys = turned.split((self.heads, self.kv_heads), dim=1)
            turned = torch.cat((self.q_norm(queries), self.k_norm(keys)), dim=1)
        queries, keys = rotate(turned, tables).split((self.heads, self.kv_heads), dim=1)
        if cache is not None:
            keys, values = cache.append(layer, keys, values)
        if length == 1:
            mixed = attend_one(queries, keys, values, mask)
        else:
            mixed = F.scaled_dot_product_attention(
                queries, keys, values, mask, is_causal=mask is None, enable_gqa=self.heads != self.kv_heads
            )
        return self.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))


def attend_one(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of one query a row, `queries[B, heads, 1, d]` over `keys, values[B, kv_heads, T, d]`.

    The query heads that share a key head become the rows of one matrix product, so that nothing is
    copied; `mask[B, 1, 1, T]` is added to the scores.
    """
    rows, heads, _, size = queries.shape
    grouped = (queries * size**-0.5).view(rows * keys.shape[1], -1, size)
    scores = torch.bmm(grouped, keys.flatten(0, 1).transpose(1, 2))
    if mask is not None:
        scores = scores.view(rows, heads, 1, -1) + mask
    shares = scores.softmax(-1).view(rows * keys.shape[1], -1, keys.shape[2])
    return torch.bmm(shares, values.flatten(0, 1)).view(rows, heads, 1, size)


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.gate_up_proj = nn.Linear(shape.hidden_size, 2 * shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(
        self, x: Tensor, tables: tuple[Tensor, Tensor], mask: Tensor | None, cache: Cache | None, layer: int
    ) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), tables, mask, cache, layer)
        gate, up = self.gate_up_proj(self.post_attention_layernorm(x)).chunk(2, dim=-1)
        return x + self.down_proj(F.silu(gate) * up)


class Decoder(nn.Module):
    """A causal language model: token ids -> hidden states -> logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.lm_head = nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)
        if shape.tie_word_embeddings:
            self.lm_head.weight = self.embed_tokens.weight

    def forward(
        self,
        ids: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Final hidden states `[B, T, hidden]` of `ids[B, T]`; `lm_head` turns them into logits.

        `positions[B, T]` defaults to 0 … T−1. Without `mask` attention is causal; otherwise `mask[B, 1, T, keys]`
        is added to the scores, −inf where a key is hidden. With a `cache`, `ids` continue what it holds.
        """
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
        x = self.embed_tokens(ids)
        tables = rotary_tables(positions, self.shape, x.dtype)
        for index, layer in enumerate(self.layers):
            x = layer(x, tables, mask, cache, index)
        if cache is not None:
            cache.length += ids.shape[1]
        return self.norm(x)

    def initialise(self, generator: torch.Generator, std: float = 0.02) -> "Decoder":
        """Random weights as Hugging Face's `_init_weights` draws them: normal(0, std), biases 0, norms 1."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=std, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
        return self
