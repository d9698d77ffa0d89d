"""Conditions: the parts of an experiment that are judged apart, each with its own baseline and planned family."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from softmax_rewards.verdicts import bases, summary
from softmax_rewards.verdicts.evidence import Evidence
from softmax_rewards.verdicts.finished import FinishedRun
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
    named: dict[str, Mapping[str, Any]] = dict(experiment.get("conditions") or {"": whole})
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
    measured = whole.measures.loc[[(run.ablation, run.seed) for run in runs]]
    evidence = replace(
        whole,
        baseline=settings["baseline"],
        unable=bases.unable(runs),
        condition=name,
        gate=settings["gate"],
        predicted_gap=settings["predicted_gap"],
    )
    compared = summary.comparisons(runs, settings["baseline"], settings["primary"], evidence)
    planned = compared[compared["family"] == "primary"]
    evidence = replace(evidence, p_holm=dict(planned.set_index("ablation")["p_holm"]))
    # The sweep over τ is read from the evidence, and its fits then become part of the evidence.
    sweep = summary.temperatures(evidence, reward_range)
    fits = summary.fit_temperatures(sweep, evidence, reward_range[1] - reward_range[0])
    evidence = replace(evidence, fits={scheme: both["auc"] for scheme, both in fits.items()})
    return Part(runs, measured, evidence, compared, sweep, fits)
