"""The decoder: one readable transformer for Qwen2, Qwen3 and Llama checkpoints, driven by `config.json`.

The three families are the same pre-norm decoder (RMSNorm, rotary positions, grouped-query attention,
SwiGLU) and differ in switches of `Shape`: Qwen2 has biases on q, k and v (arXiv 2407.10671), Qwen3 normalises
every head of q and k (arXiv 2505.09388), Llama has neither (arXiv 2302.13971). In bfloat16 everything is rounded
where `transformers` rounds it.

q, k and v are one matrix here, gate and up another: fewer and larger matrix products. `checkpoint.py`
takes them apart and puts them together, so that on disk the layout is Hugging Face's.
"""

import math
from copy import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from softmax_rewards.models.shape import LinearScaling, Shape


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

    def part(self, rows: slice) -> "Cache":
        """The cache of some rows alone, in the same memory, with a length of its own."""
        part = copy(self)
        part.store = self.store[:, :, rows]
        return part

    def repeat(self, times: int) -> None:
        """Give every row `times` copies, one after another."""
        if times == 1:
            return
        old = self.store
        self.store = old.new_empty((*old.shape[:2], times * old.shape[2], *old.shape[3:]))
        for copies, own in zip(self.store.unflatten(2, (-1, times)), old, strict=True):
            copies[..., : self.length, :] = own[:, :, None, :, : self.length]

    def keep(self, rows: Tensor) -> None:
        """Keep only `rows`, ascending indices; in place and layer by layer, for the cache may fill the device."""
        for layer in self.store.flatten(0, 1):
            layer[: len(rows), :, : self.length] = layer[:, :, : self.length].index_select(0, rows)
        self.store = self.store[:, :, : len(rows)]


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # Normalised in float32 and rounded before the weight, as in the reference implementations.
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * (wide * scale).to(x.dtype)


def frequencies(shape: Shape, device: torch.device) -> Tensor:
    """Angles by which the pairs of a head turn from one position to the next, `[head_dim / 2]` in float32."""
    half = torch.arange(0, shape.head_dim, 2, device=device, dtype=torch.float32) / shape.head_dim
    # theta**-half has at times another last bit than transformers: 1e-4 in the logits a thousand positions on.
    plain, scaling = 1.0 / shape.rope_theta**half, shape.rope_scaling
    if scaling is None:
        return plain
    if isinstance(scaling, LinearScaling):
        return plain / scaling.factor
    turns = plain * scaling.original_length / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    share = ((turns - low) / (high - low)).clamp(0, 1)
    return plain * (share + (1 - share) / scaling.factor)


def rotary_tables(positions: Tensor, shape: Shape, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary embedding (arXiv 2104.09864): `positions[B, T]` -> each `[B, 1, T, head_dim]`."""
    angles = positions[:, None, :, None].float() * frequencies(shape, positions.device)
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
        self.o_proj = nn.Linear(self.heads * self.head_dim, shape.hidden_size, bias=shape.o_bias)
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
        mixed = (attend_one if length == 1 else attend)(queries, keys, values, mask)
        return self.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of `queries[B, heads, T, d]` over `keys, values[B, kv_heads, T', d]`; causal without a `mask`."""
    shared = queries.shape[1] // keys.shape[1]
    if shared > 1 and queries.is_cuda and (mask is not None or queries.dtype == torch.float32):
        # Of the GPU's fused kernels only flash lets heads share keys, and it takes neither masks nor float32. The one
        # that does wants a key head for each; without it the scores of all pairs would lie in memory.
        keys, values = keys.repeat_interleave(shared, 1), values.repeat_interleave(shared, 1)
        shared = 1
    return F.scaled_dot_product_attention(queries, keys, values, mask, is_causal=mask is None, enable_gqa=shared > 1)


def attend_one(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of one query a row, `queries[B, heads, 1, d]` over `keys, values[B, kv_heads, T, d]`.

    The query heads that share a key head become the rows of one matrix product, so that nothing is
    copied; `mask[B, 1, 1, T]` is added to the scores.
    """
    rows, heads, _, size = queries.shape
    kv_heads = keys.shape[1]
    if queries.dtype.itemsize < 4:
        # Qwen2's key biases make scores of hundreds, which bfloat16 would round to integers; the fused kernel does not.
        mixed = F.scaled_dot_product_attention(queries.view(rows, kv_heads, -1, size), keys, values, mask)
        return mixed.reshape(rows, heads, 1, size)
    grouped = (queries * size**-0.5).view(rows * kv_heads, -1, size)
    scores = torch.bmm(grouped, keys.flatten(0, 1).transpose(1, 2))
    if mask is not None:
        scores = scores.view(rows, heads, 1, -1) + mask
    shares = scores.softmax(-1).view(rows * kv_heads, -1, keys.shape[2])
    return torch.bmm(shares, values.flatten(0, 1)).view(rows, heads, 1, size)


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.gate_up_proj = nn.Linear(shape.hidden_size, 2 * shape.intermediate_size, bias=shape.mlp_bias)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=shape.mlp_bias)

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
        self.gradient_checkpointing = False  # recompute each layer in the backward pass instead of keeping it
        # Not set before `initialise` or a checkpoint does: drawn on the meta device it would cost an import of 70 MB.
        self.embed_tokens = nn.Embedding.from_pretrained(torch.empty(shape.vocab_size, shape.hidden_size), freeze=False)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.lm_head = nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)
        if shape.tie_word_embeddings:
            self.lm_head.weight = self.embed_tokens.weight

    @classmethod
    def empty(cls, shape: Shape, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> "Decoder":
        """A decoder with parameters yet to be set, by `initialise` or from a checkpoint; their memory is untouched."""
        with torch.device("meta"):
            model = cls(shape)
        made: dict[Tensor, nn.Parameter] = {}
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter not in made:  # a tied one is met twice
                    made[parameter] = nn.Parameter(torch.empty(parameter.shape, device=device, dtype=dtype))
                setattr(module, name, made[parameter])
        return model

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
        recompute = self.gradient_checkpointing and cache is None and torch.is_grad_enabled()
        for index, layer in enumerate(self.layers):
            if recompute:  # nothing is random in a layer, so no random state is kept for it
                x = checkpoint(layer, x, tables, mask, None, index, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, tables, mask, cache, index)
        if cache is not None:
            cache.length += ids.shape[1]
        return self.norm(x)

    def initialise(self, generator: torch.Generator, std: float = 0.02) -> "Decoder":
        """Random weights as Hugging Face's `_init_weights` draws them: normal(0, std), biases 0, norms 1."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=std, generator=generator)
            else:
                nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
        return self
