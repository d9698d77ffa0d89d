"""Rules that choose τ before training, and what each choice costs. Is half the reward range the best rule?

Each rule picks one τ of a grid. RULES know only the reward range and groups of the base model. FITTED rules also know
which τ was best in other cells of the bandit's factorial. The cost of a rule is the success at the best τ of the grid
minus the success at the chosen τ.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from softmax_rewards.weighting.study import populations, signal_noise
from softmax_rewards.weighting.study.populations import Population, by_right
from softmax_rewards.weighting.study.tau_rule import CLAIMED_RATIO

Cell = tuple[float, float, int]  # one cell of the bandit's factorial: reward range, base success, N
Rule = Callable[[str, Sequence[float], Population, float], float | None]
# Fitted rule → the features of a cell. The rule takes log(τ/range) as a linear function of them.
FITTED: Mapping[str, Callable[[Cell], np.ndarray]] = {
    "fitted share of the range": lambda cell: np.array([1.0]),
    "fitted to the success rate": lambda cell: np.array([1.0, np.log(cell[1])]),
    "fitted to N": lambda cell: np.array([1.0, np.log(cell[2])]),
}
SAME = 0.01  # smaller differences in log effective N count as none
CELL = ["optimizer", "scheme"]  # the columns of a setting; rules are judged over all cells of one setting


def half_the_range(scheme: str, taus: Sequence[float], groups: Population, reward_range: float) -> float:
    """The τ nearest to range/2."""
    # Temperatures are compared by their ratio, so "nearest" is on the logarithmic scale.
    return min(taus, key=lambda tau: abs(np.log(tau / (CLAIMED_RATIO * reward_range))))


def effective_n_of_linear(scheme: str, taus: Sequence[float], groups: Population, reward_range: float) -> float | None:
    """The τ whose effective N is closest to that of `linear` (the z-score), over groups with unequal rewards.

    None if there are no such groups, or if effective N hardly depends on τ.
    """
    unequal = np.ptp(groups.rewards, axis=-1) > 0
    if not unequal.any():
        return None
    mixed = Population(groups.rewards[unequal], groups.correct[unequal], groups.counts[unequal])

    def log_effective_n(name: str, **hyperparameters: Any) -> float:
        return float(np.log(populations.summarize(mixed, name, hyperparameters)["effective_n"]))

    target = log_effective_n("linear")
    away = {tau: abs(log_effective_n(scheme, tau=tau) - target) for tau in taus}
    # If rewards have only two values, all schemes whose weights have mean 0 have the same effective N. Then effective N
    # cannot tell one τ from another.
    if max(away.values()) - min(away.values()) < SAME:
        return None
    return min(away, key=away.__getitem__)


def signal_to_noise(scheme: str, taus: Sequence[float], groups: Population, reward_range: float) -> float:
    """The τ with the highest signal-to-noise that `signal_noise` predicts. If several are equal, the lowest of them."""
    # Weights at different τ may be proportional, as those of softmax_centered are for 0/1 rewards and N = 2. Then the
    # ratios are equal, except for rounding errors that differ between machines. `round` removes these errors, so every
    # machine chooses the same τ.
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
    """Cost of RULES and of FITTED rules over the bandit's factorial, which is `swept` (`bandit_training.factorial`).

    A fitted rule is a least-squares fit to the best τ of the other cells. Columns: optimizer, scheme, rule, and
    regret  success at the best τ minus success at the chosen τ; below 0 only by chance
    best    share of cells in which the chosen τ is the best τ
    spread  success at the best τ minus success at the worst τ
    These are means over cells. For regret and best, only cells in which the rule chooses a τ count.
    """
    seeds = np.sort(swept["seed"].unique())
    # On the runs that selected it, the best of many τ looks too good. So one half of the seeds selects τ, and the other
    # half measures its success. Then the halves swap roles.
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
    """Cell → mean success by τ."""
    mean = runs.groupby(["range", "base", "group_size", "tau"])["success"].mean()
    return {cell: grid.droplevel([0, 1, 2]) for cell, grid in mean.groupby(level=[0, 1, 2])}


def _choices(scheme: str, cell: Cell, cells: Mapping[Cell, pd.Series]) -> dict[str, float | None]:
    """Each rule with the τ that it chooses in `cell`. `cells` has the mean success by τ of all cells."""
    taus = tuple(cells[cell].index)
    chosen = dict(_beforehand(scheme, cell, taus))
    # Cells that differ only in the range share their runs, because a run depends only on τ/range. A fit to these cells
    # would know the answer.
    others = [other for other in cells if other[1:] != cell[1:]]
    for name, features in FITTED.items():
        peaks = np.array([np.log(cells[other].idxmax() / other[0]) for other in others])
        coefficients = np.linalg.lstsq(np.array([features(other) for other in others]), peaks, rcond=None)[0]
        chosen[name] = _nearest(taus, cell[0], float(features(cell) @ coefficients))
    return chosen


def _nearest(taus: Sequence[float], reward_range: float, target: float) -> float:
    """The τ whose log(τ/range) is nearest to `target`."""
    return min(taus, key=lambda tau: abs(np.log(tau / reward_range) - target))


@functools.cache  # these choices do not depend on the optimizer or on the seeds
def _beforehand(scheme: str, cell: Cell, taus: tuple[float, ...]) -> dict[str, float | None]:
    """Each of RULES with the τ that it chooses in `cell`."""
    reward_range, base, group_size = cell
    of_base = by_right(base, group_size)
    groups = Population(reward_range * of_base.rewards, of_base.correct, of_base.counts)
    return {name: rule(scheme, taus, groups, reward_range) for name, rule in RULES.items()}
