"""The tables of a summary: functions from finished runs to data frames.

Ablations are paired by seed, and compared at the same step and at the same number of generated tokens.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from softmax_rewards.common import stats
from softmax_rewards.verdicts import paired, robust
from softmax_rewards.verdicts.evidence import Evidence
from softmax_rewards.verdicts.finished import EvaluatedRun, FinishedRun, by_ablation
from softmax_rewards.verdicts.measures import EARLY
from softmax_rewards.weighting import temperature
from softmax_rewards.weighting.study import tau_rule
from softmax_rewards.weighting.study.populations import Population, from_log

SWEPT = ("softmax", "softmax_centered")
# Name in the table of comparisons → the endpoint whose noise and margin it has.
COMPARED = {"auc": "auc", "final": "final", "auc_tokens": "auc"}
COMPARISON_COLUMNS = ["ablation", "against", "endpoint", "delta", "low", "high", "p", "p_holm", "family", "seeds"]
COMPARISON_COLUMNS += ["mde", "margin", "outcome", "ratio", "ratio_low", "ratio_high"]


def long(parts: Iterable[tuple[FinishedRun, pd.DataFrame]]) -> pd.DataFrame:
    """The tables of several runs as one table that begins with the columns ablation and seed."""
    return pd.concat(
        [table.assign(ablation=run.ablation, seed=run.seed) for run, table in parts], ignore_index=True
    ).pipe(lambda table: table[["ablation", "seed", *table.columns.drop(["ablation", "seed"])]])


def curves(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """Mean success of each ablation at each step, with its t interval over seeds."""
    rows = []
    for ablation, members in by_ablation(runs):
        table = pd.concat([run.evaluations.set_index("step")["success"] for run in members], axis=1).sort_index()
        for step, values in table.iterrows():
            interval = stats.mean_interval(values.dropna())
            rows.append((ablation, step, interval.estimate, interval.low, interval.high, interval.n))
    return pd.DataFrame(rows, columns=["ablation", "step", "mean", "low", "high", "seeds"])


def final(runs: Sequence[FinishedRun], measures: pd.DataFrame) -> pd.DataFrame:
    """One row per run: its endpoints and the evaluation of its final model."""
    keys = ("greedy", "pass@1", "pass@4", "pass@16", "distinct")
    # Only tasks with a second verdict have it, and older runs of them lack it.
    optional = ["flexible"] * any("flexible" in run.evaluation for run in runs)
    rows = [
        {
            "ablation": run.ablation,
            "seed": run.seed,
            **measures.loc[(run.ablation, run.seed), ["auc", "final", "base"]],
            **{key: run.evaluation[key] for key in keys},
            **{key: run.evaluation.get(key, np.nan) for key in optional},
            "tokens": run.evaluations["tokens"].iloc[-1],
        }
        for run in runs
    ]
    return pd.DataFrame(rows)


def passes(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """pass@1, 4 and 16 of each run: of its base model (step 0), at evaluations that measured it, and at the end."""
    names = ["pass@1", "pass@4", "pass@16"]
    parts = []
    for run in runs:
        ends = [(0, run.base)] * (run.base is not None) + [(run.evaluations["step"].iloc[-1], run.evaluation)]
        inner = run.evaluations.reindex(columns=["step", *names]).dropna(subset=names)
        rows = pd.DataFrame([{"step": step, **{name: figures[name] for name in names}} for step, figures in ends])
        # The last step is measured by the evaluation of the final model too, with the same random numbers.
        both = pd.concat([inner, rows]).drop_duplicates("step", keep="last")
        parts.append((run, both.sort_values("step")))
    return long(parts)


def comparisons(
    runs: Sequence[EvaluatedRun], baseline: str, primary: Sequence[str], evidence: Evidence
) -> pd.DataFrame:
    """Every ablation against the baseline, paired by seed; columns COMPARISON_COLUMNS, in units of success.

    auc and final end at the last step that both runs reached, auc_tokens at the number of tokens that both generated.
    `ratio` is the ablation's gain over the base model, divided by the baseline's, with Fieller's limits. The primary
    family is the AUC of the ablations in `primary`, with Holm's correction. All other rows are exploratory and not
    adjusted. `outcome` is explained in `rules.py`.
    """
    # Before the results are known, any member of the family may meet Holm's first and strictest level.
    levels = {True: stats.strictest_confidence(len(primary)), False: stats.CONFIDENCE}
    curve = {(run.ablation, run.seed): run.evaluations for run in runs}
    found: list[tuple[dict[str, Any], paired.Comparison]] = []
    for ablation, members in by_ablation(runs):
        if ablation == baseline:
            continue
        seeds = [run.seed for run in members if (baseline, run.seed) in curve]
        # The shape is stated because an ablation may share no seed with the baseline.
        pairs = [_endpoints(curve[ablation, seed], curve[baseline, seed]) for seed in seeds]
        values = np.array(pairs).reshape(len(pairs), 2, len(COMPARED))
        rows = [evidence.measures.loc[[(name, seed) for seed in seeds]] for name in (ablation, baseline)]
        for index, (name, endpoint) in enumerate(COMPARED.items()):
            first, second = values[:, 0, index], values[:, 1, index]
            interval, exact = paired.difference(first - second, rows[0], rows[1], endpoint)
            ratio = paired.gain_ratio(first, second, rows[0], endpoint)
            margin = paired.margin(evidence, endpoint)
            planned = ablation in primary and name == "auc"
            detectable = stats.minimum_detectable_effect(interval.deviation, interval.n, confidence=levels[planned])
            row = {
                "ablation": ablation,
                "against": baseline,
                "endpoint": name,
                "delta": interval.estimate,
                **{key: getattr(interval, key) for key in ("low", "high", "p")},
                "family": "primary" if planned else "exploratory",
                "seeds": interval.n,
                "mde": detectable,
                "margin": margin,
                **dict(zip(("ratio", "ratio_low", "ratio_high"), ratio[:3] if ratio else (np.nan,) * 3, strict=True)),
            }
            found.append((row, paired.Comparison(interval, np.nan, np.nan, margin, ratio, exact=exact)))
    # A planned ablation without a run still counts in Holm's correction, because the plan was fixed before the runs.
    missing = [ablation for ablation in primary if ablation not in {row["ablation"] for row, _ in found}]
    absent = {"against": baseline, "endpoint": "auc", "family": "primary", "seeds": 0, "outcome": paired.UNCLEAR}
    table = pd.DataFrame(
        [row for row, _ in found] + [{"ablation": ablation, **absent} for ablation in missing],
        columns=COMPARISON_COLUMNS,
    )
    planned_rows = table["family"] == "primary"
    table["p_holm"] = table["p_holm"].astype(float)
    table.loc[planned_rows, "p_holm"] = stats.holm(table.loc[planned_rows, "p"])
    outcomes = [replace(compared, adjusted=p).outcome for (_, compared), p in zip(found, table["p_holm"], strict=False)]
    table["outcome"] = outcomes + [paired.UNCLEAR] * len(missing)
    return table


def _endpoints(first: pd.DataFrame, second: pd.DataFrame) -> np.ndarray:
    """Both sides [2] of the COMPARED endpoints of one seed: AUC and final at the same step, AUC at the same tokens."""
    # The runs may have different numbers of steps. Only steps that both evaluated are compared.
    both = first.merge(second, on="step", suffixes=("", "_b")).sort_values("step")
    # At equal steps an ablation with longer answers has used more compute. At equal tokens it has not.
    tokens = min(first["tokens"].iloc[-1], second["tokens"].iloc[-1])
    return np.array(
        [
            (
                stats.area(both["step"], both[column]),
                both[column].iloc[-1],
                stats.area(curve["tokens"], curve["success"], tokens),
            )
            for column, curve in (("success", first), ("success_b", second))
        ]
    )


def robust_comparisons(measures: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Interquartile mean of every ablation over its seeds, and its probability of improvement over the baseline.

    One row per ablation and endpoint (auc, final), with bootstrap limits over seeds. An experiment counts as one task.
    """
    columns = ["ablation", "endpoint", "iqm", "iqm_low", "iqm_high"]
    columns += ["improvement", "improvement_low", "improvement_high", "seeds"]
    rows = []
    for ablation, group in measures.groupby("ablation", sort=False):
        for endpoint in ("auc", "final"):
            # [S, 1]: S seeds of one task.
            scores, against = group[[endpoint]].to_numpy(), measures.loc[[baseline], [endpoint]].to_numpy()
            middle = robust.stratified_bootstrap(robust.interquartile_mean, scores)
            better = (np.nan,) * 3
            if ablation != baseline:
                better = robust.stratified_bootstrap(robust.probability_of_improvement, scores, against)
            rows.append((ablation, endpoint, *middle, *better, len(group)))
    return pd.DataFrame(rows, columns=columns)


