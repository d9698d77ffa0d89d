"""Contrasts: pairs of ablations that differ in one thing. They explain results and decide no claim.

* "the constant": a scheme with and without the constant 1 that pushes every sample up;
* "the setting": one weighting in another training setting and in the baseline's setting;
* "the weights": any weighting against linear, both in the same other setting.

Pairs are matched by seed, and p values are not adjusted. `negative_controls` has pairs that should not differ.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from softmax_rewards.common import stats
from softmax_rewards.config.run import DEFAULTS, NEWER
from softmax_rewards.verdicts import paired
from softmax_rewards.verdicts.evidence import LINEAR, Evidence, label

# A scheme with the constant 1 → the same scheme without it.
WITH_CONSTANT = {"softmax": "softmax_centered", "linear_plus_one": "linear"}
# Pairs of schemes whose weights differ by a factor only. Adam cancels such a factor, so they should train alike.
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
            interval = paired.between(evidence, ablation, against, endpoint)
            detectable = stats.minimum_detectable_effect(interval.deviation, interval.n)
            figures = (interval.estimate, interval.low, interval.high, interval.p, interval.n, detectable)
            rows.append((question, ablation, against, what, endpoint, *figures))
    return pd.DataFrame(rows, columns=COLUMNS)


def ablations(evidence: Evidence, names: Iterable[str]) -> pd.DataFrame:
    """One row per ablation in `names`, those of the evidence's condition.

    Columns: ablation; weighting, in words; setting, what differs from the baseline's training (missing if nothing
    does); condition, baseline; planned, whether it is the baseline or in the primary family.
    """
    usual = evidence.configs[evidence.baseline]["training"]
    rows = [
        {
            "ablation": name,
            "weighting": label(evidence.configs[name]["weighting"]),
            "setting": changed(evidence.configs[name]["training"], usual) or None,
            "condition": evidence.condition,
            "baseline": evidence.baseline,
            "planned": name == evidence.baseline or name in evidence.p_holm,
        }
        for name in names
    ]
    return pd.DataFrame(rows, columns=["ablation", "weighting", "setting", "condition", "baseline", "planned"])


def pairs(evidence: Evidence) -> Iterator[tuple[str, str, str, str]]:
    """(question, ablation, against, what differs), in the order of the ablations."""
    usual = evidence.configs[evidence.baseline]["training"]
    for ablation, config in evidence.configs.items():
        weighting, training = config["weighting"], config["training"]
        setting = changed(training, usual)
        within = f", with {setting}" if setting else ""
        # A scheme without a counterpart gets the scheme None, which matches no ablation.
        twin = {**weighting, "scheme": WITH_CONSTANT.get(weighting["scheme"])}
        for other in _alike(evidence, twin, training):
            yield "the constant", ablation, other, f"{label(weighting)} − {label(twin)}{within}"
        if setting:
            for other in _alike(evidence, weighting, usual):
                yield "the setting", ablation, other, f"{setting}, with {label(weighting)}"
            for other in _alike(evidence, LINEAR, training):
                # Linear itself would be compared with itself.
                if other != ablation:
                    yield "the weights", ablation, other, f"{label(weighting)} − linear{within}"


def changed(training: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """The settings that differ from `usual`, in words: "prompts_per_step 32, group_size 16"."""
    # A record lacks the settings of `NEWER` that have their defaults.
    newer = {key: DEFAULTS[key] for key in NEWER}
    training, usual = newer | dict(training), newer | dict(usual)
    return ", ".join(f"{key} {value}" for key, value in training.items() if value != usual.get(key))


def negative_controls(evidence: Evidence) -> pd.DataFrame:
    """AUC differences of the pairs in CONTROLS. Both ablations have the same τ, if any, and the same training."""
    rows = []
    for ablation, config in evidence.configs.items():
        for scheme, twin in CONTROLS:
            if config["weighting"]["scheme"] != scheme:
                continue
            for other in _alike(evidence, {**config["weighting"], "scheme": twin}, config["training"]):
                interval = paired.between(evidence, ablation, other, "auc")
                limits = (interval.estimate, interval.low, interval.high, interval.n)
                rows.append((ablation, other, *limits, stats.equivalent(interval, paired.margin(evidence, "auc"))))
    return pd.DataFrame(rows, columns=["ablation", "against", "delta", "low", "high", "seeds", "equivalent"])


def _alike(evidence: Evidence, weighting: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """The ablations with exactly this weighting and training."""
    pattern = {"weighting": weighting, "training": training}
    return [name for name, config in evidence.configs.items() if {key: config[key] for key in pattern} == pattern]
