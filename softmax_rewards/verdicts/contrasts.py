"""Contrasts: pairs of ablations that differ in one thing, beside the comparison of every ablation with the baseline.

* "the constant": a scheme with and without the constant 1 that pushes every sample up;
* "the setting": one weighting, trained in another setting and in the baseline's;
* "the weights": any weighting against linear, both trained in the same other setting.

Paired by seed and unadjusted: they explain, and decide no claim. Beside them stand pairs that should not differ.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from softmax_rewards.common import stats
from softmax_rewards.verdicts.evidence import LINEAR, Evidence, label

# A scheme with the constant 1, and the one that is the same without.
WITH_CONSTANT = {"softmax": "softmax_centered", "linear_plus_one": "linear"}
# Pairs that Adam makes nearly the same: a scheme, and the one it should not differ from.
CONTROLS = (
    ("softmax_scaled", "softmax_centered"),
    ("softmax_matched", "softmax"),
    ("rloo", "dr_grpo"),
)
ENDPOINTS = ("auc", "final")
COLUMNS = ["question", "ablation", "against", "what", "endpoint", "delta", "low", "high", "p", "seeds", "mde"]


def table(evidence: Evidence) -> pd.DataFrame:
    """One row per pair and endpoint: what differs in words, and the paired difference with its t interval."""
    rows = []
    for question, ablation, against, what in pairs(evidence):
        for endpoint in ENDPOINTS:
            values = evidence.measures[endpoint]
            interval = stats.mean_interval((values[ablation] - values[against]).dropna())
            detectable = stats.minimum_detectable_effect(interval.deviation, interval.n)
            figures = (interval.estimate, interval.low, interval.high, interval.p, interval.n, detectable)
            rows.append((question, ablation, against, what, endpoint, *figures))
    return pd.DataFrame(rows, columns=COLUMNS)


def ablations(evidence: Evidence) -> pd.DataFrame:
    """One row per ablation: its weighting in words, and the setting it was trained in (missing for the baseline's)."""
    usual = evidence.configs[evidence.baseline]["training"]
    rows = [
        (ablation, label(config["weighting"]), changed(config["training"], usual) or None)
        for ablation, config in evidence.configs.items()
    ]
    return pd.DataFrame(rows, columns=["ablation", "weighting", "setting"])


def pairs(evidence: Evidence) -> Iterator[tuple[str, str, str, str]]:
    """(question, ablation, against, what differs), in the order of the ablations."""
    usual = evidence.configs[evidence.baseline]["training"]
    for ablation, config in evidence.configs.items():
        weighting, training = config["weighting"], config["training"]
        setting = changed(training, usual)
        within = f", with {setting}" if setting else ""
        twin = {**weighting, "scheme": WITH_CONSTANT.get(weighting["scheme"])}
        for other in _alike(evidence, twin, training):
            yield "the constant", ablation, other, f"{label(weighting)} − {label(twin)}{within}"
        if setting:
            for other in _alike(evidence, weighting, usual):
                yield "the setting", ablation, other, f"{setting}, with {label(weighting)}"
            for other in _alike(evidence, LINEAR, training):
                if other != ablation:
                    yield "the weights", ablation, other, f"{label(weighting)} − linear{within}"


def changed(training: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """The settings that are not the usual ones: "prompts 32, samples 16"."""
    return ", ".join(f"{key} {value}" for key, value in training.items() if value != usual.get(key))


def negative_controls(evidence: Evidence) -> pd.DataFrame:
    """AUC differences of ablations that should not differ: same τ where both have one, trained alike."""
    rows = []
    for ablation, config in evidence.configs.items():
        for scheme, twin in CONTROLS:
            if config["weighting"]["scheme"] != scheme:
                continue
            for other in _alike(evidence, {**config["weighting"], "scheme": twin}, config["training"]):
                auc = evidence.measures["auc"]
                interval = stats.mean_interval((auc[ablation] - auc[other]).dropna())
                limits = (interval.estimate, interval.low, interval.high, interval.n)
                rows.append((ablation, other, *limits, stats.equivalent(interval)))
    return pd.DataFrame(rows, columns=["ablation", "against", "delta", "low", "high", "seeds", "equivalent"])


def _alike(evidence: Evidence, weighting: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """The ablations of exactly this weighting and training."""
    pattern = {"weighting": weighting, "training": training}
    return [name for name, config in evidence.configs.items() if {key: config[key] for key in pattern} == pattern]
