"""The tables of a summary: functions from finished runs to data frames.

Ablations are paired by seed, and compared at the same step and at the same number of generated tokens.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from softmax_rewards.common import stats
from softmax_rewards.verdicts import robust
from softmax_rewards.verdicts.evidence import Evidence
from softmax_rewards.verdicts.finished import EvaluatedRun, FinishedRun, by_ablation
from softmax_rewards.weighting import temperature
from softmax_rewards.weighting.study import tau_rule
from softmax_rewards.weighting.study.populations import Population, from_log

EARLY = 10  # the claims about entropy, length and gradient norm are about steps 1–10
SWEPT = ("softmax", "softmax_centered")
COMPARISON_COLUMNS = [
    "ablation",
    "against",
    "endpoint",
    "delta",
    "low",
    "high",
    "p",
    "p_holm",
    "family",
    "seeds",
    "mde",
]


def long(parts: Iterable[tuple[FinishedRun, pd.DataFrame]]) -> pd.DataFrame:
    """The tables of several runs as one table that begins with the columns ablation and seed."""
    return pd.concat(
        [table.assign(ablation=run.ablation, seed=run.seed) for run, table in parts], ignore_index=True
    ).pipe(lambda table: table[["ablation", "seed", *table.columns.drop(["ablation", "seed"])]])


def measure(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """One row per run, index (ablation, seed): every endpoint of `evidence.ENDPOINTS`, "base" and "base_format"."""
    rows = {}
    for run in runs:
        curve, metrics = run.evaluations, run.metrics
        steps, last = curve["step"], curve["step"].iloc[-1]
        # Entropy, length and gradient norm are measured while training, success and behavior on held-out puzzles.
        early, late = metrics[metrics["step"] <= EARLY], metrics[metrics["step"] > 0.8 * last]
        # Step 0 is one answer per puzzle. Where the base model itself was evaluated, its success is known better.
        rows[run.ablation, run.seed] = {
            "base": run.comparable_base["success"] if run.comparable_base else curve["success"].iloc[0],
            "base_format": run.comparable_base["formatted"] if run.comparable_base else curve["format"].iloc[0],
            "auc": stats.area(steps, curve["success"]),
            "final": curve["success"].iloc[-1],
            # Step 0 is the base model, which is the other side of this comparison.
            "first_half": curve.loc[(steps > 0) & (steps <= last / 2), "success"].mean(),
            "entropy_early": early["entropy"].mean(),
            "length_early": early["length"].mean(),
            "length_late": late["length"].mean(),
            "grad_norm_early": early["grad_norm"].mean(),
            **{name: stats.area(steps, curve[name]) for name in ("attempts", "self_checks", "gave_up")},
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["ablation", "seed"])


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


def comparisons(runs: Sequence[EvaluatedRun], baseline: str, primary: Sequence[str]) -> pd.DataFrame:
    """Every ablation against the baseline, paired by seed; columns COMPARISON_COLUMNS, in units of success.

    auc and final end at the last step that both runs reached, auc_tokens at the number of tokens that both generated.
    The primary family is the AUC of the ablations in `primary`, with Holm's correction. All other rows are exploratory
    and not adjusted.
    """
    # Before the results are known, any member of the family may meet Holm's first and strictest level.
    levels = {True: stats.strictest_confidence(len(primary)), False: stats.CONFIDENCE}
    curve = {(run.ablation, run.seed): run.evaluations for run in runs}
    rows = []
    for ablation, members in by_ablation(runs):
        if ablation == baseline:
            continue
        pairs = [(run.evaluations, curve[baseline, run.seed]) for run in members if (baseline, run.seed) in curve]
        # The shape is stated because an ablation may share no seed with the baseline.
        deltas = np.array([_deltas(first, second) for first, second in pairs]).reshape(len(pairs), 3)
        for endpoint, values in zip(("auc", "final", "auc_tokens"), deltas.T, strict=True):
            interval = stats.mean_interval(values)
            planned = ablation in primary and endpoint == "auc"
            rows.append(
                {
                    "ablation": ablation,
                    "against": baseline,
                    "endpoint": endpoint,
                    "delta": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                    "p": interval.p,
                    "p_holm": np.nan,
                    "family": "primary" if planned else "exploratory",
                    "seeds": interval.n,
                    "mde": stats.minimum_detectable_effect(interval.deviation, interval.n, confidence=levels[planned]),
                }
            )
    missing = [ablation for ablation in primary if ablation not in {row["ablation"] for row in rows}]
    # A planned ablation without a run still counts in Holm's correction, because the plan was fixed before the runs.
    absent = {"against": baseline, "endpoint": "auc", "family": "primary", "seeds": 0}
    rows += [{"ablation": ablation, **absent} for ablation in missing]
    table = pd.DataFrame(rows, columns=COMPARISON_COLUMNS)
    planned = table["family"] == "primary"
    table.loc[planned, "p_holm"] = stats.holm(table.loc[planned, "p"])
    return table


def _deltas(first: pd.DataFrame, second: pd.DataFrame) -> tuple[float, float, float]:
    """Differences of one seed's evaluations: AUC and final at the same step, AUC at the same tokens."""
    # The runs may have different numbers of steps. Only steps that both evaluated are compared.
    both = first.merge(second, on="step", suffixes=("", "_b")).sort_values("step")
    # At equal steps an ablation with longer answers has used more compute. At equal tokens it has not.
    tokens = min(first["tokens"].iloc[-1], second["tokens"].iloc[-1])
    return (
        stats.area(both["step"], both["success"]) - stats.area(both["step"], both["success_b"]),
        both["success"].iloc[-1] - both["success_b"].iloc[-1],
        stats.area(first["tokens"], first["success"], tokens) - stats.area(second["tokens"], second["success"], tokens),
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
