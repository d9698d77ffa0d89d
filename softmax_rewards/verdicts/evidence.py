"""Evidence: what an experiment measured on its ablations, and the contrasts that a claim needs.

An ablation is found by its *weighting* (softmax, τ = 0.5), never by its name. Only ablations trained exactly like the
baseline count.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from softmax_rewards.weighting.study.tau_rule import Fit

BASE = "its base model"
LINEAR = {"scheme": "linear"}


@dataclass(frozen=True)
class Endpoint:
    """A number measured once per run. Fractions are shown in percent, their differences in percentage points."""

    text: str
    unit: str = "points"
    counted: str = "right answer"  # what a fraction counts
    search: bool = False  # whether it is about how the model searches

    @property
    def fraction(self) -> bool:
        return self.unit == "points"

    @property
    def scale(self) -> float:
        """Factor from the measured number to `unit`."""
        return 100.0 if self.fraction else 1.0

    def value(self, x: float) -> str:
        """A value in words: "15.4 %", "0.89"."""
        return f"{100 * x:.1f} %" if self.fraction else f"{x:.3g}"

    def number(self, x: float) -> str:
        """A signed difference without its unit: "+1.6", "-0.0321"."""
        return f"{100 * x:+.1f}" if self.fraction else f"{x:+.3g}"

    def change(self, x: float) -> str:
        """A signed difference: "+1.6 points", "-0.0321 nats per token"."""
        return f"{self.number(x)} {self.unit}".strip()


ENDPOINTS = {
    "auc": Endpoint("mean success over training"),
    "final": Endpoint("success at the end"),
    "first_half": Endpoint("mean success over the first half of training"),
    "entropy_early": Endpoint("policy entropy in steps 1–10", "nats per token"),
    "length_early": Endpoint("answer length in steps 1–10", "tokens", search=True),
    "length_late": Endpoint("answer length in the last fifth of training", "tokens", search=True),
    "grad_norm_early": Endpoint("gradient norm before clipping in steps 1–10", ""),
    "attempts": Endpoint("equations tried per answer", "attempts", search=True),
    "self_checks": Endpoint("self-checks per answer", "checks", search=True),
    "gave_up": Endpoint("share of answers that admit defeat", counted="answer", search=True),
}
PEAK = Endpoint("temperature of the highest success", "τ/range")


@dataclass(frozen=True)
class Contrast:
    """`endpoint` of `ablation` minus that of `against`."""

    ablation: Mapping[str, Any]
    against: Mapping[str, Any] | str  # a weighting, or BASE: the success of the same run before training
    endpoint: str = "auc"
    sign: int = 1  # of the difference that the claim predicts
    tolerant: bool = True  # whether a success rate within ±2 points counts as equal
    training: Mapping[str, Any] = field(default_factory=dict)  # settings of both ablations that the baseline lacks


class Untested(Exception):
    """The experiment lacks an ablation or a condition that a claim needs. The text says which."""


@dataclass(frozen=True)
class Evidence:
    """What an experiment measured.

    measures   one row per run, index (ablation, seed); columns: ENDPOINTS, "base" (success of the base model) and
               "base_format" (its share of well-formed answers)
    configs    ablation → {"weighting": …, "training": …}, with all defaults filled in
    baseline   the ablation whose training settings every compared ablation must share
    fits       scheme → fit of its AUC over τ; only schemes that were trained at several τ
    p_holm     ablation → Holm's adjusted p of its AUC against the baseline; only the primary family
    unable     why the base models cannot search, in words; empty if they can, or if that was not checked
    """

    measures: pd.DataFrame
    configs: Mapping[str, Mapping[str, Any]]
    baseline: str
    fits: Mapping[str, Fit] = field(default_factory=dict)
    p_holm: Mapping[str, float] = field(default_factory=dict)
    unable: str = ""

    def find(self, pattern: Mapping[str, Any], changes: Mapping[str, Any] = MappingProxyType({})) -> str:
        """The ablation with this weighting, trained like the baseline except for `changes`. Raises Untested."""
        training = {**self.configs[self.baseline]["training"], **changes}
        for name, config in self.configs.items():
            if matches(config["weighting"], pattern) and config["training"] == training:
                return name
        raise Untested(f"an ablation with {label(pattern, changes)}")

    def rates(self, pattern: Mapping[str, Any]) -> dict[float, str]:
        """Learning rate → ablation with this weighting. All other training settings are the baseline's."""
        # Both sides get the same placeholder, so every learning rate matches.
        training = {**self.configs[self.baseline]["training"], "learning_rate": None}
        return {
            config["training"]["learning_rate"]: name
            for name, config in self.configs.items()
            if matches(config["weighting"], pattern) and {**config["training"], "learning_rate": None} == training
        }

    def pair(self, contrast: Contrast) -> tuple[np.ndarray, np.ndarray]:
        """Values of both sides, [S] and [S], for the S seeds that both have. Raises Untested."""
        first = self.measures.loc[self.find(contrast.ablation, contrast.training)]
        if isinstance(contrast.against, str):
            # Without an evaluation of the base model, its success is that of the run's step 0, with the run's own seed.
            return first[contrast.endpoint].to_numpy(), first["base"].to_numpy()
        second = self.measures.loc[self.find(contrast.against, contrast.training)]
        # The same seed means the same prompts, initial weights and noise. Pairing removes what they share.
        seeds = first.index.intersection(second.index)
        return first.loc[seeds, contrast.endpoint].to_numpy(), second.loc[seeds, contrast.endpoint].to_numpy()

    def adjusted(self, contrast: Contrast) -> float:
        """Holm's p if the contrast belongs to the primary family, else NaN."""
        # The family is the AUC of planned ablations against the baseline, in the baseline's own training settings.
        if contrast.endpoint != "auc" or isinstance(contrast.against, str) or contrast.training:
            return math.nan
        planned = self.find(contrast.against) == self.baseline
        return self.p_holm.get(self.find(contrast.ablation), math.nan) if planned else math.nan


def matches(weighting: Any, pattern: Any) -> bool:
    """Whether `weighting` has every key of `pattern` with an equal value. Numbers are compared up to rounding."""
    if isinstance(pattern, Mapping):
        return isinstance(weighting, Mapping) and all(
            key in weighting and matches(weighting[key], value) for key, value in pattern.items()
        )
    if isinstance(pattern, float) and isinstance(weighting, (int, float)):
        return math.isclose(weighting, pattern)
    return weighting == pattern


def label(pattern: Mapping[str, Any] | str, training: Mapping[str, Any] = MappingProxyType({})) -> str:
    """An ablation in words: "softmax τ=0.5", "softmax τ 0.75→0.25", "linear", "linear with injection 1.0"."""
    if isinstance(pattern, str):
        return pattern
    tau, scheme = pattern.get("tau"), pattern["scheme"].replace("_", " ")
    if isinstance(tau, Mapping):
        scheme = f"{scheme} τ {tau['from']}→{tau['to']}"
    elif tau is not None:
        scheme = f"{scheme} τ={tau}"
    changes = " and ".join(f"{key} {value}" for key, value in training.items())
    return f"{scheme} with {changes}" if changes else scheme
