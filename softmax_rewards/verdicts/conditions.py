"""Conditions: the parts of an experiment that are judged apart, each with its own baseline and planned family."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from softmax_rewards.common import stats
from softmax_rewards.verdicts import bases, summary
from softmax_rewards.verdicts.evidence import Evidence
from softmax_rewards.verdicts.finished import FinishedRun
from softmax_rewards.weighting.study import scheme_map
from softmax_rewards.weighting.study.scheme_map import Figures
from softmax_rewards.weighting.study.tau_rule import Fit


@dataclass(frozen=True)
class Part:
    """One condition: its runs, their rows of `measures.measure`, and what was computed from them."""

    runs: Sequence[FinishedRun]
    measures: pd.DataFrame
    evidence: Evidence
    comparisons: pd.DataFrame
    sweep: pd.DataFrame
    fits: dict[str, dict[str, Fit]]


def parts(
    runs: Sequence[FinishedRun],
    measured: pd.DataFrame,
    experiment: Mapping[str, Any],
    reward_range: tuple[float, float],
) -> list[Part]:
    """The conditions of an experiment in its order; one without a name if it names none."""
    whole = {"baseline": experiment["baseline"], "primary": experiment["primary"], "gate": "auc", "predicted_gap": None}
    listed: dict[str, Mapping[str, Any]] = dict(experiment.get("conditions") or {"": whole})
    # JSON has sorted keys, so the file's first condition is known by the experiment's own baseline.
    named = dict(sorted(listed.items(), key=lambda item: item[1]["baseline"] != experiment["baseline"]))
    # Every row and ablation stays, because a claim may compare two conditions.
    configs = {run.ablation: run.record["config"] for run in runs}
    baselines = {name: settings["baseline"] for name, settings in named.items() if name}
    whole_evidence = Evidence(measured, configs, experiment["baseline"], baselines=baselines)
    return [
        _part(_members(runs, named, name), name, settings, whole_evidence, reward_range)
        for name, settings in named.items()
    ]


def _members(runs: Sequence[FinishedRun], named: Mapping[str, Mapping[str, Any]], name: str) -> list[FinishedRun]:
    """The runs of a condition. The first condition has every ablation that no other one names."""
    listed = {key: {settings["baseline"], *settings["primary"]} for key, settings in named.items()}
    others = set().union(*(members for key, members in listed.items() if key != name))
    first = name == next(iter(named))
    return [run for run in runs if (run.ablation not in others if first else run.ablation in listed[name])]


def _part(
    runs: list[FinishedRun],
    name: str,
    settings: Mapping[str, Any],
    whole: Evidence,
    reward_range: tuple[float, float],
) -> Part:
    own = [(run.ablation, run.seed) for run in runs]
    evidence = replace(
        whole,
        baseline=settings["baseline"],
        unable=bases.unable(runs),
        condition=name,
        gate=settings["gate"],
        predicted_gap=settings["predicted_gap"],
    )
    evidence = replace(evidence, measures=_with_early(evidence, runs), map=_map(evidence, reward_range))
    compared = summary.comparisons(runs, settings["baseline"], settings["primary"], evidence)
    planned = compared[compared["family"] == "primary"]
    evidence = replace(evidence, p_holm=dict(planned.set_index("ablation")["p_holm"]))
    # The sweep over τ is read from the evidence, and its fits then become part of the evidence.
    sweep = summary.temperatures(evidence, reward_range)
    fits = summary.fit_temperatures(sweep, evidence, reward_range[1] - reward_range[0])
    evidence = replace(evidence, fits={scheme: both["auc"] for scheme, both in fits.items()})
    return Part(runs, evidence.measures.loc[own], evidence, compared, sweep, fits)


def _with_early(evidence: Evidence, runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """The measures with the column auc_early, for the runs of this condition."""
    curves = {(run.ablation, run.seed): run.evaluations.set_index("step")["success"] for run in runs}
    baseline = pd.concat([curve for (name, _), curve in curves.items() if name == evidence.baseline], axis=1).mean(
        axis=1
    )
    gain = baseline - baseline.iloc[0]
    half = gain.index[gain >= gain.iloc[-1] / 2][0] if gain.iloc[-1] > 0 else gain.index[-1]
    # The area needs two points, and later runs may have been evaluated at other steps.
    early = {
        name: stats.area(curve.index, curve, half) if curve.index[0] < half <= curve.index[-1] else np.nan
        for name, curve in curves.items()
    }
    return evidence.measures.assign(auc_early=pd.Series(early).reindex(evidence.measures.index))


def _map(evidence: Evidence, reward_range: tuple[float, float]) -> dict[str, Figures]:
    """Ablation → its place on the map, at the success and the format of the baseline's base model.

    Only constant weightings of ablations that were trained exactly like the baseline.
    """
    base = evidence.measures.loc[evidence.baseline].iloc[0]
    training = evidence.configs[evidence.baseline]["training"]
    size = training.get("group_size", scheme_map.GROUP_SIZE)
    # A right answer is well formed, so a base model cannot have less format than success.
    success, formed = float(base["base"]), float(max(base["base"], base["base_format"]))
    places = {}
    for name, config in evidence.configs.items():
        settings = dict(config["weighting"])
        scheme = settings.pop("scheme")
        constant = not any(isinstance(value, (dict, str)) for value in settings.values())
        if constant and config["training"] == training and 0 < success < 1:
            places[name] = scheme_map.figures(scheme, settings, success, formed, size, reward_range)
    return places
