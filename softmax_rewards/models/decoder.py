"""The decoder: one readable transformer for Qwen2, Qwen3 and Llama checkpoints, driven by `config.json`.

The three families are the same pre-norm decoder (RMSNorm, rotary positions, grouped-query attention,
SwiGLU) and differ in switches of `Shape`: Qwen2 has biases on q, k and v (arXiv 2407.10671), Qwen3 normalizes
every head of q and k (arXiv 2505.09388), Llama has neither (arXiv 2302.13971). In bfloat16 everything is rounded
where `transformers` rounds it.

q, k and v are one matrix here, gate and up another: fewer and larger matrix products. `checkpoint.py`
takes them apart and puts them together, so that on disk the layout is Hugging Face's.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from softmax_rewards.models.shape import LinearScaling, Shape

SHORT = 512
"""Keys up to which a processor computes masked attention by plain matrix products, with all scores in memory."""


class KVStore(Protocol):
    """What a layer's attention asks for."""

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Take the new tokens' `keys, values[B, kv_heads, T, head_dim]`; return all that they attend to."""
        ...


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # Normalized in float32 and rounded before the weight, as in the reference implementations.
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * (wide * scale).to(x.dtype)


def frequencies(shape: Shape, device: torch.device) -> Tensor:
    """Angles by which the pairs of a head turn from one position to the next, `[head_dim / 2]` in float32."""
    half = torch.arange(0, shape.head_dim, 2, device=device, dtype=torch.float32) / shape.head_dim
    # theta**-half sometimes has another last bit than transformers: 1e-4 in the logits after a thousand positions.
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
    """Cosines and sines of the rotary embedding (arXiv 2104.09864): `positions[B, T]` -> each `[B, 1, T, head_dim]`.

    The sines are signed as `rotate` wants them: negative for the first half of a head.
    """
    angles = positions[:, None, :, None].float() * frequencies(shape, positions.device)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


