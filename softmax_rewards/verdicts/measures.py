"""Measures: the endpoints of every finished run, with what is needed to judge them.

The success of the base model is one known number. If the base model was not evaluated itself, the step 0 of all runs
that start from it are put together: each has its own random answers to the same puzzles.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from softmax_rewards.common import stats
from softmax_rewards.verdicts.finished import FinishedRun

EARLY = 10  # the claims about entropy, length and gradient norm are about steps 1–10
LATE = 0.8  # share of the steps behind which the last fifth begins


def measure(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """One row per run, index (ablation, seed).

    Columns: every endpoint of `evidence.ENDPOINTS`; base, base_error (its standard error) and base_<endpoint> of the
    base model; base_model, which names it; <endpoint>_noise, the standard deviation that sampling the answers alone
    gives a success rate; <endpoint>_right and <endpoint>_answers, how many answers of how many were right. For a mean
    over several evaluations, both are means over them.
    """
    pooled = _pooled_bases(runs)
    rows = {(run.ablation, run.seed): _row(run) | pooled[_base_key(run)] for run in runs}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["ablation", "seed"])


def of_curve(curve: pd.DataFrame) -> dict[str, float]:
    """The endpoints that a success curve (columns step, success, and puzzles if known) gives, with their noise."""
    steps, success, last = curve["step"], curve["success"], curve["step"].iloc[-1]
    # Step 0 is the base model, which is the other side of this comparison.
    half = curve[(steps > 0) & (steps <= last / 2)]
    row = {"auc": stats.area(steps, success), "final": success.iloc[-1], "first_half": half["success"].mean()}
    if "puzzles" not in curve:
        return row
    trained = curve[steps > 0]
    variance = _sampling_variance(success, curve["puzzles"])
    # All runs of a seed share their step 0, so its noise is in no difference between them.
    weights = np.where(steps > 0, _trapezoid(steps.to_numpy(float)), 0.0)
    row |= {
        "auc_noise": np.sqrt(weights**2 @ variance),
        "final_noise": np.sqrt(variance.iloc[-1]),
        "first_half_noise": np.sqrt(variance[half.index].sum()) / max(len(half), 1),
    }
    # All evaluations of a run have the same puzzles and random numbers, so an answer may be right again and again by
    # the same luck. Therefore several evaluations count only as many answers as one.
    for endpoint, points in {"auc": trained, "final": trained.tail(1), "first_half": half}.items():
        row[f"{endpoint}_answers"] = points["puzzles"].mean()
        row[f"{endpoint}_right"] = (points["puzzles"] * points["success"]).mean()
    return row


def _row(run: FinishedRun) -> dict[str, Any]:
    """The endpoints of one run."""
    curve, metrics = run.evaluations, run.metrics
    steps, last = curve["step"], curve["step"].iloc[-1]
    # Entropy, length and gradient norm are measured while training, success and behavior on held-out puzzles.
    early, late = metrics[metrics["step"] <= EARLY], metrics[metrics["step"] > LATE * last]
    # Runs of the first series did not evaluate the reward.
    areas = {name: stats.area(steps, curve[name]) for name in ("attempts", "self_checks", "reward") if name in curve}
    wrong = 1 - stats.area(steps, curve["success"])
    row = of_curve(curve) | {
        "reward": np.nan,
        "pass@16": run.evaluation["pass@16"],
        "entropy_early": early["entropy"].mean(),
        "length_early": early["length"].mean(),
        "length_late": late["length"].mean(),
        "length_final": curve["length"].iloc[-1],
        "grad_norm_early": early["grad_norm"].mean(),
        **areas,
        # Right answers never admit defeat. A model that is wrong more often would seem to admit it more often.
        "gave_up": stats.area(steps, curve["gave_up"]) / wrong if wrong else np.nan,
    }
    if (answers := run.evaluation.get("answers")) is not None:  # older runs have one answer per puzzle, as the curve
        success = run.evaluation["success"]
        noise = np.sqrt(_sampling_variance(success, answers))
        row |= {"final": success, "final_noise": noise}
        row |= {"final_answers": answers, "final_right": success * answers}
    return row


def _sampling_variance(success: Any, answers: Any) -> Any:
    """Variance of a share of right answers. By Laplace's rule it is above 0 even if all answers are right, or none."""
    share = (success * answers + 1) / (answers + 2)
    return share * (1 - share) / answers


def _trapezoid(x: np.ndarray) -> np.ndarray:
    """The weights of `stats.area`, [T]: the area is their product with the heights."""
    gaps = np.diff(x)
    return (np.append(gaps, 0) + np.append(0, gaps)) / 2 / (x[-1] - x[0])


def _base_key(run: FinishedRun) -> tuple[str, int, bool]:
    """What runs must share to have the same base model, evaluated alike."""
    training = run.record["config"]["training"]
    return run.record["base"], training["max_new_tokens"], bool(training.get("hidden_budget"))


def _pooled_bases(runs: Sequence[FinishedRun]) -> dict[tuple[str, int, bool], dict[str, Any]]:
    """Key of a base model → its columns in the table of `measure`."""
    members: dict[tuple[str, int, bool], dict[int, FinishedRun]] = {}
    for run in runs:
        # One run per seed is enough, because all runs of a seed have the same step 0.
        members.setdefault(_base_key(run), {}).setdefault(run.seed, run)
    return {key: {"base_model": key[0], **_base(list(same.values()))} for key, same in members.items()}


def _base(runs: Sequence[FinishedRun]) -> dict[str, float]:
    """The base model of `runs`, one per seed."""
    first = pd.DataFrame([run.evaluations.iloc[0] for run in runs])
    evaluated = runs[0].comparable_base
    row = {"base_length": first["length"].mean(), "base_pass@16": np.nan}
    # Runs of the first series did not evaluate the reward, and then both are NaN.
    rewards = first["reward"] if "reward" in first else pd.Series(dtype=float)
    row |= {"base_reward": rewards.mean(), "base_reward_error": rewards.sem()}
    if evaluated is None:
        answers, right = first["puzzles"].sum(), (first["puzzles"] * first["success"]).sum()
        success, formed = right / answers, first["format"].mean()
        error = np.sqrt(_sampling_variance(success, answers))
    else:
        answers = evaluated["puzzles"] * evaluated["samples"]
        success, formed, error = evaluated["success"], evaluated["formatted"], evaluated["success_error"]
        row |= {"base_length": evaluated["length"], "base_pass@16": evaluated["pass@16"]}
    counts = {"base_answers": answers, "base_right": round(success * answers)}
    return row | {"base": success, "base_error": error, "base_format": formed} | counts
