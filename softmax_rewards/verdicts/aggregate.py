"""The summary of an experiment: reads finished runs, writes the tables that the report shows.

The files depend on the runs only, not on the order in which they are named.
"""

import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softmax_rewards.common import files
from softmax_rewards.data import tasks
from softmax_rewards.verdicts import (
    bases,
    conditions,
    contrasts,
    failures,
    finished,
    gain_law,
    judgment,
    measured_signal,
    measures,
    mixed,
    reasoning,
    reported_training,
    search_predictions,
    search_scores,
    signal_noise,
    summary,
    tau_choice,
)
from softmax_rewards.verdicts.finished import FinishedRun, by_ablation
from softmax_rewards.verdicts.plan import CLAIMS
from softmax_rewards.weighting.study import analysis, log_map, scheme_map
from softmax_rewards.weighting.study.tau_rule import Fit


def write(
    runs: Sequence[Path],
    out_dir: Path,
    experiment: Mapping[str, Any],
    plan: Path,
    archived: Sequence[FinishedRun] = (),
    evaluated: Sequence[Mapping[str, Any]] = (),
    signal: Sequence[Path] = (),
) -> None:
    """Write the summary of `runs` (their folders) and of `archived` runs into `out_dir`.

    evaluated   evaluations of the base models of `runs`
    experiment  a checked `config.Experiment` as a mapping, with all defaults
    plan        the analysis plan; its sha256 goes into provenance.json
    signal      the folder of the signal study, if there is one
    Raises ValueError, one line with the runs' names, for an incomplete run or for runs that do not belong together.
    """
    loaded = finished.load(runs, experiment, archived)
    loaded = [run if run.base else replace(run, base=bases.find(run.record, evaluated)) for run in loaded]
    arithmetic = getattr(
        tasks.load(experiment["task"])[0], "arithmetic", None
    )  # only tasks whose answers contain equations
    # Everything is computed before the first file is written, so that an error leaves the old summary whole.
    tables, fits = _tables(loaded, experiment, arithmetic)
    samples = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in text_samples(loaded, arithmetic))
    plan_sha256 = files.sha256(plan)
    tables["signal_measured"], facts = measured_signal.read(signal)

    for name, table in tables.items():
        files.write_csv(table, out_dir / f"{name}.csv")
    files.write_text(samples, out_dir / "samples.jsonl")
    described = {
        scheme: {endpoint: _finite(asdict(fit)) for endpoint, fit in both.items()} for scheme, both in fits.items()
    }
    files.write_json(described, out_dir / "temperature_fit.json")
    files.write_json(facts, out_dir / "signal_base.json")
    files.write_json({"bases": bases.distinct(loaded)}, out_dir / "bases.json")
    files.write_json(provenance(loaded, experiment["name"], plan_sha256), out_dir / "provenance.json")


