"""The map from a reward log: rho, tilt and X of every scheme on the groups that a run logged.

`scheme_map` says what the three figures mean. It computes them for prompts that are all alike. In a log prompts differ.
A wrong answer with one of the higher rewards of wrong answers counts as well formed (`levels`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from softmax_rewards.weighting.study import signal_noise
from softmax_rewards.weighting.study.exchange_rate import expected_weights, ratio
from softmax_rewards.weighting.study.populations import Population, independent, quantiles, weigh
from softmax_rewards.weighting.study.settings import label

COLUMNS = ["scheme", "setting", "success", "well_formed", "paid", "rho", "tilt", "x", "x_alike"]


class Figures(NamedTuple):
    """The place of a scheme on the map; NaN if a figure does not exist."""

    rho: float
    tilt: float
    x: float


class Levels(NamedTuple):
    """The three kinds of answers in a log.

    right, formed, unformatted  reward of a right answer (mean), of a well-formed wrong one (median), of another (mean)
    threshold                   lowest reward of a wrong answer that counts as well formed
    number                      number of different rewards of wrong answers
    success, well_formed        share of right answers, and of well-formed ones with the right ones included
    """

    right: float
    formed: float
    unformatted: float
    threshold: float
    number: int
    success: float
    well_formed: float

    @property
    def paid(self) -> float:
        """X as the rewards themselves say it; NaN if a right answer earns no more than a well-formed wrong one."""
        gained = self.right - self.formed
        return (self.formed - self.unformatted) / gained if gained > 0 else float("nan")


def levels(groups: Population) -> Levels | None:
    """The kinds of answers; None if there is no right answer, or if all wrong answers earn the same.

    With more than two rewards of wrong answers, those from the middle of their range on count as well formed. One rule
    for partial format rewards and for a length penalty alike: it needs no rewards that occur more than once.
    """
    counts = np.repeat(groups.counts[:, None], groups.rewards.shape[1], axis=1)
    wrong = np.unique(groups.rewards[~groups.correct & (counts > 0)])
    if len(wrong) < 2 or not np.any(groups.correct & (counts > 0)):
        return None
    threshold = float(wrong[wrong >= (wrong[0] + wrong[-1]) / 2][0])
    formed = ~groups.correct & (groups.rewards >= threshold)
    unformatted = ~groups.correct & (groups.rewards < threshold)
    total = counts.sum()

    def mean(kind: np.ndarray) -> float:
        return float(np.average(groups.rewards[kind], weights=counts[kind]))

    # A median is a reward that was logged. A mean of several levels may be no reward at all.
    median = float(quantiles(groups.rewards[formed], counts[formed], 0.5))
    success, well_formed = (float(counts[kind].sum() / total) for kind in (groups.correct, groups.correct | formed))
    return Levels(mean(groups.correct), median, mean(unformatted), threshold, len(wrong), success, well_formed)


def figures(groups: Population, scheme: str, hyperparameters: dict[str, Any]) -> Figures:
    """The figures on logged groups, X by `_turned`. Its X is the one to report.

    X for prompts that are all alike (`alike`) is exact at the log's success and format, but in most logs prompts
    differ. Then all-wrong groups are more frequent, and just these make a scheme overpay for format.
    """
    kinds = levels(groups)
    logged = weigh(groups, scheme, hyperparameters)
    signal, square = (part @ groups.counts / groups.counts.sum() for part in signal_noise.moments(logged, groups))
    rho = float(signal / np.sqrt(square)) if square > 0 else 0.0
    x = float("nan")
    if kinds is not None:
        turned = _turned(groups, kinds)
        # The copies would change what a scheme that couples groups estimates, so rho and tilt do without them.
        x = turned.exchange_rate(weigh(turned.groups, scheme, hyperparameters))
    return Figures(rho, tilt(logged, groups), x)


def alike(groups: Population, scheme: str, hyperparameters: dict[str, Any]) -> float:
    """X by exact multinomial sums for equally hard prompts, at the log's success, format, rewards and group size."""
    kinds = levels(groups)
    if kinds is None:
        return float("nan")
    exact = independent(kinds.success, kinds.well_formed, groups.rewards.shape[1])
    middle = np.where(exact.rewards > exact.rewards.min(), kinds.formed, kinds.unformatted)
    exact = replace(exact, rewards=np.where(exact.correct, kinds.right, middle))
    return expected_weights(weigh(exact, scheme, hyperparameters), exact).exchange_rate


