"""Training on the bandit: success over updates for every scheme, and a factorial of settings for the temperature rule.

One update draws one group of N pulls, computes the gradient G of `bandit.py`, and takes one step of plain gradient
ascent or Adam. Success is the exact probability of the right arm, not an estimate. Each run is one row of the arrays,
so thousands of runs are trained together.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from softmax_rewards.common import files
from softmax_rewards.common.stats import mean_interval
from softmax_rewards.weighting.study import tau_choice, tau_rule
from softmax_rewards.weighting.study.bandit import FORMED, Bandit, Table, bandit, signals, table
from softmax_rewards.weighting.study.settings import TAUS, settings

# Optimizer → learning rate, the same for all schemes. With 8 pulls per update, `linear` raises success from 2 % to 50 %
# in about 220 updates of plain ascent (sgd), or 150 of Adam.
RATES = {"sgd": 0.1, "adam": 0.02}
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam, as in the trainer
FORMED_SHARES = (0.0, 0.5)  # shares of the wrong arms that are well formed
CURVE_SUCCESS, CURVE_STEPS, CURVE_SEEDS, CURVE_EVERY = 0.02, 500, 32, 20
FACTORIAL_STEPS, FACTORIAL_SEEDS = 500, 10
SIZES = (2, 4, 8, 16, 32, 64)
BASES = (0.005, 0.02, 0.1, 0.3)
RANGES = (0.5, 1.0, 1.1, 2.0)  # half of each range is in `settings.TAUS`, so range/2 is always tried
SWEPT = ("softmax", "softmax_centered")
CELL = ["optimizer", "scheme", "range", "base", "group_size"]  # the columns that identify a cell of the factorial


def write(out_dir: Path, reward_range: tuple[float, float], group_size: int, seed: int) -> None:
    """Write the bandit's tables into `out_dir`. Equal arguments give equal bytes.

    reward_range  (lowest, highest) reward of signals and curves; the factorial uses RANGES
    group_size    N of signals and curves; the factorial uses SIZES
    """
    tables = [table(scheme, chosen, group_size, reward_range) for scheme, chosen in settings(group_size)]
    runs = trained(tables, reward_range, seed)
    swept = factorial(seed)
    peaks = optima(swept)
    frames = {
        "bandit_signal": signals(tables, reward_range, FORMED_SHARES, seed),
        "bandit_curves": curves(runs, tables),
        "bandit_means": means(runs, tables),
        "bandit_temperature": temperatures(swept),
        "bandit_optimum": peaks,
        "bandit_rule": rule(peaks),
        "bandit_choice": tau_choice.over_cells(swept),
    }
    for name, frame in frames.items():
        files.write_csv(frame, out_dir / f"{name}.csv")


def train(
    problem: Bandit, tables: Sequence[Table], optimizer: str, steps: int, seeds: int, rng: np.random.Generator
) -> np.ndarray:
    """Success before every update and after the last, [steps + 1, tables, seeds]. All tables need the same group size.

    Raises ValueError for an optimizer that is not in RATES.
    """
    if optimizer not in RATES:
        raise ValueError(f"optimizer {optimizer!r}; allowed: {', '.join(RATES)}")
    group_size = len(tables[0].weights) - 1
    weights = np.stack([of.weights for of in tables])
    owner = np.repeat(np.arange(len(tables)), seeds)  # for each run, the index of its table
    formed = problem.kinds == FORMED

    logits = np.tile(np.log(problem.policy), (len(owner), 1))
    first, second = np.zeros_like(logits), np.zeros_like(logits)
    success = np.empty((steps + 1, len(owner)))
    for step in range(steps + 1):
        # The largest logit is subtracted, because exp would overflow for large logits.
        policy = np.exp(logits - logits.max(axis=-1, keepdims=True))
        policy /= policy.sum(axis=-1, keepdims=True)
        success[step] = policy[:, 0]  # the first arm is the right one
        if step == steps:
            break
        pulls = rng.multinomial(group_size, policy)
        # A run's weights by kind of arm; they depend on how many pulls are right and how many well formed.
        w = weights[owner, pulls[:, 0], pulls[:, formed].sum(axis=-1)]
        x = pulls * w[:, problem.kinds]
        gradient = (x - policy * x.sum(axis=-1, keepdims=True)) / group_size
        if optimizer == "adam":
            first += (1 - BETAS[0]) * (gradient - first)
            second += (1 - BETAS[1]) * (gradient**2 - second)
            # Adam's moments start at 0, so they are too small in the first steps. The division corrects this.
            unbiased = first / (1 - BETAS[0] ** (step + 1)), second / (1 - BETAS[1] ** (step + 1))
            gradient = unbiased[0] / (np.sqrt(unbiased[1]) + EPSILON)
        logits += RATES[optimizer] * gradient
    return success.reshape(steps + 1, len(tables), seeds)


Trained = dict[tuple[str, float], np.ndarray]
"""(optimizer, share of wrong arms that are well formed) → what `train` returns."""


def trained(tables: Sequence[Table], reward_range: tuple[float, float], seed: int) -> Trained:
    """Train `tables` with every optimizer of RATES and every share of FORMED_SHARES."""
    rng = np.random.default_rng(seed)
    runs = {}
    for optimizer in RATES:
        for formed in FORMED_SHARES:
            problem = bandit(CURVE_SUCCESS, formed, reward_range)
            runs[optimizer, formed] = train(problem, tables, optimizer, CURVE_STEPS, CURVE_SEEDS, rng)
    return runs


def curves(runs: Trained, tables: Sequence[Table]) -> pd.DataFrame:
    """Mean success at every CURVE_EVERY-th update, with 95 % t intervals over seeds.

    Columns: optimizer, formed, scheme, tau, step, mean, low, high.
    """
    rows = []
    for (optimizer, formed), success in runs.items():
        for index, of in enumerate(tables):
            for step in range(0, len(success), CURVE_EVERY):
                row = {"optimizer": optimizer, "formed": formed} | of.name | {"step": step}
                rows.append(row | _interval(success[step, index]))
    return pd.DataFrame(rows)


def means(runs: Trained, tables: Sequence[Table]) -> pd.DataFrame:
    """Success averaged over each run: its mean and interval over seeds. Also the mean success at the end (`final`).

    Columns: optimizer, formed, scheme, tau, mean, low, high, final.
    """
    rows = []
    for (optimizer, formed), success in runs.items():
        for index, of in enumerate(tables):
            row = {"optimizer": optimizer, "formed": formed} | of.name | _interval(over_training(success)[index])
            rows.append(row | {"final": success[-1, index].mean()})
    return pd.DataFrame(rows)


def over_training(success: np.ndarray) -> np.ndarray:
    """Average success of each run over its T updates, by the trapezoidal rule: [T+1, ...] -> [...]."""
    return (success[1:] + success[:-1]).mean(axis=0) / 2


def factorial(seed: int) -> pd.DataFrame:
    """Average success of each run, one row per run and cell. A right answer is paid the range, a wrong one 0.

    Columns: optimizer, scheme, range, base, group_size, tau, ratio, seed, success.
    """
    # Softmax weights depend only on τ/range. So each ratio is trained once, with rewards 0 and 1. Its runs count in
    # every range whose grid has this ratio.
    rng = np.random.default_rng(seed)
    # Rounded, because 0.55/1.1 and 0.5/1.0 must be the same ratio.
    grid = [(span, tau, round(tau / span, 12)) for span in RANGES for tau in TAUS]
    ratios = sorted({ratio for _, _, ratio in grid})
    seeds = np.arange(FACTORIAL_SEEDS)
    parts = []
    for size in SIZES:
        tables = [table(scheme, {"tau": ratio}, size, (0.0, 1.0)) for scheme in SWEPT for ratio in ratios]
        for base in BASES:
            problem = bandit(base, 0.0, (0.0, 1.0))
            for optimizer in RATES:
                trajectories = train(problem, tables, optimizer, FACTORIAL_STEPS, len(seeds), rng)
                names = [(of.scheme, of.hyperparameters["tau"]) for of in tables]
                success = dict(zip(names, over_training(trajectories), strict=True))
                for scheme in SWEPT:
                    for span, tau, ratio in grid:
                        cell = {"optimizer": optimizer, "scheme": scheme, "range": span, "base": base}
                        cell |= {"group_size": size, "tau": tau, "ratio": ratio, "seed": seeds}
                        parts.append(pd.DataFrame(cell | {"success": success[scheme, ratio]}))
    return pd.concat(parts, ignore_index=True)


def temperatures(swept: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over seeds of the success in `swept`. Columns: CELL, tau, ratio, mean, low, high."""
    rows = []
    for key, runs in swept.groupby([*CELL, "tau", "ratio"], sort=False):
        rows.append(dict(zip([*CELL, "tau", "ratio"], key, strict=True)) | _interval(runs["success"]))
    return pd.DataFrame(rows)


