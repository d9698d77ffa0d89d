"""The key-value cache of sampling: one tensor that is filled in place, without gradients."""

from copy import copy

import torch
from torch import Tensor

from softmax_rewards.models.shape import Shape


class Cache:
    """Keys and values of every layer: `[layers, 2, B, kv_heads, capacity, head_dim]`, filled column by column."""

    def __init__(self, shape: Shape, rows: int, capacity: int, like: Tensor) -> None:
        size = (shape.num_hidden_layers, 2, rows, shape.num_key_value_heads, capacity, shape.head_dim)
        # Zeros and not `empty`: attention may read columns behind a mask, and NaN there would spoil the result.
        self.store = like.new_zeros(size)
        self.capacity = capacity
        self.length = 0  # columns in use, including those that the next pass will write
        self.width = 0  # columns that attention reads; more than `length` only if a mask hides the rest

    def open(self, count: int) -> None:
        """Let the next pass write the next `count` columns."""
        self.columns = torch.arange(self.length, self.length + count, device=self.store.device)
        self.length += count
        self.width = self.length

    def advance(self) -> None:
        """Let the next pass write the next column."""
        self.columns += 1  # in place, because a CUDA graph reads this memory
        self.length += 1

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write the open columns of one layer; return views of its first `width` columns."""
        for store, new in zip(self.store[layer], (keys, values), strict=True):
            store.index_copy_(2, self.columns, new)
        return self.store[layer, 0, :, :, : self.width], self.store[layer, 1, :, :, : self.width]

    def part(self, rows: slice) -> "Cache":
        """A cache of only these rows, in the same memory."""
        part = copy(self)
        part.store = self.store[:, :, rows]
        return part

    def repeat(self, times: int) -> None:
        """Replace every row by `times` copies, one after another."""
        if times == 1:
            return
        old = self.store
        self.store = old.new_zeros((*old.shape[:2], times * old.shape[2], *old.shape[3:]))
        for copies, rows in zip(self.store.unflatten(2, (-1, times)), old, strict=True):
            copies[..., : self.length, :] = rows[:, :, None, :, : self.length]  # only the columns in use

    def keep(self, rows: Tensor) -> None:
        """Keep only `rows`, which are ascending indices."""
        # In place and layer by layer: the cache may fill the device, so there is no room for a copy of all of it.
        for layer in self.store.flatten(0, 1):
            layer[: len(rows), :, : self.length] = layer[:, :, : self.length].index_select(0, rows)
        self.store = self.store[:, :, : len(rows)]
