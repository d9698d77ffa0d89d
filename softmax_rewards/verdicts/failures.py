"""Failure modes of finished runs: which ones began, and at which step.

A mode is a quantity with a threshold. It begins when the quantity is beyond the threshold for `PERSISTENCE` steps in a
row, or for `EVALUATIONS` evaluations in a row if it is measured there. One noisy step is no failure. Only "success
below base" is damage; the other modes are symptoms that a run may survive.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from softmax_rewards import weighting
from softmax_rewards.verdicts.finished import FinishedRun
from softmax_rewards.weighting import concentration

PERSISTENCE = 5  # steps in a row
EVALUATIONS = 2  # evaluations in a row

# Effective N of a group with one right answer where all other answers together weigh about a tenth of it.
ONE_SAMPLE = 1.2
# Spread of the weights within a group over their RMS. Below 0.1, 99 % of the squared weight is a constant, which
# carries no information.
FLAT = 0.1
# Learning rates are tried in steps of about 3. A larger factor between gradients acts like another learning rate,
# unless clipping or Adam removes it.
GRADIENT = 3.0
# Share of the base model's entropy. At a fifth, the samples of a group are mostly copies of each other.
ENTROPY = 0.2
# Multiple of the base model's length. Healthy runs in the notes grew from 188 to 340 tokens, less than twice.
LENGTH = 3.0
# Increase over the base model in the share of answers that are cut off. Such answers get no reward.
UNFINISHED = 0.25
# Share of groups with all rewards equal. With 32 prompts per step, one or two groups are left to learn from.
DEAD = 0.95
# Standard errors of a difference of two success rates. A smaller fall may be chance in one evaluation.
ERRORS = 2.5

MODES = {
    "collapse to one sample": "effective N of the weights in groups with one right answer",
    "flat weights": "spread of the weights over their root mean square, in groups with right and wrong answers",
    "gradient too large": "gradient norm over that of the baseline, same seed and step",
    "gradient too small": "gradient norm over that of the baseline, same seed and step",
    "entropy collapse": "policy entropy, nats per token",
    "length explosion": "answer length, tokens",
    "unfinished answers": "share of answers cut off at the token limit",
    "dead groups": "share of groups whose rewards are all equal",
    "success below base": "success on held-out puzzles",
}
COLUMNS = ["ablation", "seed", "mode", "step", "until", "value", "threshold", "measure"]


@dataclass(frozen=True)
class Watch:
    """One quantity over training: `values` [T] at `steps` [T], NaN where it was not measured, and its threshold."""

    mode: str
    steps: np.ndarray
    values: np.ndarray
    threshold: float
    above: bool  # whether failure lies above the threshold; otherwise below
    persistence: int = PERSISTENCE

    def began(self) -> dict[str, float] | None:
        """The first failure that persists, or None.

        step, until  its first and last step;  value  the mean of its first `persistence` measurements;  threshold
        """
        measured = ~np.isnan(self.values)
        steps, values = self.steps[measured], self.values[measured]
        failing = values > self.threshold if self.above else values < self.threshold
        # The difference is 1 where failing steps begin and −1 after they end. So edges come in pairs.
        edges = np.flatnonzero(np.diff(failing.astype(int), prepend=0, append=0))
        for start, end in edges.reshape(-1, 2):
            if end - start >= self.persistence:
                value = float(values[start : start + self.persistence].mean())
                span = {"step": int(steps[start]), "until": int(steps[end - 1])}
                return span | {"value": value, "threshold": self.threshold}
        return None


def detect(runs: Sequence[FinishedRun], baseline: str) -> pd.DataFrame:
    """Every failure that began: one row per run and mode, columns COLUMNS; empty if all runs are healthy.

    The gradients of a run are compared with those of the ablation `baseline` with the same seed.
    """
    norms = {run.seed: run.metrics.set_index("step")["grad_norm"] for run in runs if run.ablation == baseline}
    rows = []
    for run in runs:
        for watch in watches(run, None if run.ablation == baseline else norms.get(run.seed)):
            failure = watch.began()
            if failure:
                names = {"ablation": run.ablation, "seed": run.seed, "mode": watch.mode}
                rows.append({**names, **failure, "measure": MODES[watch.mode]})
    return pd.DataFrame(rows, columns=COLUMNS)


def watches(run: FinishedRun, gradients: pd.Series | None) -> Iterator[Watch]:
    """The quantities to watch in a run. `gradients` are the baseline's norms by step; None: do not compare them."""
    metrics, evaluations, base = run.metrics, run.evaluations, run.evaluations.iloc[0]
    steps = metrics["step"].to_numpy()

    training = run.record["config"]["training"]
    # The weights of a placebo cannot be recomputed from the logged rewards, which are the verifier's.
    if training.get("placebo") is None:
        logged = group_figures(run)
        for mode, threshold, above in (
            ("collapse to one sample", ONE_SAMPLE, False),
            ("flat weights", FLAT, False),
            ("dead groups", DEAD, True),
        ):
            yield Watch(mode, logged.index.to_numpy(), logged[mode].to_numpy(), threshold, above)

    if gradients is not None:
        norms, other = metrics["grad_norm"].to_numpy(), gradients.reindex(steps).to_numpy()
        # A gradient of the baseline can be exactly 0, if all its groups were dead.
        ratio = np.divide(norms, other, out=np.full(len(norms), math.nan), where=other > 0)
        yield Watch("gradient too large", steps, ratio, GRADIENT, above=True)
        yield Watch("gradient too small", steps, ratio, 1 / GRADIENT, above=False)

    # Step 0 is evaluated at temperature 1. With other sampling in training, the first step is what compares.
    plain = training.get("temperature", 1.0) == training.get("top_p", 1.0) == 1.0
    first = base if plain else metrics.iloc[0]
    yield Watch("entropy collapse", steps, metrics["entropy"].to_numpy(), ENTROPY * first["entropy"], above=False)
    yield Watch("length explosion", steps, metrics["length"].to_numpy(), LENGTH * first["length"], above=True)
    unfinished = 1 - metrics["finished"].to_numpy()
    yield Watch("unfinished answers", steps, unfinished, 1 - first["finished"] + UNFINISHED, above=True)

    # Two rates that come from one answer per puzzle count the variance twice. A base model's own evaluation is exact.
    known = run.comparable_base
    rate, noisy = (known["success"], 1) if known else (base["success"], 2)
    margin = ERRORS * math.sqrt(noisy * rate * (1 - rate) / base["puzzles"])
    evaluated, success = evaluations["step"].to_numpy(), evaluations["success"].to_numpy()
    yield Watch("success below base", evaluated, success, rate - margin, above=False, persistence=EVALUATIONS)


