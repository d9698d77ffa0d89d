"""`passk`: the analytic advantage of pass@k training.

Every subset of k samples counts as one trial. A trial succeeds if any of its samples is right. A sample's weight is the
mean z-score of the trials that contain it. If K of N samples are right:

    R = 1 - C(N-K, k)/C(N, k),   s = sqrt(R (1-R))
    right: (1 - R)/s             wrong: (1 - R - C(N-K-1, k-1)/C(N-1, k-1))/s             all 0 if s = 0

Chen et al., "Pass@k Training", arXiv 2508.10751. With k = 1 it is the z-score of 0/1 rewards.
"""

from math import comb, sqrt

import numpy as np


def weights(rewards: np.ndarray, correct: np.ndarray, *, k: int = 4) -> np.ndarray:
    """rewards (unused), correct [Q, N], 1 <= k <= N -> mean-zero weights [Q, N]."""
    samples = rewards.shape[-1]
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= samples:
        raise ValueError(f"scheme 'passk': k is {k!r}; allowed: a whole number from 1 to N = {samples}")
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
