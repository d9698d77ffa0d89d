"""Ways to choose τ before training, and what each would have cost: is half the reward range the best of them?

Each rule picks one τ of a grid from what is known beforehand: the reward range and groups of the base model. What it
costs is the success at the best τ of the grid, less the success at its choice.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from softmax_rewards import multiplicity, populations, signal_noise
from softmax_rewards.evidence import Evidence
from softmax_rewards.populations import Population, by_right
from softmax_rewards.stats import mean_interval
from softmax_rewards.tau_rule import CLAIMED_RATIO

Cell = tuple[float, float, int]  # of the bandit's factorial: reward range, base success, N
Rule = Callable[[str, Sequence[float], Population, float], float]
# What log(τ/range) is linear in.
FITTED: Mapping[str, Callable[[Cell], np.ndarray]] = {
    "fitted share of the range": lambda cell: np.array([1.0]),
    "fitted to the success rate": lambda cell: np.array([1.0, np.log(cell[1])]),
    "fitted to N": lambda cell: np.array([1.0, np.log(cell[2])]),
}
CELL = ["optimiser", "scheme"]
COLUMNS = ["scheme", "rule", "tau", "ratio", "best", "regret", "low", "high", "seeds"]


def half_the_range(scheme: str, taus: Sequence[float], groups: Population, reward_range: float) -> float:
    """The τ nearest to range/2."""
    return min(taus, key=lambda tau: abs(np.log(tau / (CLAIMED_RATIO * reward_range))))


def effective_n_of_linear(scheme: str, taus: Sequence[float], groups: Population, reward_range: float) -> float:
    """The τ whose weights lie on as many samples as the z-score's, in groups with unequal rewards."""
    unequal = np.ptp(groups.rewards, axis=-1) > 0
    mixed = Population(groups.rewards[unequal], groups.correct[unequal], groups.counts[unequal])

    def log_effective_n(name: str, **hyperparameters: Any) -> float:
        return float(np.log(populations.summarise(mixed, name, hyperparameters)["effective_n"]))

    wanted = log_effective_n("linear")
    return min(taus, key=lambda tau: abs(log_effective_n(scheme, tau=tau) - wanted))


def signal_to_noise(scheme: str, taus: Sequence[float], groups: Population, reward_range: float) -> float:
    """The τ with the highest signal-to-noise that `signal_noise` predicts; the lowest of several."""
    # Rounded: weights that are proportional have equal ratios, whatever the rounding errors of one machine.
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


def table(evidence: Evidence, sweep: pd.DataFrame, groups: Population, reward_range: float) -> pd.DataFrame:
    """A row a scheme with a grid of τ and a rule: its choice and what that cost in mean success over training.

    sweep   as of `summary.temperatures`;  groups  those of the base model
    regret  paired by seed; its interval allows for having chosen the best τ among the others (Bonferroni)
    """
    rows = []
    for scheme, grid in sweep[sweep["endpoint"] == "auc"].groupby("scheme"):
        success = evidence.measures["auc"].unstack("ablation")[grid["ablation"]].dropna()
        success.columns = grid["tau"].to_numpy()
        if len(success.columns) < 2 or success.empty:
            continue
        best = float(success.mean().idxmax())
        for name, rule in RULES.items():
            tau = float(rule(scheme, success.columns, groups, reward_range))
            level = multiplicity.strictest(len(success.columns) - 1)
            lost = mean_interval(success[best] - success[tau], level)
            place = (scheme, name, tau, tau / reward_range, best)
            rows.append((*place, lost.estimate, lost.low, lost.high, lost.n))
    return pd.DataFrame(rows, columns=COLUMNS)


def over_cells(swept: pd.DataFrame) -> pd.DataFrame:
    """The rules over the bandit's factorial (`bandit_training.factorial`), and others fitted to it.

    A fitted rule is log(τ/range) linear in what its name says, by least squares on the best τ of the other cells: all
    but those of the same base success and N, which share their runs.
    Returns optimiser, scheme, rule, then over cells: the mean regret, the share in which the choice is the best τ, and
    the mean spread, success at the best τ less that at the worst.
    """
    rows = []
    for place, part in swept.groupby(CELL, sort=False):
        mean = part.groupby(["range", "base", "group_size", "tau"])["success"].mean()
        cells = {cell: grid.droplevel([0, 1, 2]) for cell, grid in mean.groupby(level=[0, 1, 2])}
        for cell, success in cells.items():
            best = success.idxmax()
            for rule, tau in _choices(place[1], cell, cells).items():
                figures = (success[best] - success[tau], tau == best, success[best] - success.min())
                rows.append((*place, rule, *figures))
    table = pd.DataFrame(rows, columns=[*CELL, "rule", "regret", "best", "spread"])
    return table.groupby([*CELL, "rule"], as_index=False, sort=False).mean()


def _choices(scheme: str, cell: Cell, cells: Mapping[Cell, pd.Series]) -> dict[str, float]:
    """Rule -> its τ in a cell, of cells with mean success by τ."""
    reward_range, base, group_size = cell
    taus = list(cells[cell].index)
    of_base = by_right(base, group_size)
    groups = Population(reward_range * of_base.rewards, of_base.correct, of_base.counts)
    found = {name: rule(scheme, taus, groups, reward_range) for name, rule in RULES.items()}
    others = [other for other in cells if other[1:] != cell[1:]]
    for name, features in FITTED.items():
        wanted = np.array([np.log(cells[other].idxmax() / other[0]) for other in others])
        coefficients = np.linalg.lstsq(np.array([features(other) for other in others]), wanted, rcond=None)[0]
        target = features(cell) @ coefficients
        found[name] = min(taus, key=lambda tau, target=target: abs(np.log(tau / reward_range) - target))
    return found