def group_figures(run: FinishedRun) -> pd.DataFrame:
    """Figures of the run's weights, one row per step, recomputed from the logged rewards.

    Columns are modes; NaN at a step without such groups:
    "collapse to one sample"  mean effective N over groups with one right answer
    "flat weights"            mean spread over RMS, over groups with right and wrong answers
    "dead groups"             share of groups with all rewards equal
    A reference answer that joined a group is not logged, so it is missing here.
    """
    spec = {key: value for key, value in run.record["config"]["weighting"].items() if key != "scheme"}
    scheme, taus = run.record["config"]["weighting"]["scheme"], run.metrics.set_index("step")["tau"]
    rows = {}
    for step, groups in run.groups.groupby("step"):
        count = groups["count"].to_numpy()
        # Equal groups of a step are logged once, with a count. Some schemes depend on the whole batch.
        rewards = np.repeat(np.array([_parsed(text) for text in groups["rewards"]]), count, axis=0)
        right = np.repeat(groups["right"].to_numpy(), count)
        # With a schedule, τ is the one of this step.
        chosen = spec | {"tau": float(taus[step])} if "tau" in spec else spec
        # Rewards are logged from the highest, so the right answers are the first.
        weights = weighting.compute(scheme, rewards, np.arange(rewards.shape[1]) < right[:, None], **chosen)
        mixed = (right > 0) & (right < rewards.shape[1])
        size = np.sqrt(np.mean(weights**2, axis=1))
        spread = weights.std(axis=1) / np.where(size > 0, size, 1.0)
        rows[step] = {
            "collapse to one sample": _mean(concentration.effective_n(weights[right == 1])),
            "flat weights": _mean(spread[mixed]),
            "dead groups": _mean(rewards[:, 0] == rewards[:, -1]),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


@cache  # a run has few distinct groups, and many steps
def _parsed(rewards: str) -> tuple[float, ...]:
    return tuple(float(reward) for reward in rewards.split())


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan
