"""Ways to choose τ before training, and what each would have cost: is half the reward range the best of them?

Each rule picks one τ of a grid from what is known beforehand: the reward range and groups of the base model. Its
cost is the success at the best τ of the grid minus the success at its choice.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from softmax_rewards.weighting.study import populations, signal_noise
from softmax_rewards.weighting.study.populations import Population, by_right
from softmax_rewards.weighting.study.tau_rule import CLAIMED_RATIO

Cell = tuple[float, float, int]  # of the bandit's factorial: reward range, base success, N
Rule = Callable[[str, Sequence[float], Population, float], float | None]
# What log(τ/range) is linear in.
FITTED: Mapping[str, Callable[[Cell], np.ndarray]] = {
    "fitted share of the range": lambda cell: np.array([1.0]),
    "fitted to the success rate": lambda cell: np.array([1.0, np.log(cell[1])]),
    "fitted to N": lambda cell: np.array([1.0, np.log(cell[2])]),
}
SAME = 0.01  # in log effective N: a smaller difference counts as none
CELL = ["optimizer", "scheme"]


def half_the_range(scheme: str, taus: Sequence[float], groups: Population, reward_range: float) -> float:
    """The τ nearest to range/2."""
    return min(taus, key=lambda tau: abs(np.log(tau / (CLAIMED_RATIO * reward_range))))


def effective_n_of_linear(scheme: str, taus: Sequence[float], groups: Population, reward_range: float) -> float | None:
    """The τ whose weights lie on as many samples as the z-score's, in groups with unequal rewards.

    None without such groups. None where effective N hardly depends on τ, too: with two-valued rewards all schemes with
    mean 0 have the same effective N.
    """
    unequal = np.ptp(groups.rewards, axis=-1) > 0
    if not unequal.any():
        return None
    mixed = Population(groups.rewards[unequal], groups.correct[unequal], groups.counts[unequal])

    def log_effective_n(name: str, **hyperparameters: Any) -> float:
        return float(np.log(populations.summarize(mixed, name, hyperparameters)["effective_n"]))

    target = log_effective_n("linear")
    away = {tau: abs(log_effective_n(scheme, tau=tau) - target) for tau in taus}
    if max(away.values()) - min(away.values()) < SAME:
        return None
    return min(away, key=away.__getitem__)


def signal_to_noise(scheme: str, taus: Sequence[float], groups: Population, reward_range: float) -> float:
    """The τ with the highest signal-to-noise that `signal_noise` predicts; the lowest of several."""
    # Rounded, so that proportional weights have equal ratios on every machine.
    return max(sorted(taus), key=lambda tau: round(signal_noise.of_groups(scheme, {"tau": tau}, groups), 9))


def lowest(scheme: str, taus: Sequence[float], groups: Population, reward_range: float) -> float:
    """The lowest τ of the grid, for comparison."""
    return min(taus)


RULES: Mapping[str, Rule] = {
    "half the range": half_the_range,
    "effective N as linear's": effective_n_of_linear,
    "signal-to-noise": signal_to_noise,
    "lowest tried": lowest,
}


def over_cells(swept: pd.DataFrame) -> pd.DataFrame:
    """The rules over the bandit's factorial (`bandit_training.factorial`), and others fitted to it.

    A fitted rule takes log(τ/range) as linear in what its name says. It is fitted by least squares to the best τ of the
    other cells; cells of the same base success and N are left out because they share their runs. The best τ is searched
    on one half of the seeds, and its gain over the choice is measured on the other half; then the halves change roles.
    On the same runs the best of many would look better than it is. A regret below 0 is chance.
    Returns optimizer, scheme, rule, then over the cells in which the rule chooses: the mean regret, the share in which
    the choice is the best τ, and the mean spread: success at the best τ minus success at the worst.
    """
    seeds = np.sort(swept["seed"].unique())
    halves = seeds[::2], seeds[1::2]
    rows = []
    for searched, measured in (halves, halves[::-1]):
        for setting, part in swept.groupby(CELL, sort=False):
            cells, judged = (_means(part[part["seed"].isin(half)]) for half in (searched, measured))
            for cell, success in cells.items():
                best, worst = success.idxmax(), success.idxmin()
                spread = judged[cell][best] - judged[cell][worst]
                for rule, tau in _choices(setting[1], cell, cells).items():
                    lost = np.nan if tau is None else judged[cell][best] - judged[cell][tau]
                    rows.append((*setting, rule, lost, np.nan if tau is None else tau == best, spread))
    table = pd.DataFrame(rows, columns=[*CELL, "rule", "regret", "best", "spread"]).astype({"best": float})
    return table.groupby([*CELL, "rule"], as_index=False, sort=False).mean()


def _means(runs: pd.DataFrame) -> dict[Cell, pd.Series]:
    """Cell -> mean success by τ."""
    mean = runs.groupby(["range", "base", "group_size", "tau"])["success"].mean()
    return {cell: grid.droplevel([0, 1, 2]) for cell, grid in mean.groupby(level=[0, 1, 2])}


def _choices(scheme: str, cell: Cell, cells: Mapping[Cell, pd.Series]) -> dict[str, float | None]:
    """Rule -> its τ in a cell, of cells with mean success by τ."""
    taus = tuple(cells[cell].index)
    chosen = dict(_beforehand(scheme, cell, taus))
    others = [other for other in cells if other[1:] != cell[1:]]
    for name, features in FITTED.items():
        peaks = np.array([np.log(cells[other].idxmax() / other[0]) for other in others])
        coefficients = np.linalg.lstsq(np.array([features(other) for other in others]), peaks, rcond=None)[0]
        target = features(cell) @ coefficients
        chosen[name] = min(taus, key=lambda tau, target=target: abs(np.log(tau / cell[0]) - target))
    return chosen


@functools.cache  # the same for every optimizer and half of the seeds
def _beforehand(scheme: str, cell: Cell, taus: tuple[float, ...]) -> dict[str, float | None]:
    """Rule of RULES -> its τ in a cell."""
    reward_range, base, group_size = cell
    of_base = by_right(base, group_size)
    groups = Population(reward_range * of_base.rewards, of_base.correct, of_base.counts)
    return {name: rule(scheme, taus, groups, reward_range) for name, rule in RULES.items()}
