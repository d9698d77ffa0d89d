"""The decoder: one transformer for Qwen2, Qwen3 and Llama checkpoints, configured by `config.json`.

All three families are pre-norm decoders with RMSNorm (arXiv 1910.07467), rotary positions (2104.09864), grouped-query
attention (2305.13245) and SwiGLU (2002.05202). The differences are fields of `Shape`: Qwen2 has biases on q, k and v
(2407.10671), Qwen3 normalizes every head of q and k (2505.09388), Llama has neither (2302.13971). In bfloat16, values
are rounded at the same places as in `transformers`. So logits are as close to the exact ones as there.

The weights of q, k and v are one matrix here, and those of gate and up are another. Files have Hugging Face's layout,
so `checkpoint.py` splits these matrices when it saves, and joins them when it loads.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from softmax_rewards.models.shape import LinearScaling, Shape

SHORT = 512
"""Attention over more keys than this uses PyTorch's fused kernels, and is faster without a mask."""


class KVStore(Protocol):
    """Gives attention the keys and values of earlier tokens."""

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Take `keys, values[B, kv_heads, T, head_dim]` of the new tokens; return those of old and new tokens."""
        ...


class RMSNorm(nn.Module):
    """Scales `x[..., size]` to a mean square of 1, then multiplies by a weight per channel."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # The mean of squares is in float32, because bfloat16 has too few digits for a sum over a thousand channels. The
        # result is rounded before the weight is applied, as in `transformers`, so that logits agree.
        wide = x.float()
        if torch.is_grad_enabled():
            scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        else:
            # The same in half the operations: in decoding, starting an operation takes longer than computing it.
            norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
            scale = torch.addcmul(norm.new_full((), self.eps), norm, norm, value=1 / x.shape[-1]).rsqrt_()
        return self.weight * (wide * scale).to(x.dtype)


def frequencies(shape: Shape, device: torch.device) -> Tensor:
    """The angle in radians by which each pair of `rotate` turns per position, `[head_dim / 2]` in float32."""
    half = torch.arange(0, shape.head_dim, 2, device=device, dtype=torch.float32) / shape.head_dim
    # Not theta**-half: its last bit sometimes differs from that of `transformers`. After a thousand positions, this
    # difference changes the logits by 1e-4.
    plain, scaling = 1.0 / shape.rope_theta**half, shape.rope_scaling
    if scaling is None:
        return plain
    if isinstance(scaling, LinearScaling):
        return plain / scaling.factor
    # Llama 3.1: pairs that turn often keep their frequency. Pairs that turn rarely have it divided by `factor`. Pairs
    # in between get a mixture of the two.
    turns = plain * scaling.original_length / (2 * math.pi)  # how often a pair turns within the length of pretraining
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    share = ((turns - low) / (high - low)).clamp(0, 1)
    return plain * (share + (1 - share) / scaling.factor)