def rotate(x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (x_i, x_{i+d/2}) of every head of `x[B, heads, T, d]` by their position's angle."""
    cos, sin = tables
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin


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
        self, x: Tensor, tables: tuple[Tensor, Tensor], mask: Tensor | None, store: KVStore | None, layer: int
    ) -> Tensor:
        rows, length, _ = x.shape
        qkv = self.qkv_proj(x).view(rows, length, -1, self.head_dim).transpose(1, 2)
        # Queries and keys are rotated together. In Qwen3 they are normalized before.
        turned, values = qkv.split((self.heads + self.kv_heads, self.kv_heads), dim=1)
        if self.q_norm is not None:
            queries, keys = turned.split((self.heads, self.kv_heads), dim=1)
            turned = torch.cat((self.q_norm(queries), self.k_norm(keys)), dim=1)
        queries, keys = rotate(turned, tables).split((self.heads, self.kv_heads), dim=1)
        if store is not None:
            keys, values = store.extend(layer, keys, values)
        mixed = attend(queries, keys, values, mask)
        return self.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of `queries[B, heads, T, d]` over `keys, values[B, kv_heads, T', d]`.

    `mask[B or 1, 1, T, T']` is added to the scores; without one attention is causal, or a single query sees all.
    """
    length, shared = queries.shape[2], queries.shape[1] // keys.shape[1]
    exact = queries.dtype.itemsize >= 4
    if exact and (length == 1 or (mask is not None and not queries.is_cuda and keys.shape[2] <= SHORT)):
        return attend_by_products(queries, keys, values, mask)
    if length == 1:
        # The heads that share a key head become queries of it. Qwen2's key biases make scores of hundreds, which
        # bfloat16 would round to whole numbers; the fused kernel does not.
        grouped = queries.view(len(queries), keys.shape[1], shared, -1)
        return F.scaled_dot_product_attention(grouped, keys, values, mask).reshape(queries.shape)
    if shared > 1 and queries.is_cuda and (mask is not None or exact):
        # Only the GPU's flash kernel lets heads share keys, and it takes neither masks nor float32. The kernel that
        # takes both needs one key head per query head. Without that kernel all scores would lie in memory.
        keys, values = keys.repeat_interleave(shared, 1), values.repeat_interleave(shared, 1)
        shared = 1
    return F.scaled_dot_product_attention(queries, keys, values, mask, is_causal=mask is None, enable_gqa=shared > 1)


def attend_by_products(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """`attend` as two matrix products per key head, with the scores in memory: the fastest way where they are few.

    The heads that share a key head are rows of one product, so that nothing is copied.
    """
    rows, heads, length, size = queries.shape
    kv_heads, seen = keys.shape[1:3]
    grouped = queries.reshape(rows * kv_heads, -1, size)
    if mask is None:
        hidden = queries.new_zeros(())
    else:
        hidden = mask.expand(rows, heads, length, seen).reshape(rows * kv_heads, -1, seen)
    scores = torch.baddbmm(hidden, grouped, keys.flatten(0, 1).transpose(1, 2), alpha=size**-0.5)
    return torch.bmm(scores.softmax(-1), values.flatten(0, 1)).view(rows, heads, length, size)


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.gate_up_proj = nn.Linear(shape.hidden_size, 2 * shape.intermediate_size, bias=shape.mlp_bias)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=shape.mlp_bias)

    def forward(
        self, x: Tensor, tables: tuple[Tensor, Tensor], mask: Tensor | None, store: KVStore | None, layer: int
    ) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), tables, mask, store, layer)
        gate, up = self.gate_up_proj(self.post_attention_layernorm(x)).chunk(2, dim=-1)
        return x + self.down_proj(F.silu(gate) * up)


class Decoder(nn.Module):
    """A causal language model: token ids -> hidden states -> logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.sharded = False  # among ranks, see `sharded.py`
        self.gradient_checkpointing = False  # recompute each layer in the backward pass instead of keeping it
        # Not drawn here, since `initialize` or a checkpoint sets it: drawing on the meta device imports 70 MB.
        self.embed_tokens = nn.Embedding.from_pretrained(torch.empty(shape.vocab_size, shape.hidden_size), freeze=False)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.lm_head = nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)
        if shape.tie_word_embeddings:
            self.lm_head.weight = self.embed_tokens.weight

    @classmethod
    def empty(cls, shape: Shape, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> "Decoder":
        """A decoder whose parameters `initialize` or a checkpoint must still set; their memory is untouched."""
        with torch.device("meta"):
            model = cls(shape)
        parameters: dict[Tensor, nn.Parameter] = {}
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter not in parameters:  # a tied one is met twice
                    parameters[parameter] = nn.Parameter(torch.empty(parameter.shape, device=device, dtype=dtype))
                setattr(module, name, parameters[parameter])
        return model

    def forward(
        self,
        ids: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        store: KVStore | None = None,
    ) -> Tensor:
        """Final hidden states `[B, T, hidden]` of `ids[B, T]`; `lm_head` turns them into logits.

        `positions[B, T]` defaults to 0 … T−1. Without `mask` attention is causal; otherwise `mask[B, 1, T, keys]`
        is added to the scores, −inf where a key is hidden. With a `store`, `ids` continue the tokens in it.
        """
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
        x = self.embed_tokens(ids)
        tables = rotary_tables(positions, self.shape, x.dtype)
        recompute = self.gradient_checkpointing and torch.is_grad_enabled()
        for index, layer in enumerate(self.layers):
            if recompute:  # nothing is random in a layer, so no random state is kept for it
                x = checkpoint(layer, x, tables, mask, store, index, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, tables, mask, store, index)
        return self.norm(x)

    def initialize(self, generator: torch.Generator, std: float = 0.02) -> "Decoder":
        """Random weights as Hugging Face's `_init_weights` draws them: normal(0, std), biases 0, norms 1."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=std, generator=generator)
            else:
                nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
        return self
