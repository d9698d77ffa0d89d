"""The exchange rate X of a scheme: how much success it gives up for format.

A direction in which the policy can move changes the success rate by Δp and the share of well-formed answers by ΔF. Let
W be the expected weight of an answer of some kind: right, well formed but wrong, or unformatted. The expected update of
a scheme follows the direction if Σ W·(change of the kind's share) is positive. So a direction that trades success for
format is followed if and only if it gives up less than X points of success for a point of format:

    X = (W_formed - W_unformatted) / (W_right - W_formed)

The rewards themselves say 0.1/(1.1 - 0.1) = 0.1. A scheme above that pays more for format than the reward does.

Independent answers are assumed, N to a group. W is then an exact sum over the compositions of a group. A scheme that
couples groups sees them in a large batch (`populations.weigh`), so its X is that of such a batch.
"""

from typing import Any, NamedTuple

import numpy as np

from softmax_rewards.weighting.study.populations import Population, independent, weigh

NO_DIFFERENCE = 1e-12  # share of the largest expected weight; a smaller difference is a rounding error


class ExpectedWeights(NamedTuple):
    """The expected weight of an answer of each kind."""

    right: float
    formed: float
    unformatted: float

    @property
    def exchange_rate(self) -> float:
        """X; NaN if a right answer and a well-formed wrong one have the same expected weight."""
        return ratio(self.formed - self.unformatted, self.right - self.formed, max(map(abs, self)))


def ratio(paid: float, gained: float, largest: float) -> float:
    """X from two differences of expected weights; NaN if `gained` is a rounding error of the `largest` weight."""
    smallest = NO_DIFFERENCE * largest
    if abs(gained) <= smallest:
        return float("nan")
    return paid / gained if abs(paid) > smallest else 0.0


def expected_weights(w: np.ndarray, groups: Population) -> ExpectedWeights:
    """Expected weights for weights w [G, N] of a population with three rewards; NaN for a kind that never occurs."""
    low = groups.rewards.min()
    kinds = groups.correct, ~groups.correct & (groups.rewards > low), ~groups.correct & (groups.rewards == low)
    means = []
    for kind in kinds:
        number = kind.sum(axis=-1) @ groups.counts
        means.append(float(np.sum(w * kind, axis=-1) @ groups.counts / number) if number else float("nan"))
    return ExpectedWeights(*means)


def exchange_rate(
    scheme: str,
    hyperparameters: dict[str, Any],
    success: float,
    well_formed: float,
    group_size: int = 8,
    reward_range: tuple[float, float] = (0.0, 1.1),
) -> float:
    """X at a success rate and a share of well-formed answers, right ones included.

    A well-formed wrong answer pays 1/11 of the range. Raises ValueError as `populations.independent` and
    `weighting.compute` do.
    """
    groups = independent(success, well_formed, group_size, reward_range)
    return expected_weights(weigh(groups, scheme, hyperparameters), groups).exchange_rate
