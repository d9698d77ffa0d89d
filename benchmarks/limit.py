"""The limit of a step: the FLOPs and bytes that every trainer needs, and the rates of the machine.

FLOPs and bytes are counted from the shape, for the prompts and answers of the measured step. An ideal trainer computes
every prompt once per group. Rollout and the update's forward pass compute the same positions: the prompt, and every
answer without its last token, which predicts nothing. The backward pass costs twice the forward pass. For every further
token, decoding reads all weights once, the keys and values of each running row, and those of its prompt once per group.
Norms, activations and sampling are left out.

Data in a CPU's cache is read faster than in a large copy. So for a tiny model the bytes are no strict limit.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from softmax_rewards.models.shape import Shape


@dataclass(frozen=True)
class Rates:
    """Measured rates of the machine."""

    flops: float  # per second, in a matrix product
    bytes: float  # per second, read and written in a copy


def measure(device: torch.device, dtype: torch.dtype) -> Rates:
    """The rates of the fastest of five large matrix products and of five copies, with torch's number of threads."""
    cuda = device.type == "cuda"
    size, length = (8192, 2**31) if cuda else (2048, 2**28)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    source = torch.ones(length, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = best(lambda: torch.mm(left, right), device)
    copy = best(lambda: target.copy_(source), device)
    return Rates(2 * size**3 / product, 2 * length / copy)


def best(call: Callable[[], object], device: torch.device, times: int = 5) -> float:
    """Seconds of the fastest of `times` calls, after one call that does not count."""
    seconds = []
    for _ in range(times + 1):
        began = now(device)
        call()
        seconds.append(now(device) - began)
    return min(seconds[1:])


def now(device: torch.device) -> float:
    """Seconds on a clock, after the device has done all its work.

    With one thread on a CPU it is the processor time of this process, which other processes hardly change.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def matrix_flops(shape: Shape) -> int:
    """FLOPs of the matrix products of all layers for one position, without attention itself."""
    return 2 * _matrix_weights(shape)


def head_flops(shape: Shape) -> int:
    """FLOPs of one position's logits."""
    return 2 * shape.hidden_size * shape.vocab_size


def attention_flops(shape: Shape, contexts: float) -> float:
    """FLOPs of attention in all layers. `contexts` is the number of keys, summed over the positions."""
    return 4 * shape.num_hidden_layers * shape.num_attention_heads * shape.head_dim * contexts


def forward_flops(
    shape: Shape, prompts: Sequence[int], lengths: np.ndarray, trained: np.ndarray | None = None
) -> float:
    """FLOPs of one pass over prompts of `prompts[Q]` tokens, once per group, and answers of `lengths[Q, N]` tokens.

    With `trained[Q, N]`, only trained answers and their prompts count.
    """
    trained = np.ones(lengths.shape, dtype=bool) if trained is None else trained
    heads = np.array(prompts, dtype=float)
    fed = np.where(trained, lengths - 1, 0).astype(float)  # tokens that the model reads: all but the last
    groups = trained.any(axis=1)
    positions = heads[groups].sum() + fed.sum()
    contexts = (heads * (heads + 1) / 2)[groups].sum() + (fed * heads[:, None] + fed * (fed + 1) / 2).sum()
    logits = groups.sum() + fed.sum()
    return positions * matrix_flops(shape) + logits * head_flops(shape) + attention_flops(shape, contexts)


def weight_bytes(shape: Shape, item: int) -> int:
    """Bytes of the matrices that decoding a token reads: the layers and the head. Of the embedding it reads one row."""
    return item * (_matrix_weights(shape) + shape.hidden_size * shape.vocab_size)


def cache_bytes(shape: Shape, item: int) -> int:
    """Bytes of the keys and values of one position in all layers."""
    return item * 2 * shape.num_hidden_layers * shape.num_key_value_heads * shape.head_dim


def rollout_seconds(shape: Shape, prompts: Sequence[int], lengths: np.ndarray, item: int, rates: Rates) -> float:
    """The shortest time of a rollout of all answers at once: per token, the longer one of its FLOPs and its bytes."""
    none = np.ones(lengths.shape, dtype=int)  # answers of one token, so that only the prompts are read
    total = max(forward_flops(shape, prompts, none) / rates.flops, weight_bytes(shape, item) / rates.bytes)
    heads = np.array(prompts)
    for token in range(1, int(lengths.max())):
        running = lengths > token
        seen = (heads[:, None] + token) * running  # the keys that each row sees
        flops = running.sum() * (matrix_flops(shape) + head_flops(shape)) + attention_flops(shape, seen.sum())
        cached = token * running.sum() + heads[running.any(1)].sum()
        read = weight_bytes(shape, item) + cache_bytes(shape, item) * cached
        total += max(flops / rates.flops, read / rates.bytes)
    return float(total)


def update_seconds(
    shape: Shape, prompts: Sequence[int], lengths: np.ndarray, trained: np.ndarray, rates: Rates
) -> float:
    """The shortest time of an update on the trained answers."""
    return float(3 * forward_flops(shape, prompts, lengths, trained) / rates.flops)


def _matrix_weights(shape: Shape) -> int:
    queries = shape.num_attention_heads * shape.head_dim
    qkv = queries + 2 * shape.num_key_value_heads * shape.head_dim
    return shape.num_hidden_layers * shape.hidden_size * (qkv + queries + 3 * shape.intermediate_size)
