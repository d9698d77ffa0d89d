"""A toy of search: an answer is a chain of attempts, and the policy only decides after each miss whether to go on.

An attempt hits with probability h. A hit ends the answer, which is then right. After a miss the policy goes on with
probability q, or it stops with a well-formed wrong answer. A search that goes on when no further attempt fits the token
limit is cut. It is unformatted and earns nothing.

So a longer search trades format for success. The expected policy gradient of a scheme says how it settles this trade:
each kind of answer (right, well formed, unformatted) has an expected weight, and the gradient is the sum over the kinds
of this weight times the derivative of the kind's probability. The weights are exact sums over the compositions of a
group (`exchange_rate.expected_weights`). A scheme that couples groups sees a batch of `populations.WEIGHED_BATCH`
groups in the same proportions instead, so its gradient is that of such a batch.

Only q is learned: h stays the same. Every decision of an answer counts the same, as every token does with
`loss_aggregation: token-mean`. That a batch with fewer or shorter answers has a larger scale is left out, because Adam
cancels scales.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np

from softmax_rewards.weighting.study.exchange_rate import ExpectedWeights, expected_weights
from softmax_rewards.weighting.study.populations import Population, independent, weigh

RIGHT, FORMED, LOST, CUT, ATTEMPTS = range(5)
"""Kinds of answers, and the number of attempts, in the arrays below. LOST: ended, but over the hidden budget."""


@dataclass(frozen=True)
class Search:
    """What the policy cannot change in the toy. B is the largest number of attempts.

    hits  (h, share of the prompts with this h), one pair or more; the shares add up to 1. A group is one prompt's
    fits  [B], probability that attempt k fits the token limit if attempt k − 1 did and the search goes on
    ends  [B], probability that an answer which ends behind attempt k still fits; otherwise it is cut
    loss  hidden budget: probability that an attempt after the first loses the answer (see `data.budget`)
    """

    hits: tuple[tuple[float, float], ...]
    fits: tuple[float, ...]
    ends: tuple[float, ...]
    loss: float = 0.0

    @property
    def shares(self) -> np.ndarray:
        """The shares of the prompts, [P]."""
        return np.array([share for _, share in self.hits])

    @classmethod
    def plain(cls, hits: float | tuple[tuple[float, float], ...], attempts: int, loss: float = 0.0) -> Self:
        """A search in which exactly `attempts` attempts fit, each with its ending. `hits` may be one number."""
        mixture = hits if isinstance(hits, tuple) else ((hits, 1.0),)
        return cls(mixture, (1.0,) * attempts, (1.0,) * attempts, loss)


@dataclass(frozen=True)
class Learner:
    """How answers become weights: a scheme, groups of one size, and rewards 1 + f, f and 0 with f = `format_reward`.

    With `skip_unfinished`, the weights are computed from all answers, but cut answers are left out of the gradient.
    """

    scheme: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    group_size: int = 8
    format_reward: float = 0.1
    skip_unfinished: bool = False


class Outcome(NamedTuple):
    """What a policy achieves: means over all prompts."""

    success: float
    formatted: float
    attempts: float
    reward: float


def probabilities(search: Search, go_on: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What becomes of an answer, for each of the P hit rates: figures [P, 5], and their derivatives [P, 5, B].

    go_on [B]: the probability of going on after miss k. The figures are the probabilities of the kinds, and the mean
    number of attempts (`ATTEMPTS`). Column k of the derivatives is for go_on[k].
    """
    hit = np.array([hit for hit, _ in search.hits])[:, None]
    reached = np.cumprod(np.array(search.fits) * np.c_[np.ones_like(hit), (1 - hit) * go_on[:-1]], axis=1)
    right, formed, lost, cut, attempt = np.eye(5)
    derivatives = np.zeros((len(hit), 5, len(go_on)))
    ahead = np.tile(cut, (len(hit), 1))  # what a search that has decided to go on will become
    for k in reversed(range(len(go_on))):
        fits, ends, kept = search.fits[k], search.ends[k], (1 - search.loss) ** k
        won, stopped = (ends * (kept * kind + (1 - kept) * lost) + (1 - ends) * cut for kind in (right, formed))
        derivatives[:, :, k] = reached[:, [k]] * (1 - hit) * (ahead - stopped)
        missed = go_on[k] * ahead + (1 - go_on[k]) * stopped
        ahead = fits * (attempt + hit * won + (1 - hit) * missed) + (1 - fits) * cut
    return ahead, derivatives


def outcome(search: Search, go_on: np.ndarray, format_reward: float = 0.1) -> Outcome:
    """What the policy `go_on` [B] achieves."""
    mean = search.shares @ probabilities(search, go_on)[0]
    success, formatted = float(mean[RIGHT]), float(mean[RIGHT] + mean[FORMED])
    return Outcome(success, formatted, float(mean[ATTEMPTS]), success + format_reward * formatted)


def gradient(search: Search, learner: Learner, go_on: np.ndarray) -> np.ndarray:
    """The expected policy gradient of one answer on the logits of `go_on`, both [B].

    A policy with one logit for all attempts has the sum.
    """
    figures, derivatives = probabilities(search, go_on)
    groups = [_groups(prompt, learner) for prompt in figures]
    batch = replace(groups[0], counts=search.shares @ np.stack([part.counts for part in groups]))
    # The weights of a composition are the same for all prompts. Only how often it occurs differs.
    w = weigh(batch, learner.scheme, dict(learner.hyperparameters))
    factors = np.stack([_by_kind(expected_weights(w, part), learner) for part in groups])
    return np.einsum("p,pk,pkb->b", search.shares, factors, derivatives[:, :ATTEMPTS]) * go_on * (1 - go_on)


def _groups(figures: np.ndarray, learner: Learner) -> Population:
    """The groups of a prompt whose answers have these probabilities."""
    f = learner.format_reward
    # Sums of probabilities may exceed 1 by a rounding error.
    formatted = min(float(figures[RIGHT] + figures[FORMED]), 1.0)
    success = min(float(figures[RIGHT]), formatted)
    return independent(success, formatted, learner.group_size, (0.0, 1 + f), f / (1 + f))


def _by_kind(weights: ExpectedWeights, learner: Learner) -> np.ndarray:
    """The factor of each kind's derivative, [4]."""
    # If format earns nothing, `expected_weights` cannot tell the two kinds of worthless answers apart.
    formed = weights.formed if learner.format_reward else weights.unformatted
    cut = 0.0 if learner.skip_unfinished else weights.unformatted
    # A kind that never occurs has no weight, and as its probability is the smallest possible, it hardly changes either.
    return np.nan_to_num([weights.right, formed, weights.unformatted, cut])
