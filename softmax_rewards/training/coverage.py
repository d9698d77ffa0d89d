"""Coverage: the share of puzzles that k answers solve, pass@k."""

import math
from collections.abc import Sequence

import numpy as np

KS = (1, 4, 16)


def rates(right: Sequence[int] | np.ndarray, samples: int) -> dict[str, float]:
    """pass@k for every k of `KS`: the mean over puzzles, from the number of right answers `right` [P] of `samples`."""
    return {f"pass@{k}": float(np.mean(pass_at_k(right, samples, k))) for k in KS}


def pass_at_k(right: Sequence[int] | np.ndarray, samples: int, k: int) -> np.ndarray:
    """Unbiased pass@k [P] from the number of right answers `right` [P] among `samples`.

    1 − C(n − c, k) / C(n, k) with exact binomials (Chen et al. 2021, arXiv 2107.03374, eq. 1). Raises ValueError if
    k > samples.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@k: k = {k} must lie in 1..{samples}, the number of samples per puzzle")
    total = math.comb(samples, k)
    return np.array([1 - math.comb(samples - int(count), k) / total for count in right])
