"""A run: everything one training job depends on, resolved and checked.

`experiments.py` makes runs from YAML files; the trainer knows only this module, so that a change in how files are read
does not touch trained runs.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from softmax_rewards.common.terminal import plain

DAY = 24 * 60 * 60  # seconds
SHOWN = 200  # characters of a value that a message shows


class ConfigError(ValueError):
    """Wrong input: one line that a terminal can show safely."""

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


def wrong(key: str, value: Any, allowed: str) -> ConfigError:
    return ConfigError(f"{key}: {json.dumps(value, default=repr)[:SHOWN]} is not allowed; allowed: {allowed}")


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Training:
    """The policy-gradient loop of one run: −(1/T) Σ_i w_i Σ_t log π(y_it | x, y_i<t), T by `loss_aggregation`."""

    steps: int = 120
    prompts_per_step: int = 64
    group_size: int = 8
    learning_rate: float = 4e-4
    max_new_tokens: int = 96
    max_grad_norm: float = 1.0
    loss_aggregation: Literal["token-mean", "seq-mean", "constant"] = "token-mean"
    skip_unfinished: bool = False
    skip_equal: bool = False
    updates_per_batch: int = 1
    epsilon_low: float = 0.2
    epsilon_high: float = 0.2
    entropy_coef: float = 0.0
    kl_coef: float = 0.0
    kl_reference: Literal["device", "host"] = "device"
    injection: float | None = None
    imitation: float | None = None
    target: float = 0.0
    target_smoothing: float = 0.1
    measure_noise: bool = False
    on_nonfinite: Literal["stop", "skip"] = "stop"
    reward_timeout: float = 60.0
    max_microbatch_tokens: int = 16384
    rollout_batch_size: int = 1024
    precision: Literal["float32", "bfloat16"] = "float32"
    optimizer_state: Literal["device", "host"] = "device"
    gradient_checkpointing: bool = False
    checkpoint_every: int = 10
    threads: int = 1
    gpus: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        _at_least(
            self,
            "training",
            1,
            "steps",
            "prompts_per_step",
            "max_new_tokens",
            "updates_per_batch",
            "max_microbatch_tokens",
        )
        _at_least(self, "training", 1, "rollout_batch_size", "checkpoint_every", "threads", "gpus")
        if not 0 < self.reward_timeout <= DAY:
            raise wrong("training.reward_timeout", self.reward_timeout, f"a number above 0 and at most {DAY}")
        if self.gpus > 1:
            if self.prompts_per_step < self.gpus:  # groups are shared out whole
                raise wrong("training.prompts_per_step", self.prompts_per_step, f"at least training.gpus ({self.gpus})")
            if self.optimizer_state != "device":
                raise wrong("training.optimizer_state", self.optimizer_state, "device beside training.gpus above 1")
        if self.group_size < 2:  # a group of one has no contrast: its z-score is 0 whatever the reward
            raise wrong("training.group_size", self.group_size, "an integer of at least 2 (the group size)")
        for name in ("learning_rate", "max_grad_norm"):
            if getattr(self, name) <= 0:
                raise wrong(f"training.{name}", getattr(self, name), "a number above 0")
        for name in ("epsilon_low", "epsilon_high"):
            if not 0 < getattr(self, name) <= 1:
                raise wrong(f"training.{name}", getattr(self, name), "a number above 0 and at most 1")
        if self.injection is not None and self.injection <= 0:
            raise wrong("training.injection", self.injection, "a reward above 0, or null for none")
        if self.imitation is not None and self.imitation < 0:
            raise wrong("training.imitation", self.imitation, "a number of at least 0, or null for none")
        for name in ("entropy_coef", "kl_coef", "target"):
            if getattr(self, name) < 0:
                raise wrong(f"training.{name}", getattr(self, name), "a number of at least 0")
        if not 0 < self.target_smoothing < 1:
            raise wrong("training.target_smoothing", self.target_smoothing, "a number above 0 and below 1")
        teachers = [name for name in ("injection", "imitation") if getattr(self, name) is not None]
        teachers += ["target"] * (self.target > 0)
        if len(teachers) > 1:
            raise wrong(f"training.{teachers[1]}", getattr(self, teachers[1]), f"null beside training.{teachers[0]}")
        off_policy = [name for name in teachers if name != "target"]
        if off_policy and self.kl_coef:
            # The penalty is an expectation under the policy, and a reference answer is not one of its samples.
            raise wrong("training.kl_coef", self.kl_coef, f"0 beside training.{off_policy[0]}")
        if self.imitation is not None and self.updates_per_batch > 1:
            raise wrong(
                "training.updates_per_batch",
                self.updates_per_batch,
                "1 beside training.imitation, which has no ratio to clip",
            )


@dataclass(frozen=True)
class Evaluation:
    """What is measured on held-out puzzles, during training and at its end."""

    every: int = 10
    puzzles: int = 1024
    pass_puzzles: int = 256
    pass_samples: int = 32
    samples: int = 8

    def __post_init__(self) -> None:
        _at_least(self, "evaluation", 1, "every", "puzzles", "pass_puzzles", "samples")
        _at_least(self, "evaluation", 16, "pass_samples")  # pass@16 needs 16 samples of each puzzle
        for name in ("pass_puzzles", "samples"):
            if getattr(self, name) > self.puzzles:
                allowed = f"at most evaluation.puzzles ({self.puzzles})"
                raise wrong(f"evaluation.{name}", getattr(self, name), allowed)


def _at_least(values: Any, where: str, least: int, *names: str) -> None:
    for name in names:
        if getattr(values, name) < least:
            raise wrong(f"{where}.{name}", getattr(values, name), f"an integer of at least {least}")


@dataclass(frozen=True)
class Run:
    """One training job. `task`, `model` and `weighting` are JSON values with every default filled in."""

    ablation: str
    seed: int
    task: dict[str, Any]
    model: dict[str, Any]
    training: Training
    evaluation: Evaluation
    weighting: dict[str, Any]

    @property
    def name(self) -> str:
        """The run within its experiment, and its folder below `runs/`."""
        return f"{self.ablation}/seed-{self.seed}"

    def to_dict(self) -> dict[str, Any]:
        """All that its results depend on. `training.gpus` is left out: a run can continue on another number of GPUs."""
        values = dataclasses.asdict(self)
        del values["training"]["gpus"]
        return values

    def to_json(self) -> str:
        """The canonical text of the run: equal runs give equal strings."""
        return canonical(self.to_dict())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, as read back from JSON."""
        parts = {"training": Training(**values["training"]), "evaluation": Evaluation(**values["evaluation"])}
        return cls(**{**values, **parts})

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls.from_dict(json.loads(text))
