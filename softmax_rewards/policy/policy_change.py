"""How far an update moves the policy, and how far sampling and training disagree about a token's probability.

The old log-probabilities are those that the first update computes anyway. The new ones take a pass of their own after
the last update, over a few of the samples.
"""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from softmax_rewards.policy.engine import Engine
from softmax_rewards.policy.micro_batches import Samples
from softmax_rewards.policy.objective import kl_penalty

SHARE = 64
"""One sample of so many is passed again. More would cost more than a hundredth of a step."""

Facts = dict[str, float | None]


def facts(
    engine: Engine,
    samples: Samples,
    rows: np.ndarray,
    sampled: Tensor,
    old: Tensor,
    log_probs: Callable[[np.ndarray], Tensor],
) -> Facts:
    """The facts for a step's row, both means over tokens in nats; None if there are no `rows`.

    approx_kl                 k3 estimate of KL(old policy‖new policy)
    sampling_logp_difference  |log π while sampling − log π in the first pass of training|

    `rows` are the samples that the update passed, of all processes. `sampled` and `old`, both `[Q·N, T]`, are log π
    while sampling and in the first update's pass. `log_probs(rows)` gives log π now, for rows of this process.
    """
    few = rows[::SHARE]
    difference = _mean(engine, samples, rows, lambda mine: (sampled[mine] - old[mine]).abs())
    drift = _mean(engine, samples, few, lambda mine: kl_penalty(old[mine], log_probs(mine)[mine]))
    return {"approx_kl": drift, "sampling_logp_difference": difference}


def _mean(engine: Engine, samples: Samples, rows: np.ndarray, value: Callable[[np.ndarray], Tensor]) -> float | None:
    """The mean over the tokens of `rows`. `value(rows of this process)` is `[rows, T]`, and 0 after the ends."""
    total = engine.sum(float(value(engine.own_rows(samples, rows)).double().sum()))
    tokens = sum(samples.lengths[row] for row in rows)
    return total / tokens if tokens else None
