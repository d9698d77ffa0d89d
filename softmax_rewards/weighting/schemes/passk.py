"""`passk`: the analytic advantage of pass@k training.

Every subset of k samples counts as one trial. A trial succeeds if any of its samples is right. A sample's weight is the
mean z-score of the trials that contain it. If K of N samples are right:

    R = 1 - C(N-K, k)/C(N, k),   s = sqrt(R (1-R))
    right: (1 - R)/s
    wrong: (1 - R - C(N-K-1, k-1)/C(N-1, k-1))/s
    all 0 if s = 0

Chen et al., "Pass@k Training", arXiv 2508.10751.

Limit: k = 1: for 0/1 rewards `linear`, but for its 1e-4.
"""

from math import comb, sqrt
from typing import Annotated

import numpy as np

from softmax_rewards.weighting.number import Number


def weights(
    rewards: np.ndarray,
    correct: np.ndarray,
    *,
    k: Annotated[int, Number("Number of samples in a trial.", low=1, high="N", whole=True)] = 4,
) -> np.ndarray:
    """rewards (unused), correct [Q, N], 1 <= k <= N -> mean-zero weights [Q, N]."""
    samples = rewards.shape[-1]
    table = np.array([_right_and_wrong(samples, right, int(k)) for right in range(samples + 1)])
    right, wrong = table[correct.sum(axis=-1)].T
    return np.where(correct, right[:, None], wrong[:, None])


def _right_and_wrong(samples: int, right: int, k: int) -> tuple[float, float]:
    """Weight of a right and of a wrong sample in a group with `right` right samples."""
    fail = comb(samples - right, k) / comb(samples, k)
    # Every trial has the same outcome, so there is nothing to compare.
    if fail in (0.0, 1.0):
        return 0.0, 0.0
    fail_with_wrong = comb(samples - right - 1, k - 1) / comb(samples - 1, k - 1)
    spread = sqrt(fail * (1.0 - fail))
    return fail / spread, (fail - fail_with_wrong) / spread