def puzzle_comparisons(runs: Sequence[FinishedRun], baseline: str) -> pd.DataFrame:
    """Final models against the baseline's final model of the same seed, puzzle by puzzle.

    The interval is a bootstrap over puzzles. It holds for these two trained models only, not for other seeds.
    """
    columns = ["ablation", "seed", "decoding", "delta", "low", "high", "puzzles"]
    against = {run.seed: run.puzzles.set_index("puzzle") for run in runs if run.ablation == baseline}
    rows = []
    for run in runs:
        if run.ablation == baseline or run.seed not in against:
            continue
        difference = (run.puzzles.set_index("puzzle") - against[run.seed]).dropna()
        for decoding in ("sampled", "greedy"):
            # The run's seed also seeds the bootstrap, so the table is the same every time.
            interval = stats.puzzle_bootstrap(difference[decoding], run.seed)
            figures = (interval.estimate, interval.low, interval.high, interval.n)
            rows.append((run.ablation, run.seed, decoding, *figures))
    return pd.DataFrame(rows, columns=columns)


def temperatures(evidence: Evidence, reward_range: tuple[float, float]) -> pd.DataFrame:
    """Success by scheme, endpoint and constant τ, over the ablations that were trained like the baseline."""
    columns = ["scheme", "ablation", "tau", "ratio", "log_ratio", "endpoint", "mean", "low", "high", "seeds"]
    training = evidence.configs[evidence.baseline]["training"]
    rows = []
    for ablation, config in evidence.configs.items():
        weighting = config["weighting"]
        spec = weighting.get("tau")
        if weighting["scheme"] not in SWEPT or temperature.is_schedule(spec) or config["training"] != training:
            continue
        # τ is constant here, so any step gives the same value.
        tau = temperature.resolve(spec, 0, reward_range)
        ratio = tau / (reward_range[1] - reward_range[0])
        for endpoint in ("auc", "final"):
            interval = stats.mean_interval(evidence.measures.loc[ablation, endpoint])
            key = (weighting["scheme"], ablation, tau, ratio, np.log(ratio), endpoint)
            rows.append((*key, interval.estimate, interval.low, interval.high, interval.n))
    table = pd.DataFrame(rows, columns=columns)
    # τ = 0.55 and "auto" may be the same temperature. Only one of the two ablations is kept.
    table = table.drop_duplicates(["scheme", "tau", "endpoint"])
    return table.sort_values(["scheme", "endpoint", "tau"], ignore_index=True)


def fit_temperatures(
    sweep: pd.DataFrame, evidence: Evidence, reward_range: float
) -> dict[str, dict[str, tau_rule.Fit]]:
    """Scheme → endpoint → fit over all seeds. A seed that lacks some τ has NaN there."""
    fits: dict[str, dict[str, tau_rule.Fit]] = {}
    for (scheme, endpoint), grid in sweep.groupby(["scheme", "endpoint"]):
        success = evidence.measures[endpoint].unstack("ablation")[grid["ablation"]]
        fits.setdefault(scheme, {})[endpoint] = tau_rule.fit(grid["tau"], success, reward_range)
    return fits


def base_groups(runs: Sequence[FinishedRun], baseline: str) -> Population:
    """Groups of the baseline's first steps, when the model has hardly changed."""
    return from_log(pd.concat([run.groups[run.groups["step"] <= EARLY] for run in runs if run.ablation == baseline]))
