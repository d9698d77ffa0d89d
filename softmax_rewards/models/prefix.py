"""The prompts of a batch, read once for all the answers that continue them, with gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor

from softmax_rewards.models.decoder import Decoder


class Prompts:
    """Q prompts without their last tokens, read once for all that continues them."""

    def __init__(self, model: Decoder, prompts: Sequence[Sequence[int]]) -> None:
        device = model.embed_tokens.weight.device
        counts = [len(prompt) - 1 for prompt in prompts]
        self.counts, self.equal = torch.tensor(counts, device=device), len(set(counts)) == 1
        self.sharded = model.sharded
        self.width = max(*counts, 1)  # where all are one token long, a column that nobody sees
        # Padded on the right, where causal attention keeps it out of sight of the prompt itself.
        rows = [[*prompt[:-1], *[0] * (self.width - len(prompt) + 1)] for prompt in prompts]
        record = _Record()
        self._last = model(torch.tensor(rows, device=device), past=record)
        self.values = record.values  # of every layer keys and values, each [Q, kv_heads, width, head_dim]

    def cut(self) -> "Prompts":
        """Cut the graph behind `values`: gradients of what continues the prompts stay there until `backward`."""
        self._made = self.values
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
        """Carry the gradients that have come together into the weights' own."""
        made = self._made
        gradients = [value.grad.to(old.dtype) for value, old in zip(self.values, made, strict=True)]
        if self.sharded:  # by the gradient of its output a sharded model notices a backward pass, be it 0
            made, gradients = [*made, self._last], [*gradients, torch.zeros_like(self._last)]
        torch.autograd.backward(made, gradients)

    def behind(self, owners: Tensor) -> "_Behind":
        """The past of rows that continue the prompts `owners[B]`."""
        return _Behind(self.values, owners)

    def positions(self, owners: Tensor, length: int) -> Tensor:
        """Positions of `length` tokens behind the prompts `owners[B]`, `[B, length]`."""
        return self.counts[owners, None] + torch.arange(length, device=owners.device)

    def mask(self, owners: Tensor, length: int, dtype: torch.dtype) -> Tensor:
        """What `length` tokens behind the prompts `owners[B]` do not see: `[B or 1, 1, length, width + length]`."""
        counts = self.counts[:1] if self.equal else self.counts[owners]
        column = torch.arange(self.width + length, device=owners.device)
        later = column > column[self.width :, None]
        padding = (column >= counts[:, None]) & (column < self.width)
        hidden = later | padding[:, None, None]
        return torch.zeros(hidden.shape, device=owners.device, dtype=dtype).masked_fill_(hidden, float("-inf"))


class _Record:
    """Keeps what goes by: layer after layer its keys, then its values."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if len(self.values) == 2 * layer:  # a layer computed again for its gradients comes by again
            self.values += [keys, values]
        return keys, values


class _Behind:
    """Rows that continue prompts, `owners[B]`, whose keys and values are `values`."""

    def __init__(self, values: Sequence[Tensor], owners: Tensor) -> None:
        self.values, self.owners = values, owners

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        before = (value[self.owners].to(keys.dtype) for value in self.values[2 * layer : 2 * layer + 2])
        return torch.cat((next(before), keys), 2), torch.cat((next(before), values), 2)
