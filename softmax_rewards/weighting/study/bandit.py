"""The bandit: K arms, a softmax policy over logits, and one arm that is right. Its gradients, exact and sampled.

A group is N pulls of the policy π. Let w be a scheme's weights, and X_a the sum of w over the pulls of arm a. One
answer is one token, and the loss is a mean over the group. So the gradient in the logits is

    G = (1/N) Σ_i w_i ∇log π(y_i) = (I − π 1ᵀ) X / N

Weights depend only on how many pulls are of each *kind* (right, well formed, neither). So the moments of X are sums
over compositions instead of over all K^N sequences, and mean and covariance of G are exact. Every scheme sees one group
at a time. For a scheme that couples groups this is a batch of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import multinomial

from softmax_rewards import weighting
from softmax_rewards.weighting.study import populations, signal_noise

RIGHT, FORMED, NEITHER = range(3)  # kinds of arms
ARMS = 10
SUCCESS = (0.005, 0.02, 0.09, 0.3)
SAMPLED = 20_000  # groups behind a sampled figure


@dataclass(frozen=True)
class Bandit:
    """A policy [K], positive and with sum 1, over K arms with their kinds [K]. The first arm is right."""

    policy: np.ndarray
    kinds: np.ndarray
    reward_range: tuple[float, float]

    @property
    def direction(self) -> np.ndarray:
        """Unit vector [K] along the gradient of success π_0 in the logits, which is π_0 (e_0 − π)."""
        gradient = (np.arange(len(self.policy)) == 0) - self.policy
        return gradient / np.linalg.norm(gradient)


class Table(NamedTuple):
    """The weights of one scheme on groups of N: [right pulls, well-formed pulls, kind], shape [N+1, N+1, 3].

    Entries of impossible groups are 0. Entries of a kind that a group lacks have no meaning and are never used.
    """

    scheme: str
    hyperparameters: dict[str, Any]
    weights: np.ndarray

    @property
    def name(self) -> dict[str, Any]:
        """Scheme and τ (NaN without one): the columns that name a setting in the tables."""
        return {"scheme": self.scheme, "tau": float(self.hyperparameters.get("tau", np.nan))}


class Figures(NamedTuple):
    """Signal E[G·u] of the gradient G along the `direction` u, noise sqrt(N·tr Cov G), and their ratio.

    The noise is that of one pull. Multiply the ratio by the square root of the number of pulls in a batch.
    """

    signal: float
    noise: float
    snr: float


def bandit(success: float, formed: float, reward_range: tuple[float, float], arms: int = ARMS) -> Bandit:
    """A bandit whose right arm has probability `success`; the wrong arms share the rest evenly.

    formed  share of the wrong arms that are well formed, rounded down to whole arms; these pay 1/11 of the range
    Raises ValueError for a success outside (0, 1), a share outside [0, 1], fewer than two arms, or an empty range.
    """
    if not (0 < success < 1 and 0 <= formed <= 1 and arms >= 2):
        raise ValueError(
            f"success {success}, formed {formed}, arms {arms}; allowed: 0 < success < 1, 0 <= formed <= 1, arms >= 2"
        )
    low, high = reward_range
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"reward_range: {reward_range} is not allowed; allowed: finite (low, high) with low < high")
    policy = np.full(arms, (1 - success) / (arms - 1))
    policy[0] = success
    kinds = np.full(arms, NEITHER)
    kinds[1 : 1 + int(formed * (arms - 1))] = FORMED
    kinds[0] = RIGHT
    return Bandit(policy, kinds, reward_range)


def compositions(group_size: int) -> np.ndarray:
    """Number of pulls of each kind, [G, 3], for every possible group."""
    right, formed = (grid.ravel() for grid in np.indices((group_size + 1, group_size + 1)))
    possible = right + formed <= group_size
    right, formed = right[possible], formed[possible]
    return np.stack([right, formed, group_size - right - formed], axis=-1)


def table(scheme: str, hyperparameters: dict[str, Any], group_size: int, reward_range: tuple[float, float]) -> Table:
    """The weights of `scheme` for every composition. Raises ValueError as `weighting.compute` does."""
    right, formed, _ = compositions(group_size).T
    groups = populations.composed(right, formed, group_size, reward_range)
    if weighting.couples_groups(scheme):
        pairs = zip(groups.rewards[:, None], groups.correct[:, None], strict=True)
        w = np.concatenate([weighting.compute(scheme, *pair, **hyperparameters) for pair in pairs])
    else:
        w = weighting.compute(scheme, groups.rewards, groups.correct, **hyperparameters)
    # `composed` puts the right pulls first, then the well-formed ones, then the others.
    rows = np.arange(len(w))
    weights = np.zeros((group_size + 1, group_size + 1, 3))
    weights[right, formed] = np.stack([w[:, 0], w[rows, np.minimum(right, group_size - 1)], w[:, -1]], axis=-1)
    return Table(scheme, hyperparameters, weights)


def exact(problem: Bandit, of: Table) -> tuple[np.ndarray, np.ndarray]:
    """Mean [K] and covariance [K, K] of the gradient of one group."""
    # If n_c pulls are of kind c, the pulls of its arms are multinomial with s_a = π_a/π_c. So for an arm a of kind c
    # and an arm b of kind d, E[X_a] = s_a E[w_c n_c] and
    # E[X_a X_b] = s_a s_b E[w_c w_d (n_c n_d − 1{c=d} n_c)] + 1{a=b} s_a E[w_c² n_c].
    policy, kinds, group_size = problem.policy, problem.kinds, len(of.weights) - 1
    counts, chances = _possible(problem, group_size)
    w = of.weights[counts[:, RIGHT], counts[:, FORMED]]

    of_kind = np.bincount(kinds, policy, minlength=3)
    share = policy / of_kind[kinds]
    first = chances @ (w * counts)
    alone = chances @ (w**2 * counts)
    # Two pulls of one kind are two different pulls, so each pull paired with itself is taken away.
    pairs = np.einsum("g,gc,gd->cd", chances, w * counts, w * counts) - np.diag(alone)

    mean = share * first[kinds]
    second = np.outer(share, share) * pairs[np.ix_(kinds, kinds)] + np.diag(share * alone[kinds])
    # This matrix maps X to G.
    project = (np.eye(len(policy)) - policy[:, None]) / group_size
    return project @ mean, project @ (second - np.outer(mean, mean)) @ project.T


def figures(problem: Bandit, of: Table) -> Figures:
    """The exact figures of a scheme."""
    mean, covariance = exact(problem, of)
    # Rounding makes the signal of a scheme without signal exactly 0 on every machine.
    signal = round(float(mean @ problem.direction), 15)
    noise = float(np.sqrt(max(0.0, np.trace(covariance)) * (len(of.weights) - 1)))
    return Figures(signal, noise, signal / noise if noise else 0.0)


def gradients(problem: Bandit, of: Table, pulls: np.ndarray) -> np.ndarray:
    """G [M, K] of groups whose arms were pulled `pulls[M, K]` times."""
    right, formed = pulls[:, 0], pulls[:, problem.kinds == FORMED].sum(axis=-1)
    x = pulls * of.weights[right, formed][:, problem.kinds]
    return (x - problem.policy * x.sum(axis=-1, keepdims=True)) / (len(of.weights) - 1)


def sampled(problem: Bandit, of: Table, pulls: np.ndarray) -> tuple[Figures, Figures]:
    """Figures estimated from M sampled groups, `pulls` [M, K], and their standard errors by the delta method."""
    group_gradients, scale = gradients(problem, of, pulls), len(of.weights) - 1
    along = group_gradients @ problem.direction
    squares = scale * np.sum((group_gradients - group_gradients.mean(axis=0)) ** 2, axis=-1)
    signal, noise = float(along.mean()), float(np.sqrt(squares.mean()))
    if not noise:
        return Figures(signal, 0.0, 0.0), Figures(0.0, 0.0, 0.0)
    # The first-order effect of one group on each figure. Its spread over groups gives the standard error.
    of_noise = (squares - noise**2) / (2 * noise)
    of_ratio = (along - signal) / noise - signal / noise**2 * of_noise
    errors = (float(x.std() / np.sqrt(len(pulls))) for x in (along, of_noise, of_ratio))
    return Figures(signal, noise, signal / noise), Figures(*errors)


def signals(
    tables: Sequence[Table], reward_range: tuple[float, float], shares: Sequence[float], seed: int
) -> pd.DataFrame:
    """Exact, sampled and predicted signal-to-noise of `tables`, which have one group size.

    Columns: success, formed, scheme, tau; signal, noise, snr (exact); the same with _sampled and _error; predicted.
    `predicted` is the ratio of `signal_noise.at_success`, a model without a policy. It needs rewards of two values, so
    it is missing if some wrong arms are well formed. All tables see the same sampled groups.
    """
    rng = np.random.default_rng(seed)
    group_size, unit = len(tables[0].weights) - 1, reward_range[1] - reward_range[0]
    rows = []
    for success in SUCCESS:
        for formed in shares:
            problem = bandit(success, formed, reward_range)
            pulls = rng.multinomial(group_size, problem.policy, size=SAMPLED)
            for of in tables:
                estimate, error = sampled(problem, of, pulls)
                row = {"success": success, "formed": formed} | of.name | figures(problem, of)._asdict()
                row |= {f"{name}_sampled": value for name, value in estimate._asdict().items()}
                row |= {f"{name}_error": value for name, value in error._asdict().items()}
                rows.append(row | {"predicted": np.nan if formed else _predicted(of, success, group_size, unit)})
    return pd.DataFrame(rows)


def _predicted(of: Table, success: float, group_size: int, unit: float) -> float:
    """The predicted ratio. Its model has rewards 0 and 1, so τ is divided by the range."""
    chosen = {name: value / unit if name == "tau" else value for name, value in of.hyperparameters.items()}
    signal, noise = signal_noise.at_success(of.scheme, chosen, success, group_size)
    return signal / noise if noise else 0.0


def _possible(problem: Bandit, group_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Compositions [G, 3] that the bandit can produce, and their probabilities [G]."""
    counts = compositions(group_size)
    # A bandit without well-formed arms has no composition with well-formed pulls.
    of_kind = np.bincount(problem.kinds, problem.policy, minlength=3)
    counts = counts[np.all((counts == 0) | (of_kind > 0), axis=-1)]
    return counts, multinomial.pmf(counts, group_size, of_kind / of_kind.sum())
