"""Log-probabilities and entropies from hidden states, without ever holding all logits.

With a vocabulary of 152 k tokens the logits of one micro-batch outweigh everything else of the update. So they are
computed in chunks of positions, reduced to two numbers a position, and computed again in the backward pass.
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
        log_probs, entropies, normalisers = hidden.new_zeros((3, len(targets)), dtype=torch.float32)
        for part in _chunks(len(targets), len(head)):
            logits = (hidden[part] @ head.T).float()
            normalisers[part] = logits.logsumexp(1)
            logits -= normalisers[part, None]  # from here on log p
            log_probs[part] = logits.gather(1, targets[part, None])[:, 0]
            if with_entropies:
                entropies[part] = -torch.linalg.vecdot(logits.exp(), logits)
        ctx.save_for_backward(hidden, head, targets, normalisers, entropies)
        ctx.set_materialize_grads(False)  # an output that no loss uses costs nothing
        return log_probs, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, Tensor, None, None]:
        hidden, head, targets, normalisers, entropies = ctx.saved_tensors
        of_log_probs, of_entropies = gradients
        if of_log_probs is None:
            of_log_probs = torch.zeros_like(normalisers)
        of_hidden = torch.empty_like(hidden)
        of_head = torch.zeros_like(head, dtype=torch.float32)  # summed over chunks, so never in bfloat16
        for part in _chunks(len(targets), len(head)):
            logits = (hidden[part] @ head.T).float()
            logits -= normalisers[part, None]
            weighted = logits.exp()
            if of_entropies is None:
                weighted *= -of_log_probs[part, None]
            else:
                logits.add_(entropies[part, None]).mul_(of_entropies[part, None]).add_(of_log_probs[part, None])
                weighted *= logits.neg_()
            weighted.scatter_add_(1, targets[part, None], of_log_probs[part, None])
            of_logits = weighted.to(hidden.dtype)
            of_hidden[part] = of_logits @ head
            of_head += of_logits.T @ hidden[part]
        return of_hidden, of_head.to(head.dtype), None, None


def _chunks(positions: int, vocabulary: int) -> Iterator[slice]:
    size = max(CHUNK_ELEMENTS // vocabulary, 1)
    return (slice(start, start + size) for start in range(0, positions, size))
