"""Populations: many groups of rewards, stored as their distinct compositions with counts.

The weights of a group depend only on its composition (how many samples are right, how many are well formed but wrong,
and how many are neither) and, for a scheme that couples groups, on the rest of the batch. So a million simulated groups
are one multinomial draw of composition counts. It has exactly the distribution of a million separate draws. An average
over groups weighs each composition by its count.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import binom, multinomial

from softmax_rewards import weighting
from softmax_rewards.weighting import concentration

FORMAT_REWARD = 1 / 11  # share of the reward range: 0.1 in [0, 1.1]
COUPLED_BATCH = 8192  # groups in the batch for a scheme that couples groups
WEIGHED_BATCH = 2048  # the same, where every distinct group is weighted
RARE_BATCHES = 64  # most batches for the rare groups
NEVER = 1e-9  # share of the groups
FIGURES = (
    "groups",
    "weight_right",
    "weight_wrong",
    "contrast",
    "effective_n",
    "entropy",
    "max_share",
    "zero_groups",
    "ratio",
    "second_moment",
    "rms",
)


@dataclass(frozen=True)
class Population:
    """G distinct groups: rewards [G, N], correct [G, N], and how often each group occurs, counts [G]."""

    rewards: np.ndarray
    correct: np.ndarray
    counts: np.ndarray


def composed(
    right: ArrayLike,
    formed: ArrayLike,
    group_size: int,
    reward_range: tuple[float, float],
    counts: ArrayLike | None = None,
    format_share: float = FORMAT_REWARD,
) -> Population:
    """Groups of known composition. In group g the first right[g] samples are right, the next formed[g] well formed.

    right, formed, counts [G]. A right sample has the highest reward, a well-formed one the lowest + `format_share` of
    the range, and all others the lowest. `counts` are 1 by default.
    """
    low, high = reward_range
    n_right, n_formed = np.asarray(right)[:, None], np.asarray(formed)[:, None]
    position = np.arange(group_size)
    correct = position < n_right
    well_formed = position < n_right + n_formed
    rewards = np.where(correct, high, np.where(well_formed, low + format_share * (high - low), low))
    return Population(rewards, correct, np.ones(len(n_right)) if counts is None else np.asarray(counts))


def canonical() -> Population:
    """The group behind the reported figures: (1.1, 0.1, 0.1, 0.1, 0, 0, 0, 0). Its first sample is right."""
    rewards = np.array([[1.1, 0.1, 0.1, 0.1, 0.0, 0.0, 0.0, 0.0]])
    return Population(rewards, rewards > 1.0, np.ones(1))


def simulate(
    success: float,
    format_share: float,
    samples: int,
    reward_range: tuple[float, float],
    group_size: int,
    rng: np.random.Generator,
) -> Population:
    """`samples` groups of `group_size` independent answers.

    success       probability that an answer is right
    format_share  probability that a wrong answer is well formed
    """
    right, formed = (grid.ravel() for grid in np.indices((group_size + 1, group_size + 1)))
    right, formed = right[right + formed <= group_size], formed[right + formed <= group_size]
    # First right or wrong, then well formed or not among the wrong ones.
    chance = binom.pmf(right, group_size, success) * binom.pmf(formed, group_size - right, format_share)
    counts = rng.multinomial(samples, chance / chance.sum())
    drawn = counts > 0
    return composed(right[drawn], formed[drawn], group_size, reward_range, counts[drawn])


def by_right(success: float, group_size: int) -> Population:
    """The exact distribution of 0/1 rewards at a success rate: one group for each number of right samples, 0 … N."""
    right = np.arange(group_size + 1)
    return composed(right, 0 * right, group_size, (0.0, 1.0), binom.pmf(right, group_size, success))


def independent(
    success: float,
    well_formed: float,
    group_size: int,
    reward_range: tuple[float, float] = (0.0, 1.1),
    format_share: float = FORMAT_REWARD,
) -> Population:
    """The exact distribution of groups of independent answers: one group per composition, its probability as count.

    success       probability that an answer is right
    well_formed   probability that an answer is well formed; a right answer always is, so it is at least `success`
    format_share  what a well-formed wrong answer earns, as a share of the reward range
    The compositions are the same, in the same order, for all probabilities.
    Raises ValueError unless 0 <= success <= well_formed <= 1.
    """
    if not 0 <= success <= well_formed <= 1:
        raise ValueError(f"success {success}, well_formed {well_formed}; allowed: 0 <= success <= well_formed <= 1")
    right, formed = (grid.ravel() for grid in np.indices((group_size + 1, group_size + 1)))
    right, formed = right[right + formed <= group_size], formed[right + formed <= group_size]
    kinds = np.stack([right, formed, group_size - right - formed], axis=-1)
    chance = multinomial.pmf(kinds, group_size, [success, well_formed - success, 1 - well_formed])
    return composed(right, formed, group_size, reward_range, chance, format_share)


def from_log(table: pd.DataFrame) -> Population:
    """Groups of one size as training logs them. Counts of equal groups are added.

    table  columns rewards ("1.1 0.1 0 0", highest first), right (number of right samples, which come first), count
    Raises ValueError with the first impossible group.
    """
    table = table.groupby(["rewards", "right"], as_index=False)["count"].sum()
    rewards = np.array([[float(reward) for reward in row.split()] for row in table["rewards"]])
    right, count = table["right"].to_numpy(), table["count"].to_numpy()
    bad = (right < 0) | (right > rewards.shape[1]) | (count < 0) | np.any(np.diff(rewards) > 0, axis=-1)
    if bad.any():
        row = table[bad].iloc[0]
        raise ValueError(
            f"logged group {row['rewards']!r}, right={row['right']}, count={row['count']}; allowed: "
            "rewards from highest to lowest, right from 0 to their number, count >= 0"
        )
    return Population(rewards, np.arange(rewards.shape[1]) < right[:, None], count)


def batch(population: Population, size: int, seed: int) -> Population:
    """The groups one by one, each with count 1: all of them, or `size` drawn without replacement if there are more."""
    counts = population.counts.astype(np.int64)
    if counts.sum() > size:
        counts = np.random.default_rng(seed).multivariate_hypergeometric(counts, size)
    rewards, correct = (np.repeat(x, counts, axis=0) for x in (population.rewards, population.correct))
    return Population(rewards, correct, np.ones(len(rewards)))


def weigh(population: Population, scheme: str, hyperparameters: dict[str, Any]) -> np.ndarray:
    """The weights [G, N] of the distinct groups.

    A scheme that couples groups sees all groups, or WEIGHED_BATCH groups in the population's proportions if there are
    more. A group too rare for this batch is added to it to be weighted, alone unless there are many such groups,
    because rare groups are unlike the others and would change what the scheme estimates. A group rarer than NEVER has
    weight 0. A group with count 0 was added by the caller to be weighted, so it is treated as a rare one.
    """
    rewards, correct, counts = population.rewards, population.correct, population.counts
    if not weighting.couples_groups(scheme):
        return weighting.compute(scheme, rewards, correct, **hyperparameters)
    share = counts / counts.sum()
    if counts.sum() > WEIGHED_BATCH or np.any(counts % 1):
        counts = np.diff(np.floor(np.cumsum(share) * WEIGHED_BATCH + 0.5), prepend=0.0)
    drawn = np.repeat(np.arange(len(counts)), counts.astype(int))
    rare = np.flatnonzero((counts == 0) & ((share > NEVER) | (share == 0)))
    w = np.zeros(rewards.shape)
    w[drawn] = weighting.compute(scheme, rewards[drawn], correct[drawn], **hyperparameters)
    for added in np.array_split(rare, min(len(rare), RARE_BATCHES)) if len(rare) else []:
        rows = np.concatenate([drawn, added])
        w[added] = weighting.compute(scheme, rewards[rows], correct[rows], **hyperparameters)[len(drawn) :]
    return w


def summarize(population: Population, scheme: str, hyperparameters: dict[str, Any], seed: int = 0) -> dict[str, float]:
    """FIGURES of one scheme on a population. A figure is NaN if there is nothing to average.

    groups         number of groups; a scheme that couples groups sees one random batch of at most COUPLED_BATCH
    weight_right   mean weight of a right sample
    weight_wrong   mean weight of a wrong sample
    contrast       mean weight of right samples minus that of wrong samples, over groups that have both
    effective_n    mean over groups with any weight, like entropy and max_share (see `concentration`)
    zero_groups    share of groups without any weight
    ratio          best weight : worst weight, geometric mean over groups where both are positive and rewards differ
    second_moment  E[sum of w^2 over a group]
    rms            sqrt(E[w^2]), the scale of the gradient
    """
    if weighting.couples_groups(scheme):
        population = batch(population, COUPLED_BATCH, seed)
    rewards, correct, counts = population.rewards, population.correct, population.counts
    w = weighting.compute(scheme, rewards, correct, **hyperparameters)

    right, wrong = correct.sum(-1), (~correct).sum(-1)
    # A group without right samples has the count 0 in the mean below, so dividing by 1 is harmless.
    on_right = np.sum(w * correct, -1) / np.maximum(right, 1)
    on_wrong = np.sum(w * ~correct, -1) / np.maximum(wrong, 1)

    rows = np.arange(len(w))
    best, worst = w[rows, rewards.argmax(-1)], w[rows, rewards.argmin(-1)]
    # A ratio needs two positive weights and two different rewards.
    comparable = (rewards.max(-1) > rewards.min(-1)) & (best > 0) & (worst > 0)
    log_ratio = np.log(np.where(comparable, best, 1.0)) - np.log(np.where(comparable, worst, 1.0))

    weighted = np.any(w != 0, axis=-1)
    second_moment = _mean(np.sum(w**2, -1), counts)
    return {
        "groups": int(counts.sum()),
        "weight_right": _mean(on_right, counts * right),
        "weight_wrong": _mean(on_wrong, counts * wrong),
        "contrast": _mean(on_right - on_wrong, counts * (right > 0) * (wrong > 0)),
        "effective_n": _mean(concentration.effective_n(w), counts * weighted),
        "entropy": _mean(concentration.entropy(w), counts * weighted),
        "max_share": _mean(concentration.max_share(w), counts * weighted),
        "zero_groups": _mean(~weighted, counts),
        "ratio": float(np.exp(_mean(log_ratio, counts * comparable))),
        "second_moment": second_moment,
        "rms": float(np.sqrt(second_moment / w.shape[1])),
    }


def quantiles(rewards: np.ndarray, counts: np.ndarray, shares: ArrayLike) -> np.ndarray:
    """Quantiles of rewards [n] that occur counts[n] times. Each quantile is one of the rewards."""
    order = np.argsort(rewards)
    upto = np.cumsum(counts[order])
    return rewards[order][np.searchsorted(upto, np.asarray(shares) * upto[-1])]


def _mean(values: np.ndarray, counts: np.ndarray) -> float:
    total = counts.sum()
    return float(values @ counts / total) if total else float("nan")
