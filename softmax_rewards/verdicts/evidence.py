"""Evidence: what an experiment measured on its ablations, and the contrasts that a claim needs.

An ablation is found by its *weighting* (softmax, τ = 0.5), never by its name. Only ablations trained exactly like the
baseline count.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import pandas as pd

from softmax_rewards.weighting.study.scheme_map import Figures
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
    base: str = ""  # the column of the base model's value; empty if it has none

    @property
    def fraction(self) -> bool:
        return self.unit == "points"

    @property
    def success(self) -> bool:
        """Whether it is a success rate that training should raise. More of it is better."""
        return self.fraction and bool(self.base)

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
    "auc": Endpoint("mean success over training", base="base"),
    "final": Endpoint("success at the end", base="base"),
    "auc_early": Endpoint("mean success until the baseline has half of its gain", base="base"),
    "first_half": Endpoint("mean success over the first half of training", base="base"),
    "pass@16": Endpoint("pass@16 at the end", counted="puzzle", base="base_pass@16"),
    "reward": Endpoint("mean reward over training", "", base="base_reward"),
    "entropy_early": Endpoint("policy entropy in steps 1–10", "nats per token"),
    "length_early": Endpoint("answer length in steps 1–10", "tokens", search=True),
    "length_late": Endpoint("answer length in the last fifth of training", "tokens", search=True),
    "length_final": Endpoint("answer length at the end", "tokens", search=True, base="base_length"),
    "grad_norm_early": Endpoint("gradient norm before clipping in steps 1–10", ""),
    "attempts": Endpoint("equations tried per answer", "attempts", search=True),
    "self_checks": Endpoint("self-checks per answer", "checks", search=True),
    "gave_up": Endpoint("share of wrong answers that admit defeat", counted="wrong answer", search=True),
}
PEAK = Endpoint("temperature of the highest success", "τ/range")
EQUIVALENT_SHARE = 0.2  # of the baseline's own gain: a smaller difference is too small to matter
RARE = 5  # right answers expected on a side; with fewer, an exact test of counts decides


@dataclass(frozen=True)
class Contrast:
    """`endpoint` of `ablation` minus that of `against`."""

    ablation: Mapping[str, Any]
    against: Mapping[str, Any] | str | float  # a weighting; BASE, the model before training; or a fixed value
    endpoint: str = "auc"
    sign: int = 1  # of the difference that the claim predicts
    tolerant: bool = True  # whether a difference below a fifth of the baseline's gain counts as equal
    training: Mapping[str, Any] = field(default_factory=dict)  # settings of the ablation that the baseline lacks
    against_training: Mapping[str, Any] | None = None  # the same of the other side; None: those of `training`

    def sides(self) -> tuple[str, str]:
        """Both sides in words."""
        if isinstance(self.against, float):
            return label(self.ablation, self.training), ENDPOINTS[self.endpoint].value(self.against)
        return label(self.ablation, self.training), label(self.against, self.other_training)

    @property
    def other_training(self) -> Mapping[str, Any]:
        return self.training if self.against_training is None else self.against_training


class Untested(Exception):
    """The experiment lacks an ablation or a condition that a claim needs. The text says which."""


@dataclass(frozen=True)
class Evidence:
    """What an experiment measured in one of its conditions.

    measures    one row per run, index (ablation, seed); columns as `measures.measure` writes them
    configs     ablation → {"weighting": …, "training": …}, with all defaults filled in
    baseline    the ablation whose training settings every compared ablation must share
    fits        scheme → fit of its AUC over τ; only schemes that were trained at several τ
    p_holm      ablation → Holm's adjusted p of its AUC against the baseline; only the primary family
    unable      why the base models cannot search, in words; empty if they can, or if that was not checked
    condition   the name of the condition; empty if the experiment has only one
    baselines   name of a condition → its baseline, for every condition of the experiment
    gate        the endpoint by which the gate asks whether training worked: "auc", or "reward"
    predicted_gap  the difference in success that the experiment expects; it replaces the baseline's gain where the
                   baseline is expected to lose
    map         ablation → its place on the map of schemes at the base model; only constant weightings of ablations
                that were trained exactly like the baseline
    """

    measures: pd.DataFrame
    configs: Mapping[str, Mapping[str, Any]]
    baseline: str
    fits: Mapping[str, Fit] = field(default_factory=dict)
    p_holm: Mapping[str, float] = field(default_factory=dict)
    unable: str = ""
    condition: str = ""
    baselines: Mapping[str, str] = field(default_factory=dict)
    gate: str = "auc"
    predicted_gap: float | None = None
    map: Mapping[str, Figures] = field(default_factory=dict)

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

    def pair(self, contrast: Contrast) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of `measures` of both sides, for the S seeds that both have. Raises Untested.

        In a comparison with the base model or a fixed value, both are the rows of the ablation.
        """
        first = self._rows(self.find(contrast.ablation, contrast.training), contrast)
        if not isinstance(contrast.against, Mapping):
            return first, first
        second = self._rows(self.find(contrast.against, contrast.other_training), contrast)
        # The same seed means the same prompts, initial weights and noise. Pairing removes what they share.
        seeds = first.index.intersection(second.index)
        if seeds.empty:
            raise Untested(f"a seed that both {' and '.join(contrast.sides())} have")
        return first.loc[seeds], second.loc[seeds]

    def _rows(self, ablation: str, contrast: Contrast) -> pd.DataFrame:
        """The rows of `measures` of an ablation that have the contrast's endpoint. Raises Untested if none has it."""
        endpoint = ENDPOINTS[contrast.endpoint]
        needed = [contrast.endpoint] + [endpoint.base] * (contrast.against == BASE)
        rows = self.measures.loc[ablation].dropna(subset=needed)
        if rows.empty:
            before = " and of its base model" if contrast.against == BASE else ""
            raise Untested(f"{endpoint.text} of {ablation}{before}, which was not measured")
        return rows

    def within(self, condition: str) -> "Evidence":
        """The same evidence, seen from the baseline of another condition. Raises Untested."""
        if condition not in self.baselines:
            raise Untested(f"a condition {condition}")
        return replace(self, baseline=self.baselines[condition], condition=condition)

    def adjusted(self, contrast: Contrast) -> float:
        """Holm's p if the contrast belongs to the primary family, else NaN."""
        # The family is the AUC of planned ablations against the baseline.
        if contrast.endpoint != "auc" or not isinstance(contrast.against, Mapping):
            return math.nan
        planned = self.find(contrast.against, contrast.other_training) == self.baseline
        return self.p_holm.get(self.find(contrast.ablation, contrast.training), math.nan) if planned else math.nan


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
