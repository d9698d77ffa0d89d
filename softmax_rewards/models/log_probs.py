"""Log-probabilities and entropies from hidden states, without ever holding all logits.

With a vocabulary of 152 k tokens the logits of one micro-batch outweigh everything else of the update. So they are
computed in chunks of positions, reduced to two numbers per position, and, unless one chunk holds them all, computed
again in the backward pass.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_ELEMENTS = 2**26
"""Logits of one chunk: 256 MiB in float32, and as much again for each of the two or three tensors made of them."""


class LogProbs(torch.autograd.Function):
    """`hidden[T, d]`, `head[V, d]`, `targets[T]` -> log-probability of each target and entropy (nats), float32 `[T]`.

    Entropies are 0 unless `with_entropies`. With p = softmax(hidden · headᵀ), H its entropy, and g, h the gradients of
    the two outputs, the gradient of the logits is g·onehot − p·(g + h·(log p + H)).
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, with_entropies: bool) -> tuple[Tensor, Tensor]:
        log_probs, entropies = hidden.new_zeros((2, len(targets)), dtype=torch.float32)
        parts, whole_log_p = list(_chunks(len(targets), len(head))), None
        for part in parts:
            log_p = _log_softmax(hidden[part], head)
            log_probs[part] = log_p.gather(1, targets[part, None])[:, 0]
            if with_entropies:
                entropies[part] = -torch.linalg.vecdot(log_p.exp(), log_p)
            if len(parts) == 1:
                whole_log_p = log_p  # what fits into one chunk need not be computed again
        ctx.save_for_backward(hidden, head, targets, entropies, whole_log_p)
        ctx.set_materialize_grads(False)  # an output that no loss uses costs nothing
        return log_probs, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, Tensor, None, None]:
        hidden, head, targets, entropies, whole_log_p = ctx.saved_tensors
        of_log_probs, of_entropies = gradients
        if of_log_probs is None:
            of_log_probs = torch.zeros_like(entropies)
        of_hidden = torch.empty_like(hidden)
        of_head = torch.zeros_like(head, dtype=torch.float32)  # summed over chunks, so never in bfloat16
        for part in _chunks(len(targets), len(head)):
            log_p = _log_softmax(hidden[part], head) if whole_log_p is None else whole_log_p
            weighted = log_p.exp()
            if of_entropies is None:
                weighted *= -of_log_probs[part, None]
            else:
                factors = (log_p + entropies[part, None]).mul_(of_entropies[part, None]).add_(of_log_probs[part, None])
                weighted *= factors.neg_()
            weighted.scatter_add_(1, targets[part, None], of_log_probs[part, None])
            of_logits = weighted.to(hidden.dtype)
            of_hidden[part] = of_logits @ head
            of_head += of_logits.T @ hidden[part]
        return of_hidden, of_head.to(head.dtype), None, None


def _log_softmax(hidden: Tensor, head: Tensor) -> Tensor:
    """log p of every token, `[T, V]` in float32."""
    return (hidden @ head.T).float().log_softmax(1)


def _chunks(positions: int, vocabulary: int) -> Iterator[slice]:
    size = max(CHUNK_ELEMENTS // vocabulary, 1)
    return (slice(start, start + size) for start in range(0, positions, size))