def optima(swept: pd.DataFrame) -> pd.DataFrame:
    """Where success peaks along τ, by `tau_rule.fit`. One row per cell, with the columns CELL and

    best, best_ratio           the τ of the grid with the highest mean success, and this τ divided by the range
    is_half                    whether `best` is range/2, which every grid contains
    lead, lead_low, lead_high  success at `best` minus success at range/2; the interval allows for selecting `best`
    interior                   whether a maximum inside the grid is shown
    peak, peak_low, peak_high  that maximum and its interval, as τ/range
    reason                     why there is no such maximum, else ""
    """
    rows = []
    for key, runs in swept.groupby(CELL, sort=False):
        cell = dict(zip(CELL, key, strict=True))
        grid = runs.pivot(index="seed", columns="tau", values="success")
        fit = tau_rule.fit(grid.columns, grid, cell["range"])
        best = fit.best / cell["range"]
        row = {"best": fit.best, "best_ratio": best, "is_half": bool(np.isclose(best, tau_rule.CLAIMED_RATIO))}
        row |= {"lead": fit.lead.estimate, "lead_low": fit.lead.low, "lead_high": fit.lead.high}
        row |= {"interior": fit.interior, "peak": fit.ratio, "peak_low": fit.low, "peak_high": fit.high}
        rows.append(cell | row | {"reason": fit.reason})
    return pd.DataFrame(rows)


def rule(peaks: pd.DataFrame) -> pd.DataFrame:
    """How often the best τ is range/2. Columns: optimizer, scheme, cells (number), and in how many of them

    is_half     the best τ of the grid is range/2
    beaten      another τ is better than range/2: the interval of `lead` lies above 0
    at_edge     the best τ is the lowest or the highest of the grid
    interior    a maximum inside the grid is shown
    holds_half  range/2 lies inside the interval of that maximum
    """
    half = tau_rule.CLAIMED_RATIO
    extremes = min(TAUS), max(TAUS)
    cells = peaks.assign(
        cells=1,
        beaten=peaks["lead_low"] > 0,
        at_edge=peaks["best"].isin(extremes),
        holds_half=peaks["peak_low"].lt(half) & peaks["peak_high"].gt(half),
    )
    counted = ["cells", "is_half", "beaten", "at_edge", "interior", "holds_half"]
    return cells.groupby(["optimizer", "scheme"], as_index=False, sort=False)[counted].sum()


def _interval(values: np.ndarray) -> dict[str, float]:
    interval = mean_interval(values)
    return {"mean": interval.estimate, "low": interval.low, "high": interval.high}
