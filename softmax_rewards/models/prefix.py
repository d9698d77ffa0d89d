"""The shared prefix: each prompt is computed once for all its answers, with gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from softmax_rewards.models.decoder import Decoder


class SharedPrefix:
    """The keys and values of Q prompts without their last tokens.

    A prompt's last token predicts the first token of an answer. So it is computed again with every answer.
    """

    def __init__(self, model: Decoder, prompts: Sequence[Sequence[int]]) -> None:
        device = model.embed_tokens.weight.device
        counts = [len(prompt) - 1 for prompt in prompts]
        self.counts, self.equal = torch.tensor(counts, device=device), len(set(counts)) == 1
        self.sharded = model.sharded
        self.width = max(*counts, 1)  # at least one column, even if all prompts have one token; `mask` hides it
        # Padded on the right: with causal attention no token of the prompt sees the padding, so no mask is needed.
        rows = [[*prompt[:-1], *[0] * (self.width - len(prompt) + 1)] for prompt in prompts]
        recorder = _Recorder()
        self._last = model(torch.tensor(rows, device=device), store=recorder)
        self.values = recorder.values  # per layer its keys, then its values, each [Q, kv_heads, width, head_dim]

    def detach(self) -> "SharedPrefix":
        """Detach `values` from the graph. The gradients of all micro-batches add up there until `backward`."""
        # So each micro-batch can free its own graph, and the prompts need only one backward pass.
        self._graph = self.values
        if not self.sharded:
            del self._last  # only `backward` of a sharded model needs it; otherwise it would take memory
        # In float32, because the gradients of many answers are summed and bfloat16 would lose small ones.
        self.values = [value.detach().float().requires_grad_() for value in self.values]
        return self

    def add(self, gradients: Sequence[Tensor]) -> None:
        """Add `gradients` to those of `values`."""
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
        torch.autograd.backward(outputs, gradients)

    def view(self, prompt_index: Tensor) -> "PrefixView":
        """The keys and values for rows that continue the prompts `prompt_index[B]`."""
        return PrefixView(self.values, prompt_index)

    def positions(self, prompt_index: Tensor, length: int) -> Tensor:
        """Positions `[B, length]` of `length` tokens behind the prompts `prompt_index[B]`."""
        return self.counts[prompt_index, None] + torch.arange(length, device=prompt_index.device)

    def mask(self, prompt_index: Tensor, length: int, dtype: torch.dtype) -> Tensor:
        """The mask of `length` tokens behind the prompts, `[B or 1, 1, length, width + length]`: −inf hides a key."""
        # If all prompts are equally long, one mask serves all rows and takes 1/B of the memory.
        counts = self.counts[:1] if self.equal else self.counts[prompt_index]
        column = torch.arange(self.width + length, device=prompt_index.device)
        later = column > column[self.width :, None]
        padding = (column >= counts[:, None]) & (column < self.width)
        hidden = later | padding[:, None, None]
        return torch.zeros(hidden.shape, device=prompt_index.device, dtype=dtype).masked_fill_(hidden, float("-inf"))


class _Recorder:
    """A `KVStore` that records the keys and the values of each layer."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        # Gradient checkpointing computes a layer a second time, in the backward pass. Only the first pass is recorded.
        if len(self.values) == 2 * layer:
            self.values += [keys, values]
        return keys, values


class PrefixView:
    """A `KVStore` for rows that continue the prompts `prompt_index[B]`. `values` are those of `SharedPrefix`."""

    def __init__(self, values: Sequence[Tensor], prompt_index: Tensor) -> None:
        self.values, self.prompt_index = values, prompt_index

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        # Copied for each micro-batch and layer: all rows' prefixes at once would take N times the memory.
        before = (value[self.prompt_index].to(keys.dtype) for value in self.values[2 * layer : 2 * layer + 2])
        return torch.cat((next(before), keys), 2), torch.cat((next(before), values), 2)
