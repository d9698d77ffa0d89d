"""The shared prefix: each prompt is computed once for all its answers, in the forward and in the backward pass."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from softmax_rewards.models.decoder import SHORT, Decoder


class SharedPrefix:
    """The keys and values of Q prompts, each without its last token.

    The last token of a prompt predicts the first token of an answer. So it is computed with each answer, as its first
    input.
    """

    def __init__(self, model: Decoder, prompts: Sequence[Sequence[int]]) -> None:
        device = model.embed_tokens.weight.device
        counts = [len(prompt) - 1 for prompt in prompts]
        self.counts, self.equal = torch.tensor(counts, device=device), len(set(counts)) == 1
        self.sharded = model.sharded
        self.width = max(*counts, 1)  # at least 1; if every prompt has one token, `mask` hides this column
        self.full = min(counts) == self.width  # no prompt has padding
        # Rows are padded on the right. No mask is needed: attention is causal, so no prompt token sees the padding.
        rows = [[*prompt[:-1], *[0] * (self.width - len(prompt) + 1)] for prompt in prompts]
        recorder = _Recorder()
        self._last = model(torch.tensor(rows, device=device), store=recorder)
        self.values = recorder.values  # keys, values of layer 0, of layer 1, …; each [Q, kv_heads, width, head_dim]

    def detach(self) -> "SharedPrefix":
        """Detach `values` from the graph. All micro-batches then add their gradients to the `grad` of `values`."""
        # Each micro-batch can then free its own graph, and the prompts need only one backward pass.
        self._graph = self.values
        if not self.sharded:
            del self._last  # it takes memory, and only `backward` of a sharded model needs it
        # Values are in float32, and so is their `grad`. It sums many answers, and bfloat16 would lose small gradients.
        self.values = [value.detach().float().requires_grad_() for value in self.values]
        return self

    def add(self, gradients: Sequence[Tensor]) -> None:
        """Add `gradients`, one per tensor of `values`, to the `grad` of `values`."""
        # For micro-batches in threads: they return their gradients, because they must not change `grad` at once.
        for value, gradient in zip(self.values, gradients, strict=True):
            value.grad = gradient if value.grad is None else value.grad.add_(gradient)

    def backward(self) -> None:
        """Backpropagate the gradients of `values` into the model's weights."""
        outputs = self._graph
        gradients = []
        for value, old in zip(self.values, outputs, strict=True):
            assert value.grad is not None  # every answer attends to the prompt in every layer
            gradients.append(value.grad.to(old.dtype))
        if self.sharded:
            # FSDP starts a backward pass when the model's output gets a gradient, even a gradient of 0.
            outputs, gradients = [*outputs, self._last], [*gradients, torch.zeros_like(self._last)]
        backpropagate(outputs, gradients)

    def view(self, prompt_index: Tensor) -> "PrefixView":
        """The store for rows that continue the prompts `prompt_index[B]`."""
        return PrefixView(self.values, prompt_index)

    def positions(self, prompt_index: Tensor, length: int) -> Tensor:
        """Positions `[B, length]` of rows that continue the prompts; the first is that of the prompt's last token."""
        return self.counts[prompt_index, None] + torch.arange(length, device=prompt_index.device)

    def mask(self, prompt_index: Tensor, length: int, dtype: torch.dtype) -> Tensor | None:
        """The mask of such rows, `[B or 1, 1, length, width + length]`: 0, or −inf where a key is hidden.

        None if it would only say that attention is causal, and attention over so many keys is faster without a mask.
        """
        if self.full and self.width + length > SHORT:
            return None
        # If all prompts are equally long, one mask serves all rows and takes 1/B of the memory.
        counts = self.counts[:1] if self.equal else self.counts[prompt_index]
        column = torch.arange(self.width + length, device=prompt_index.device)
        later = column > column[self.width :, None]
        padding = (column >= counts[:, None]) & (column < self.width)
        hidden = later | padding[:, None, None]
        return torch.zeros(hidden.shape, device=prompt_index.device, dtype=dtype).masked_fill_(hidden, float("-inf"))


def backpropagate(outputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """Backpropagate from `outputs`, which have the given `gradients`."""
    # `torch.autograd.backward` does the same, but first loads sympy, which takes half a second.
    _Seed.apply(gradients, *outputs).backward()


class _Seed(torch.autograd.Function):
    """A number whose gradients with respect to `outputs` are the given `gradients`."""

    @staticmethod
    def forward(ctx: Any, gradients: Sequence[Tensor], *outputs: Tensor) -> Tensor:
        ctx.gradients = gradients
        return outputs[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return None, *ctx.gradients


class _Recorder:
    """A `KVStore` that records the keys and the values of each layer."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        # With gradient checkpointing, the backward pass calls this a second time. Only the first call is recorded.
        if len(self.values) == 2 * layer:
            self.values += [keys, values]
        return keys, values


class PrefixView:
    """A `KVStore` for rows that continue the prompts `prompt_index[B]`. `values` are those of `SharedPrefix`."""

    def __init__(self, values: Sequence[Tensor], prompt_index: Tensor) -> None:
        self.values, self.prompt_index = values, prompt_index

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        # Each micro-batch copies the prefixes of its own rows. With N answers per prompt, copies for all rows at once
        # would take N times the memory.
        before = (value[self.prompt_index].to(keys.dtype) for value in self.values[2 * layer : 2 * layer + 2])
        return torch.cat((next(before), keys), 2), torch.cat((next(before), values), 2)
