"""Gradient moments: products of expected gradients, estimated without bias from many independent batches.

|mean of g|² is larger than |E g|², because it contains the noise of g. But two different batches have independent
noise, so E[g_a·h_b] = E g·E h for batches a ≠ b. The mean over all such pairs needs only sums:
(Σ_a g_a·Σ_b h_b − Σ_a g_a·h_a)/(n(n − 1)). It also means that no batch is compared with a direction that it took part
in estimating. Batches are summed in blocks, and leaving out one block after the other gives standard errors.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Products:
    """Products of V vectors with themselves (column 0) and with D of them, the directions (columns 1 … D)."""

    between: np.ndarray  # [J, J, V, 1 + D], of the sums over block i and over block j
    within: np.ndarray  # [J, V, 1 + D], of each batch with itself, summed over the batches of a block
    sizes: np.ndarray  # [J], batches of each block

    def expected(self) -> np.ndarray:
        """Estimates of E v·E v and E v·E direction, [V, 1 + D]."""
        batches = self.sizes.sum()
        return (self.between.sum((0, 1)) - self.within.sum(0)) / (batches * (batches - 1))

    def mean_squares(self) -> np.ndarray:
        """Means of |v|² over the batches, [V]."""
        return self.within[..., 0].sum(0) / self.sizes.sum()

    def without(self, block: int) -> "Products":
        """The same without the batches of one block."""
        kept = np.arange(len(self.sizes)) != block
        return Products(self.between[np.ix_(kept, kept)], self.within[kept], self.sizes[kept])

    def jackknife(self, figures: Callable[["Products"], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """`figures(products)` and their standard errors, by leaving out one block after the other."""
        count = len(self.sizes)
        left_out = np.stack([figures(self.without(block)) for block in range(count)])
        spread = np.square(left_out - left_out.mean(0)).sum(0)
        return figures(self), np.sqrt((count - 1) / count * spread)


class BlockSums:
    """Sums of V vectors over the batches of each block. `directions` are the numbers of D of the vectors."""

    def __init__(self, batches: int, blocks: int, directions: slice) -> None:
        self.sizes = np.array([len(part) for part in np.array_split(np.arange(batches), blocks)])
        self._directions = directions
        self._finished: list[Tensor] = []
        self._within: list[np.ndarray] = []
        self._running, self._added = torch.zeros(0), 0

    def add(self, vectors: Tensor) -> None:
        """Add the vectors `[V, P]` of one batch."""
        # The running sum is in float64. Finished blocks are kept in float32, because there are J · V · P numbers.
        wide = vectors.double()
        products = self._products(wide[:, None], wide[self._directions, None])[0, 0]
        if self._added == 0:
            self._running, within = wide, products
        else:
            self._running += wide
            within = self._within.pop() + products
        self._within.append(within)
        self._added += 1
        if self._added == self.sizes[len(self._finished)]:
            self._finished.append(self._running.float())
            self._added = 0

    def products(self) -> Products:
        """The products of all batches. To be called after the last batch."""
        blocks = torch.stack(self._finished, 1)  # [V, J, P]
        between = self._products(blocks, blocks[self._directions].double())
        return Products(between, np.stack(self._within), self.sizes)

    def _products(self, vectors: Tensor, directions: Tensor) -> np.ndarray:
        """Products of `vectors[V, J, P]` with themselves and with `directions[D, J, P]`, `[J, J, V, 1 + D]`."""
        rows = []
        for vector in vectors:  # one after the other, because all of them in float64 would take much memory
            wide = vector.double()
            rows.append(torch.stack([wide @ other.T for other in (wide, *directions)], -1))
        return torch.stack(rows, 2).cpu().numpy()
