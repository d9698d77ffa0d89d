"""The keys and values of sampling: one long store, filled in place, without gradients."""

from copy import copy

import torch
from torch import Tensor

from softmax_rewards.models.shape import Shape


class Cache:
    """Keys and values of every layer: `[layers, 2, B, kv_heads, capacity, head_dim]`, filled column by column."""

    def __init__(self, shape: Shape, rows: int, capacity: int, like: Tensor) -> None:
        size = (shape.num_hidden_layers, 2, rows, shape.num_key_value_heads, capacity, shape.head_dim)
        self.store = like.new_zeros(size)  # columns that are read behind a mask must be finite
        self.capacity = capacity
        self.length = 0  # columns in use, including those that the next pass will write
        self.width = 0  # columns that attention reads; more than `length` only behind a mask

    def open(self, count: int) -> None:
        """Let the next pass write the next `count` columns."""
        self.columns = torch.arange(self.length, self.length + count, device=self.store.device)
        self.length += count
        self.width = self.length

    def advance(self) -> None:
        """Let the next pass write the column behind the last one; `columns` changes in place."""
        self.columns += 1
        self.length += 1

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write the open columns of one layer; return the first `width` columns as views."""
        for store, new in zip(self.store[layer], (keys, values), strict=True):
            store.index_copy_(2, self.columns, new)
        return self.store[layer, 0, :, :, : self.width], self.store[layer, 1, :, :, : self.width]

    def part(self, rows: slice) -> "Cache":
        """The cache of some rows alone, in the same memory."""
        part = copy(self)
        part.store = self.store[:, :, rows]
        return part

    def repeat(self, times: int) -> None:
        """Give every row `times` copies, one after another."""
        if times == 1:
            return
        old = self.store
        self.store = old.new_zeros((*old.shape[:2], times * old.shape[2], *old.shape[3:]))
        for copies, rows in zip(self.store.unflatten(2, (-1, times)), old, strict=True):
            copies[..., : self.length, :] = rows[:, :, None, :, : self.length]

    def keep(self, rows: Tensor) -> None:
        """Keep only `rows`, ascending indices; in place and layer by layer, because the cache may fill the device."""
        for layer in self.store.flatten(0, 1):
            layer[: len(rows), :, : self.length] = layer[:, :, : self.length].index_select(0, rows)
        self.store = self.store[:, :, : len(rows)]