def tilt(w: np.ndarray, groups: Population) -> float:
    """g(1)/g(4) for weights w [G, N] of a population.

    NaN if g(4) is 0 or a kind of group is missing. So it is NaN for N < 5, where no group has four right samples and a
    wrong one.
    """
    hard, medium = (_contrast(w, groups, right) for right in (1, 4))
    return hard / medium if abs(medium) > 1e-12 else float("nan")


def table(groups: Population, chosen: Sequence[tuple[str, dict[str, Any]]]) -> pd.DataFrame:
    """One row per setting, (scheme, hyperparameters) in `chosen`, with the columns COLUMNS.

    setting     its hyperparameters as text, "" if it has none
    paid        X as the rewards say it, the same in all rows, as success and well_formed are
    x, x_alike  X of the logged groups, and for prompts that are all alike
    """
    kinds = levels(groups)
    shared = {name: getattr(kinds, name) if kinds else float("nan") for name in ("success", "well_formed", "paid")}
    rows = []
    for scheme, hyperparameters in chosen:
        place = figures(groups, scheme, hyperparameters)._asdict()
        names = {"scheme": scheme, "setting": label(scheme, hyperparameters)}
        rows.append(names | shared | place | {"x_alike": alike(groups, scheme, hyperparameters)})
    return pd.DataFrame(rows, columns=COLUMNS)


class _Turned(NamedTuple):
    """Logged groups, and copies of them with one answer turned into a well-formed wrong one.

    groups          the logged groups, then the copies, whose count is 0
    row, place [R]  group and position of the answer that copy r turns
    """

    groups: Population
    row: np.ndarray
    place: np.ndarray

    def exchange_rate(self, w: np.ndarray) -> float:
        """X for weights w of `groups`."""
        number = len(self.groups.counts) - len(self.row)
        before = w[self.row, self.place]
        after = w[number:][np.arange(len(self.row)), self.place]
        counts, right = self.groups.counts[self.row], self.groups.correct[self.row, self.place]
        gained = (before - after) @ (counts * right) / (counts @ right)
        paid = (after - before) @ (counts * ~right) / (counts @ ~right)
        return ratio(float(paid), float(gained), float(np.abs(before).max()))


def _turned(groups: Population, kinds: Levels) -> _Turned:
    """Each right and each unformatted answer of the log is turned into a well-formed wrong one, one per copy.

    X is then the mean rise in weight of an unformatted answer over the mean loss of a right one. The other answers of
    the group stay, so a prompt is compared with itself. Means over all right, all well-formed and all unformatted
    answers would compare easy prompts with hard ones. For prompts that are all alike the two agree.
    """
    row, place = np.nonzero((groups.correct | (groups.rewards < kinds.threshold)) & (groups.counts > 0)[:, None])
    rewards, correct, copies = groups.rewards[row], groups.correct[row], np.arange(len(row))
    rewards[copies, place], correct[copies, place] = kinds.formed, False
    both = Population(
        np.concatenate([groups.rewards, rewards]),
        np.concatenate([groups.correct, correct]),
        np.concatenate([groups.counts, np.zeros(len(row), dtype=groups.counts.dtype)]),
    )
    return _Turned(both, row, place)


def _contrast(w: np.ndarray, groups: Population, right: int) -> float:
    """g(right): weight of right samples minus that of wrong ones, mean over the groups with that many right ones."""
    number = groups.correct.sum(axis=-1)
    chosen = (number == right) & (number < w.shape[1])
    counts = groups.counts * chosen
    if not counts.sum():
        return float("nan")
    on_right = np.sum(w * groups.correct, axis=-1) / right
    on_wrong = np.sum(w * ~groups.correct, axis=-1) / np.maximum(w.shape[1] - number, 1)
    return float((on_right - on_wrong) @ counts / counts.sum())
