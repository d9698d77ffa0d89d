"""Contrasts: pairs of arms that differ in one thing, beside the comparison of every arm with the baseline.

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
    """A row a pair and endpoint: what differs in words, and the difference of the paired seeds with its t interval."""
    rows = []
    for question, arm, against, what in pairs(evidence):
        for endpoint in ENDPOINTS:
            values = evidence.measures[endpoint]
            found = stats.mean_interval((values[arm] - values[against]).dropna())
            detectable = stats.minimum_detectable_effect(found.deviation, found.n)
            figures = (found.estimate, found.low, found.high, found.p, found.n, detectable)
            rows.append((question, arm, against, what, endpoint, *figures))
    return pd.DataFrame(rows, columns=COLUMNS)


def arms(evidence: Evidence) -> pd.DataFrame:
    """A row an arm: ablation, weighting in words, and in which setting it was trained, missing for the baseline's."""
    usual = evidence.configs[evidence.baseline]["training"]
    rows = [
        (arm, label(config["weighting"]), changed(config["training"], usual) or None)
        for arm, config in evidence.configs.items()
    ]
    return pd.DataFrame(rows, columns=["ablation", "weighting", "setting"])


def pairs(evidence: Evidence) -> Iterator[tuple[str, str, str, str]]:
    """(question, arm, against, what differs), in the order of the arms."""
    usual = evidence.configs[evidence.baseline]["training"]
    for arm, config in evidence.configs.items():
        weighting, training = config["weighting"], config["training"]
        setting = changed(training, usual)
        within = f", with {setting}" if setting else ""
        twin = {**weighting, "scheme": WITH_CONSTANT.get(weighting["scheme"])}
        for other in _alike(evidence, twin, training):
            yield "the constant", arm, other, f"{label(weighting)} − {label(twin)}{within}"
        if setting:
            for other in _alike(evidence, weighting, usual):
                yield "the setting", arm, other, f"{setting}, with {label(weighting)}"
            for other in _alike(evidence, LINEAR, training):
                if other != arm:
                    yield "the weights", arm, other, f"{label(weighting)} − linear{within}"


def changed(training: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """The settings that are not the usual ones: "prompts 32, samples 16"."""
    return ", ".join(f"{key} {value}" for key, value in training.items() if value != usual.get(key))


def negative_controls(evidence: Evidence) -> pd.DataFrame:
    """AUC differences of arms that should not differ: same τ where both have one, trained alike."""
    rows = []
    for arm, config in evidence.configs.items():
        for scheme, twin in CONTROLS:
            if config["weighting"]["scheme"] != scheme:
                continue
            for other in _alike(evidence, {**config["weighting"], "scheme": twin}, config["training"]):
                auc = evidence.measures["auc"]
                interval = stats.mean_interval((auc[arm] - auc[other]).dropna())
                limits = (interval.estimate, interval.low, interval.high, interval.n)
                rows.append((arm, other, *limits, stats.equivalent(interval)))
    return pd.DataFrame(rows, columns=["ablation", "against", "delta", "low", "high", "seeds", "equivalent"])


def _alike(evidence: Evidence, weighting: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """The arms of exactly this weighting and training."""
    wanted = {"weighting": weighting, "training": training}
    return [name for name, config in evidence.configs.items() if {key: config[key] for key in wanted} == wanted]