def rotary_tables(positions: Tensor, shape: Shape, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary embedding (arXiv 2104.09864): `positions[B, T]` -> each `[B, 1, T, head_dim]`.

    The sines of the first half of a head are negative, as `rotate` needs them.
    """
    # Angles are in float32, because bfloat16 cannot represent every position above 256.
    angles = positions[:, None, :, None].float() * frequencies(shape, positions.device)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


class RotaryTable:
    """The rotary tables of the positions 0 … `count` − 1, computed once for many passes."""

    def __init__(self, count: int, shape: Shape, like: Tensor) -> None:
        cos, sin = rotary_tables(torch.arange(count, device=like.device)[None], shape, like.dtype)
        self.table = torch.cat((cos, sin), -1)[0, 0]  # [count, 2·head_dim]

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """`rotary_tables` of `positions[B, T]`."""
        cos, sin = F.embedding(positions, self.table).unsqueeze(1).chunk(2, dim=-1)
        return cos, sin


def rotate(x: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (x_i, x_{i+d/2}) of every head of `x[B, heads, T, d]` by the angle of their position."""
    cos, sin = tables
    # `roll` brings the other element of the pair into place. The signs are in the sines, so nothing is negated here.
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin


class Attention(nn.Module):
    """Grouped-query attention: several query heads share one head of keys and values."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            shape.num_attention_heads,
            shape.num_key_value_heads,
            shape.head_dim,
        )
        # One matrix product instead of three smaller ones: a small product does not fill a GPU.
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
        # Queries and keys are rotated together, in one operation. Qwen3 normalizes them first.
        turned, values = qkv.split((self.heads + self.kv_heads, self.kv_heads), dim=1)
        if self.q_norm is not None and self.k_norm is not None:
            queries, keys = turned.split((self.heads, self.kv_heads), dim=1)
            turned = torch.cat((self.q_norm(queries), self.k_norm(keys)), dim=1)
        queries, keys = rotate(turned, tables).split((self.heads, self.kv_heads), dim=1)
        if store is not None:
            keys, values = store.extend(layer, keys, values)  # rotated keys are stored, so no key is rotated twice
        mixed = attend(queries, keys, values, mask)
        return self.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of `queries[B, heads, T, d]` over `keys, values[B, kv_heads, T', d]`.

    `mask[B or 1, 1, T, T']` is added to the scores. Without a mask attention is causal: the queries are
    those of the last T tokens.
    """
    length, shared = queries.shape[2], queries.shape[1] // keys.shape[1]
    exact = queries.dtype.itemsize >= 4  # plain products in float32 are precise enough
    if exact and (length == 1 or (mask is not None and not queries.is_cuda and keys.shape[2] <= SHORT)):
        return attend_by_products(queries, keys, values, mask)
    if length == 1:
        # In decoding, the query heads that share a key head become several queries of this key head. So keys are not
        # copied. The fused kernel keeps scores in float32. Qwen2 needs this: its key biases give scores of several
        # hundred, and bfloat16 would round them to whole numbers.
        grouped = queries.view(len(queries), keys.shape[1], shared, -1)
        return F.scaled_dot_product_attention(grouped, keys, values, mask).reshape(queries.shape)
    ahead = keys.shape[2] - length if mask is None else 0
    if ahead:
        # The kernels' causal attention needs T = T'. So queries of the earlier tokens are put in front, with any value.
        # That takes less time than a mask, because the kernels skip what is not causal.
        queries = F.pad(queries, (0, 0, ahead, 0))
    if shared > 1 and queries.is_cuda and (mask is not None or exact):
        # On a GPU only the flash kernel lets heads share keys, and it supports neither masks nor float32. The
        # memory-efficient kernel supports both, but needs one key head per query head, so key heads are copied.
        # Without that kernel, PyTorch would hold all scores in memory.
        keys, values = keys.repeat_interleave(shared, 1), values.repeat_interleave(shared, 1)
        shared = 1
    mixed = F.scaled_dot_product_attention(queries, keys, values, mask, is_causal=mask is None, enable_gqa=shared > 1)
    return mixed[:, :, ahead:]


def attend_by_products(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """`attend` as two matrix products per key head. It holds all scores in memory, and is fastest if they are few."""
    rows, heads, length, size = queries.shape
    kv_heads, seen = keys.shape[1:3]
    # The heads that share a key head are rows of one product, so that keys and values are not copied.
    grouped = queries.reshape(rows * kv_heads, -1, size)
    if mask is None:
        hidden = queries.new_zeros(())
    else:
        hidden = mask.expand(rows, heads, length, seen).reshape(rows * kv_heads, -1, seen)
    # One operation computes the product, scales it and adds the mask.
    scores = torch.baddbmm(hidden, grouped, keys.flatten(0, 1).transpose(1, 2), alpha=size**-0.5)
    return torch.bmm(scores.softmax(-1), values.flatten(0, 1)).view(rows, heads, length, size)


class Layer(nn.Module):
    """One block of the decoder: attention, then the SwiGLU feed-forward part, each added to the residual stream."""

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
    """A causal language model: token ids → hidden states → logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.sharded = False  # whether FSDP splits its weights over the ranks, see `policy/sharded.py`
        self.gradient_checkpointing = False  # whether `backward` computes activations again, to save memory
        # `nn.Embedding(…)` would draw random weights. That is wasted work: `initialize` or a checkpoint replaces them.
        # On the meta device, drawing them would also import 70 MB of code.
        self.embed_tokens = nn.Embedding.from_pretrained(torch.empty(shape.vocab_size, shape.hidden_size), freeze=False)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.lm_head = nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)
        if shape.tie_word_embeddings:
            self.lm_head.weight = self.embed_tokens.weight

    @classmethod
    def empty(cls, shape: Shape, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> "Decoder":
        """A decoder without values: `initialize` or a checkpoint must still set its parameters."""
        # Modules on the meta device take no memory. Otherwise a large model would first exist in float32 on the host.
        with torch.device("meta"):
            model = cls(shape)
        parameters: dict[Tensor, nn.Parameter] = {}
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter not in parameters:  # a tied head is the same parameter as the embedding and must stay so
                    parameters[parameter] = nn.Parameter(torch.empty(parameter.shape, device=device, dtype=dtype))
                setattr(module, name, parameters[parameter])
        return model

    def forward(
        self,
        ids: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        store: KVStore | None = None,
        rotary: RotaryTable | None = None,
    ) -> Tensor:
        """Final hidden states `[B, T, hidden]` of `ids[B, T]`; `lm_head` turns them into logits.

        `positions[B, T]` are 0 … T−1 by default. `mask[B or 1, 1, T, keys]` is added to the scores: 0, or −inf where a
        key is hidden. Without a mask, attention is causal. With a `store`, `ids` continue the tokens in it. If it has
        tokens already, `positions` must be given, and for T > 1 a `mask`. `rotary` saves time if many passes use it.
        """
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
        x = self.embed_tokens(ids)
        tables = rotary_tables(positions, self.shape, x.dtype) if rotary is None else rotary.at(positions)
        recompute = self.gradient_checkpointing and torch.is_grad_enabled()
        for index, layer in enumerate(self.layers):
            if recompute:  # nothing is random in a layer, so the random state need not be restored
                x = checkpoint(layer, x, tables, mask, store, index, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, tables, mask, store, index)
        return self.norm(x)

    def initialize(self, generator: torch.Generator, std: float = 0.02) -> "Decoder":
        """Draw random weights as Hugging Face's `_init_weights` does: normal(0, std), biases 0, norms 1."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=std, generator=generator)
            else:
                nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
        return self
