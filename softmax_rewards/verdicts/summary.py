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
from softmax_rewards.verdicts.measures import EARLY, of_curve
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
    run_of = {(run.ablation, run.seed): run for run in runs}
    found: dict[tuple[str, str], paired.Comparison] = {}
    for ablation, members in by_ablation(runs):
        if ablation == baseline:
            continue
        pairs = [(run, run_of[baseline, run.seed]) for run in members if (baseline, run.seed) in run_of]
        sides = _sides(pairs, evidence.measures)
        found |= {(ablation, name): _compared(name, sides, evidence) for name in COMPARED}
    # A planned ablation without a run still counts in Holm's correction, because the plan was fixed before the runs.
    p = [found[ablation, "auc"].interval.p if (ablation, "auc") in found else np.nan for ablation in primary]
    adjusted = {(ablation, "auc"): value for ablation, value in zip(primary, stats.holm(p), strict=True)}
    rows = [
        {"ablation": ablation, "against": baseline, "endpoint": name}
        | _row(
            replace(compared, adjusted=adjusted.get((ablation, name), np.nan)), (ablation, name) in adjusted, primary
        )
        for (ablation, name), compared in found.items()
    ]
    absent = {"against": baseline, "endpoint": "auc", "family": "primary", "seeds": 0, "outcome": paired.UNCLEAR}
    rows += [{"ablation": ablation} | absent for ablation, name in adjusted if (ablation, name) not in found]
    return pd.DataFrame(rows, columns=COMPARISON_COLUMNS).astype({"p_holm": float})


def _sides(pairs: Sequence[tuple[EvaluatedRun, EvaluatedRun]], measures: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
    """Both sides of the COMPARED endpoints, one row per seed: columns as in `measures`, and auc_tokens.

    pairs  the runs of an ablation, each with the baseline's run of the same seed
    """
    rows: tuple[list[dict[Any, Any]], ...] = ([], [])
    for pair in pairs:
        first, second = (run.evaluations for run in pair)
        common = np.intersect1d(first["step"], second["step"])
        # At equal steps an ablation with longer answers has used more compute. At equal tokens it has not.
        tokens = min(first["tokens"].iloc[-1], second["tokens"].iloc[-1])
        for side, run in zip(rows, pair, strict=True):
            row = measures.loc[(run.ablation, run.seed)].to_dict()
            # The runs may have different numbers of steps. Only steps that both evaluated are compared.
            if not len(common) == len(first) == len(second):
                at_common = run.evaluations["step"].isin(common)
                row |= of_curve(run.evaluations[at_common].sort_values("step", ignore_index=True))
            row["auc_tokens"] = stats.area(run.evaluations["tokens"], run.evaluations["success"], tokens)
            side.append(row)
    # The columns are stated because an ablation may share no seed with the baseline.
    return tuple(pd.DataFrame(side, columns=[*measures.columns, "auc_tokens"]) for side in rows)


def _compared(name: str, sides: tuple[pd.DataFrame, ...], evidence: Evidence) -> paired.Comparison:
    """The comparison of an ablation with the baseline, by one of the COMPARED endpoints. `sides` is from `_sides`."""
    endpoint, (rows, others) = COMPARED[name], sides
    first, second = rows[name].to_numpy(float), others[name].to_numpy(float)
    interval, exact = paired.difference(first - second, rows, others, endpoint)
    ratio = None if exact else paired.gain_ratio(first, second, rows, others, endpoint)
    return paired.Comparison(interval, np.nan, np.nan, paired.margin(evidence, endpoint), ratio, exact=exact)


def _row(compared: paired.Comparison, planned: bool, primary: Sequence[str]) -> dict[str, Any]:
    """The figures of a row of `comparisons`."""
    interval = compared.interval
    ratio = compared.ratio[:3] if compared.ratio else (np.nan,) * 3
    # Before the results are known, any member of the family may meet Holm's first and strictest level.
    confidence = stats.strictest_confidence(len(primary)) if planned else stats.CONFIDENCE
    return {
        "delta": interval.estimate,
        **{key: getattr(interval, key) for key in ("low", "high", "p")},
        "p_holm": compared.adjusted,
        "family": "primary" if planned else "exploratory",
        "seeds": interval.n,
        "mde": stats.minimum_detectable_effect(interval.deviation, interval.n, confidence=confidence),
        "margin": compared.margin,
        "outcome": compared.outcome,
        **dict(zip(("ratio", "ratio_low", "ratio_high"), ratio, strict=True)),
    }


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
        difference = run.puzzles.set_index("puzzle") - against[run.seed]
        for decoding in ("sampled", "greedy"):
            # The run's seed also seeds the bootstrap, so the table is the same every time.
            interval = stats.puzzle_bootstrap(difference[decoding].dropna(), run.seed)
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
