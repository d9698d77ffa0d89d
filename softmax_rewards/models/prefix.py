"""The shared prefix: prompts read once for all the answers that continue them, with gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from softmax_rewards.models.decoder import Decoder


class SharedPrefix:
    """The keys and values of Q prompts without their last tokens."""

    def __init__(self, model: Decoder, prompts: Sequence[Sequence[int]]) -> None:
        device = model.embed_tokens.weight.device
        counts = [len(prompt) - 1 for prompt in prompts]
        self.counts, self.equal = torch.tensor(counts, device=device), len(set(counts)) == 1
        self.sharded = model.sharded
        self.width = max(*counts, 1)  # where all prompts are one token long, a column that nobody sees
        # Padded on the right: causal attention keeps the padding out of sight of the prompt itself.
        rows = [[*prompt[:-1], *[0] * (self.width - len(prompt) + 1)] for prompt in prompts]
        recorder = _Recorder()
        self._last = model(torch.tensor(rows, device=device), store=recorder)
        self.values = recorder.values  # of every layer keys and values, each [Q, kv_heads, width, head_dim]

    def detach(self) -> "SharedPrefix":
        """Detach `values` from the graph: gradients of the answers collect there until `backward`."""
        self._graph = self.values
        if not self.sharded:
            del self._last  # nothing depends on it, and it need not stay in memory
        # In float32, where the gradients of many answers can be summed.
        self.values = [value.detach().float().requires_grad_() for value in self.values]
        return self

    def add(self, gradients: Sequence[Tensor]) -> None:
        """Add to the gradients of `values`."""
        for value, gradient in zip(self.values, gradients, strict=True):
            value.grad = gradient if value.grad is None else value.grad.add_(gradient)

    def backward(self) -> None:
        """Carry the gradients of `values` on into the model's weights."""
        outputs = self._graph
        gradients = [value.grad.to(old.dtype) for value, old in zip(self.values, outputs, strict=True)]
        if self.sharded:
            # FSDP starts a backward pass when the model's output gets a gradient, even one of 0.
            outputs, gradients = [*outputs, self._last], [*gradients, torch.zeros_like(self._last)]
        torch.autograd.backward(outputs, gradients)

    def view(self, prompt_index: Tensor) -> "PrefixView":
        """What rows that continue the prompts `prompt_index[B]` attend to."""
        return PrefixView(self.values, prompt_index)

    def positions(self, prompt_index: Tensor, length: int) -> Tensor:
        """Positions of `length` tokens behind the prompts `prompt_index[B]`, `[B, length]`."""
        return self.counts[prompt_index, None] + torch.arange(length, device=prompt_index.device)

    def mask(self, prompt_index: Tensor, length: int, dtype: torch.dtype) -> Tensor:
        """What `length` tokens behind the prompts do not see: `[B or 1, 1, length, width + length]`, −inf there."""
        counts = self.counts[:1] if self.equal else self.counts[prompt_index]
        column = torch.arange(self.width + length, device=prompt_index.device)
        later = column > column[self.width :, None]
        padding = (column >= counts[:, None]) & (column < self.width)
        hidden = later | padding[:, None, None]
        return torch.zeros(hidden.shape, device=prompt_index.device, dtype=dtype).masked_fill_(hidden, float("-inf"))


class _Recorder:
    """A `KVStore` that keeps what passes through it: layer after layer its keys, then its values."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        # Gradient checkpointing computes a layer a second time; only the first pass counts.
        if len(self.values) == 2 * layer:
            self.values += [keys, values]
        return keys, values


class PrefixView:
    """A `KVStore` for rows that continue prompts: `values` as in `SharedPrefix`, `prompt_index[B]`."""

    def __init__(self, values: Sequence[Tensor], prompt_index: Tensor) -> None:
        self.values, self.prompt_index = values, prompt_index

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        before = (value[self.prompt_index].to(keys.dtype) for value in self.values[2 * layer : 2 * layer + 2])
        return torch.cat((next(before), keys), 2), torch.cat((next(before), values), 2)