def _tables(
    loaded: Sequence[FinishedRun], experiment: Mapping[str, Any], arithmetic: reasoning.Arithmetic | None
) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, Fit]]]:
    """File name → table, and the fits over temperatures: scheme → endpoint → fit."""
    measured = measures.measure(loaded)
    task, options = tasks.load(experiment["task"])
    reward_range = task.reward_range(options)
    parts = conditions.parts(loaded, measured, experiment, reward_range)
    # The pages about temperatures and settings are about the first condition.
    first = parts[0]
    evidence, baseline = first.evidence, first.evidence.baseline
    behavior = reasoning.measure(loaded, arithmetic)
    base_groups = summary.base_groups(loaded, baseline)
    searched = search_predictions.table(loaded)
    paired = search_scores.pairs(parts, searched)
    law = gain_law.table(evidence)
    subject = (experiment["name"], experiment["model"]["source"], experiment["task"]["name"])

    return {
        "trajectories": summary.long([(run, run.evaluations) for run in loaded]),
        "metrics": summary.long([(run, run.metrics) for run in loaded]),
        "curves": summary.curves(loaded),
        "final": summary.final(loaded, measured),
        "comparisons": _joined(part.comparisons for part in parts),
        "robust": _joined(summary.robust_comparisons(part.measures, part.evidence.baseline) for part in parts),
        "mixed": _joined(mixed.table(part.runs, part.measures, part.evidence.baseline) for part in parts),
        "puzzles": _joined(summary.puzzle_comparisons(part.runs, part.evidence.baseline) for part in parts),
        "temperature": first.sweep,
        "tau_choice": tau_choice.table(evidence, first.sweep, base_groups, reward_range[1] - reward_range[0]),
        "negative_controls": contrasts.negative_controls(evidence),
        "ablations": _joined(
            contrasts.ablations(part.evidence, [name for name, _ in by_ablation(part.runs)]) for part in parts
        ),
        "contrasts": contrasts.table(evidence),
        "signal_noise": signal_noise.measured(loaded, reward_range),
        "gain_law": law,
        "gain_law_score": gain_law.scored(law),
        "bases": bases.table(loaded),
        "base_checks": bases.checks(loaded),
        "base_attempts": bases.attempts(loaded),
        "search_predictions": searched,
        "search_updates": search_predictions.curves(loaded),
        "search_found": search_scores.found(paired),
        "search_ranks": search_scores.ranks(paired),
        "passes": summary.passes(loaded),
        "reasoning": behavior,
        "behaviors": reasoning.over_seeds(behavior),
        "failures": _joined(failures.detect(part.runs, part.evidence.baseline) for part in parts),
        "verdicts": _joined(judgment.judge(CLAIMS, part.evidence, *subject) for part in parts),
        "reported_training": reported_training.table(),
        "logged_map": log_map.table(base_groups, scheme_map.map_settings(base_groups.rewards.shape[1])),
        "logged_weights": analysis.logged(summary.long([(run, run.groups) for run in loaded])),
    }, first.fits


def _joined(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The tables of the conditions, one below the other."""
    return pd.concat(tables, ignore_index=True)


def text_samples(runs: Sequence[FinishedRun], arithmetic: reasoning.Arithmetic | None) -> list[dict[str, Any]]:
    """The sampled texts of each ablation's lowest seed, sorted by step, puzzle and ablation.

    In this order the ablations' answers to one puzzle stand side by side.
    """
    rows = []
    for ablation, members in by_ablation(runs):
        # One seed is enough to read. All seeds would multiply the file.
        first = min(members, key=lambda run: run.seed)
        names = {"ablation": ablation, "seed": first.seed}
        rows += [names | reasoning.annotated(sample, arithmetic) for sample in first.samples]
    return sorted(rows, key=lambda row: (row["step"], row["puzzle"]))


def provenance(runs: Sequence[FinishedRun], experiment: str, plan_sha256: str) -> dict[str, Any]:
    """What the summary was made from. A list has one entry where all runs agree.

    `plan_sha256` is the plan that the runs are judged by. `runs_by_plan` counts the runs that started under each plan;
    runs of the first series recorded none.
    """
    plans = Counter(run.record.get("plan") or "unrecorded" for run in runs)

    def distinct(key: str) -> list[Any]:
        # Values may be dictionaries, which a set cannot hold. Their texts can be compared.
        return [json.loads(text) for text in sorted({json.dumps(run.record[key], sort_keys=True) for run in runs})]

    return {
        "experiment": experiment,
        "plan_sha256": plan_sha256,
        "runs_by_plan": dict(sorted(plans.items())),
        "runs": {f"{run.ablation}/seed-{run.seed}": run.record["fingerprint"] for run in runs},
        "seeds": sorted({run.seed for run in runs}),
        "dates": _dates({run.record["revision"] for run in runs if run.record["revision"]}),
        **{key: distinct(key) for key in ("trainer", "data", "base", "device", "revision", "versions")},
    }


def _dates(revisions: Iterable[str]) -> list[str]:
    """The days of these commits ("2026-11-28"), sorted; those of commits that this copy's history has."""
    days = set()
    for revision in revisions:
        command = ["git", "log", "-1", "--format=%cs", revision.removesuffix("+dirty"), "--"]
        try:
            days.add(subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip())
        except OSError:  # no git
            break
    return sorted(days - {""})


def _finite(value: Any) -> Any:
    """`value` with null instead of NaN, which JSON does not have."""
    if hasattr(value, "_asdict"):  # an Interval
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
