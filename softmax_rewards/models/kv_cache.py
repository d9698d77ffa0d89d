"""The key-value cache of sampling: tensors that are filled in place, without gradients."""

from copy import copy

import torch
from torch import Tensor

from softmax_rewards.models.shape import Shape


class Cache:
    """Keys and values of every layer, filled column by column; one column holds one token of each of B rows."""

    def __init__(self, shape: Shape, rows: int, capacity: int, like: Tensor) -> None:
        self.shape, self.capacity, self.like = shape, capacity, like
        # On a CPU a product of few queries with many keys is twice as fast if columns lie side by side in memory. The
        # fused kernels of GPUs, and those of bfloat16, need them one after the other.
        sideways = like.device.type == "cpu" and like.dtype.itemsize >= 4
        self.dims = (-1 if sideways else -2, -2)  # the dimension of the columns, of keys and of values
        self.stores = self._allocate(rows)  # keys and values, [layers, B, kv_heads, columns, head_dim] if `dims` are -2
        self.length = 0  # columns in use, including those that the next pass will write
        self.width = 0  # columns that attention reads; more than `length` only if a mask hides the rest

    def _allocate(self, rows: int) -> list[Tensor]:
        size = (self.shape.num_hidden_layers, rows, self.shape.num_key_value_heads)
        column = (self.capacity, self.shape.head_dim)
        # Zeros and not `empty`: attention may read columns behind a mask, and NaN there would spoil the result.
        return [self.like.new_zeros((*size, *(column if dim == -2 else column[::-1]))) for dim in self.dims]

    @property
    def rows(self) -> int:
        return self.stores[0].shape[1]

    def open(self, count: int) -> None:
        """Let the next pass write the next `count` columns."""
        self.columns = torch.arange(self.length, self.length + count, device=self.like.device)
        self.length += count
        self.width = self.length

    def advance(self) -> None:
        """Let the next pass write the next column."""
        self.columns += 1  # in place, because a CUDA graph reads this memory
        self.length += 1

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write the open columns of one layer; return views of its first `width` columns."""
        seen = []
        for store, dim, new in zip(self.stores, self.dims, (keys, values), strict=True):
            store = store[layer]
            store.index_copy_(dim, self.columns, new if dim == -2 else new.transpose(-1, -2))
            store = store.narrow(dim, 0, self.width)
            seen.append(store if dim == -2 else store.transpose(-1, -2))
        return seen[0], seen[1]

    def part(self, rows: slice) -> "Cache":
        """A cache of only these rows, in the same memory."""
        part = copy(self)
        part.stores = [store[:, rows] for store in self.stores]
        return part

    def repeat(self, times: int) -> None:
        """Replace every row by `times` copies, one after another."""
        if times == 1:
            return
        old, self.stores = self.stores, self._allocate(times * self.rows)
        for store, before, dim in zip(self.stores, old, self.dims, strict=True):
            copies = store.narrow(dim, 0, self.length).unflatten(1, (-1, times))
            copies.copy_(before.narrow(dim, 0, self.length).unsqueeze(2))  # only the columns in use

    def keep(self, rows: Tensor) -> None:
        """Keep only `rows`, which are ascending indices."""
        # In place and layer by layer: the cache may fill the device, so there is no room for a copy of all of it.
        for store, dim in zip(self.stores, self.dims, strict=True):
            for layer in store.narrow(dim, 0, self.length):
                layer[: len(rows)] = layer.index_select(0, rows)
        self.stores = [store[:, : len(rows)] for store in self.stores]
