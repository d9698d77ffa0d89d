"""Log-probabilities and entropies from hidden states, without holding all logits in memory.

With a vocabulary of 152,000 tokens, the logits of one micro-batch take more memory than the rest of the update. So they
are computed in chunks of positions, and each position keeps two numbers. The backward pass computes the logits again,
unless one chunk holds them all.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_ELEMENTS = 2**26
"""Logits in one chunk. They take 256 MiB in float32, and each of the two or three tensors made from them as much."""


class LogProbs(torch.autograd.Function):
    """`hidden[T, d]`, `head[V, d]`, `targets[T]` → log-probability of each target and entropy (nats), float32 `[T]`.

    Entropies are 0 without `with_entropies`. Let z = hidden · headᵀ / temperature, p = softmax(z), H its entropy, and g
    and h the gradients of the two outputs. Then the gradient of z is g·onehot − p·(g + h·(log p + H)).
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor, with_entropies: bool, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        log_probs, entropies = hidden.new_zeros((2, len(targets)), dtype=torch.float32)
        parts, whole_log_p = list(_chunks(len(targets), len(head))), None
        for part in parts:
            log_p = _log_softmax(hidden[part], head, temperature)
            log_probs[part] = log_p.gather(1, targets[part, None])[:, 0]
            if with_entropies:
                entropies[part] = -torch.linalg.vecdot(log_p.exp(), log_p)
            if len(parts) == 1:
                whole_log_p = log_p  # one chunk fits into memory, so the backward pass need not compute it again
        ctx.temperature = temperature
        ctx.save_for_backward(hidden, head, targets, entropies, whole_log_p)
        ctx.set_materialize_grads(False)  # an output that no loss uses gets None instead of zeros, and costs nothing
        return log_probs, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, Tensor, None, None, None]:
        hidden, head, targets, entropies, whole_log_p = ctx.saved_tensors
        of_log_probs, of_entropies = gradients
        if of_log_probs is None:
            of_log_probs = torch.zeros_like(entropies)
        of_hidden = torch.empty_like(hidden)
        of_head = torch.zeros_like(head, dtype=torch.float32)  # in bfloat16 the sum over chunks would lose small terms
        for part in _chunks(len(targets), len(head)):
            log_p = _log_softmax(hidden[part], head, ctx.temperature) if whole_log_p is None else whole_log_p
            # The formula above, in place where possible: each tensor here is as large as the chunk's logits.
            weighted = log_p.exp()
            if of_entropies is None:
                weighted *= -of_log_probs[part, None]
            else:
                factors = (log_p + entropies[part, None]).mul_(of_entropies[part, None]).add_(of_log_probs[part, None])
                weighted *= factors.neg_()
            weighted.scatter_add_(1, targets[part, None], of_log_probs[part, None])
            if ctx.temperature != 1:
                weighted /= ctx.temperature
            of_logits = weighted.to(hidden.dtype)
            of_hidden[part] = of_logits @ head
            of_head += of_logits.T @ hidden[part]
        return of_hidden, of_head.to(head.dtype), None, None, None


def _log_softmax(hidden: Tensor, head: Tensor, temperature: float) -> Tensor:
    """log p of every token of the vocabulary, `[T, V]` in float32."""
    # The logits become float32 before the softmax, because a sum of 152,000 exponentials in bfloat16 would be wrong.
    logits = (hidden @ head.T).float()
    if temperature != 1:
        logits /= temperature
    return logits.log_softmax(1)


def _chunks(positions: int, vocabulary: int) -> Iterator[slice]:
    size = max(CHUNK_ELEMENTS // vocabulary, 1)
    return (slice(start, start + size) for start in range(0, positions, size))
