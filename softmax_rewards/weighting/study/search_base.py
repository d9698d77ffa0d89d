"""The toy of search with the figures of a measured base model, read from the counts of its evaluation.

hits   The hit rate of a prompt is constant in the toy, so a puzzle's likelihood is h^hits · (1 − h)^(attempts − hits).
       It holds although each answer stops at its first hit, because when a search stops depends only on what came
       before. The distribution of h over the puzzles is the mixture that makes all counts most likely (Kiefer and
       Wolfowitz 1956), found on a grid by expectation maximization. A hit that the text does not call right does not
       end the search, so h is multiplied by the share of hits that it does call right.
q      The share of misses behind which the answer does not close its thinking: it makes a further attempt, or is cut.
fits   Of these answers, the share that completes the next attempt. The token limit decides this, not the policy.
ends   Of the answers that close their thinking behind an attempt, the share in the right format. The others were cut
       while they wrote the answer, or wrote it wrongly.

Behind the last attempt with enough answers to measure the two shares, they are 1 or 0: 1 for as many attempts as fit by
the mean lengths of an attempt and of the rest of an answer.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import binom

from softmax_rewards.weighting.study.search_toy import Search

# Hit rates. A puzzle has too few hits to tell closer ones apart, and then the mixture would converge slowly.
GRID = np.concatenate([[0.0], np.geomspace(0.01, 0.64, 25)])
ROUNDS = 2000  # of expectation maximization
SMALLEST = 1e-3  # a smaller share of the prompts is left out of the mixture
ENOUGH = 20  # answers from which a share is measured
MOST = 64  # attempts in the toy; a longer search is as good as endless
NEEDED = ("endings", "tokens", "by_puzzle")


def measured(counts: Mapping[str, Any] | None) -> bool:
    """Whether `counts`, the `search` of a base model's evaluation, has what `read` needs. Older ones do not."""
    return counts is not None and all(counts.get(name) for name in NEEDED) and counts["hits"] > 0


def read(counts: Mapping[str, Any], max_new_tokens: int, loss: float = 0.0) -> tuple[Search, float]:
    """The toy of a base model, and its probability q of going on after a miss.

    counts          `search` of the base model's evaluation
    max_new_tokens  the token limit of this evaluation
    loss            hidden budget of the training
    """
    attempts, hits = (np.array(counts["by_puzzle"][name].split(), int) for name in ("attempts", "hits"))
    noticed = counts["hits_yes"] / counts["hits"]
    mixture = tuple((hit * noticed, share) for hit, share in hit_rates(attempts, hits))
    begun = counts["endings"][1:]
    misses, stops = (sum(row[name] for row in begun) for name in ("misses", "stops"))
    room = int((max_new_tokens - counts["tokens"]["rest"]) / counts["tokens"]["attempt"])
    # Row m of the endings tells how often attempt m + 1 fits, and how often an ending behind attempt m does.
    fits = [_share(row["goes_on"], row["misses"] - row["stops"]) for row in counts["endings"]]
    ends = [_share(row["formed"], row["closings"]) for row in begun]
    number = max(1, min(MOST, max(room, _known(fits), _known(ends))))
    by_room = [float(k < room) for k in range(number)]
    return Search(mixture, _filled(fits, by_room), _filled(ends, by_room), loss), 1 - stops / misses


def hit_rates(attempts: np.ndarray, hits: np.ndarray) -> tuple[tuple[float, float], ...]:
    """The mixture (h, share of the puzzles) that makes the `hits` of the puzzles in their `attempts` most likely."""
    likelihood = binom.pmf(hits[:, None], attempts[:, None], GRID)
    shares = np.full(len(GRID), 1 / len(GRID))
    for _ in range(ROUNDS):
        shares *= (likelihood / (likelihood @ shares)[:, None]).mean(axis=0)
    kept = shares >= SMALLEST
    return tuple(zip(GRID[kept].tolist(), (shares[kept] / shares[kept].sum()).tolist(), strict=True))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole >= ENOUGH else None


def _known(shares: list[float | None]) -> int:
    """The number of shares up to the last one that was measured."""
    return max((k for k, share in enumerate(shares, 1) if share is not None), default=0)


def _filled(shares: list[float | None], otherwise: list[float]) -> tuple[float, ...]:
    padded = [*shares, *[None] * len(otherwise)][: len(otherwise)]
    return tuple(default if share is None else share for share, default in zip(padded, otherwise, strict=True))
