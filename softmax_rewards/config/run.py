"""A run: everything one training job depends on, resolved and checked.

`experiments.py` makes runs from YAML files. The trainer knows only this module, so that a change in how files are read
does not touch trained runs.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from softmax_rewards.common.option_errors import ConfigError as ConfigError
from softmax_rewards.common.options import Count, NotNegative, Positive, Share, need, option_class

DAY = 24 * 60 * 60  # seconds
SAMPLER_MEMORY = 0.3
NEWER = ("sampler", "sampler_memory", "importance_cap")
"""Keys of `training` that are newer than the archived runs. `Run.to_dict` has them only where they differ from their
defaults, so a run that does not use them keeps its fingerprint."""


def canonical(value: Any) -> str:
    """The one JSON text of a value: equal values give equal strings."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@option_class("training")
class Training:
    """The policy-gradient loop of one run: −(1/T) Σ_i w_i Σ_t log π(y_it | x, y_i<t), T by `loss_aggregation`."""

    steps: Count = Field(
        default=120, description="Number of training steps. Each step samples one batch of answers and learns from it."
    )
    prompts_per_step: Count = Field(
        default=64, description="Number of prompts per step, Q. Each prompt gives one group."
    )
    group_size: int = Field(
        default=8, ge=2, description="Number of answers per prompt, N. One answer alone has no contrast."
    )
    learning_rate: Positive = Field(
        default=4e-4, description="Learning rate of AdamW (β = 0.9, 0.999), before `lr_warmup_steps` and `lr_decay`."
    )
    lr_warmup_steps: int = Field(
        default=0,
        ge=0,
        description="Steps over which the learning rate grows linearly, from 0 in the first step. All updates of a "
        "step have the same rate.",
    )
    lr_decay: Literal["constant", "linear", "cosine"] = Field(
        default="constant",
        description="The learning rate after the warm-up. `linear` and `cosine` fall to 0 at step `steps`, as in "
        "`transformers`.",
    )
    temperature: Positive = Field(
        default=1.0,
        description="Divides the logits when training samples answers, and when it learns from them: the trained "
        "policy is π_T, as in TRL and verl. `kl_coef`, `entropy_coef`, `target`, and all log-probabilities and "
        "entropies of training are those of π_T, and so is π_ref. Evaluations use temperature 1.",
    )
    top_p: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Training samples only from the smallest set of most probable tokens whose sum reaches this "
        "number. Log-probabilities stay those of all tokens, and nothing corrects for the difference. Evaluations "
        "use 1.",
    )
    max_new_tokens: Count = Field(default=96, description="Greatest length of an answer, in tokens.")
    max_grad_norm: Positive = Field(
        default=1.0, description="Gradients with a larger norm are scaled down to this norm."
    )
    loss_aggregation: Literal["token-mean", "seq-mean", "constant"] = Field(
        default="token-mean",
        description="What divides the loss. `token-mean`: the number of generated tokens in the step. `seq-mean`: each "
        "answer's length, then the number of answers. `constant`: `max_new_tokens` for each answer.",
    )
    skip_unfinished: bool = Field(default=False, description="Leave out answers that reach `max_new_tokens`.")
    skip_equal: bool = Field(default=False, description="Leave out groups whose rewards are all equal.")
    max_num_gen_batches: Count = Field(
        default=1,
        description="Greatest number of batches of prompts sampled per step. Above 1 (dynamic sampling, DAPO), groups "
        "whose rewards are all equal are replaced by groups of further prompts, as long as batches are left. If groups "
        "are still missing, equal ones of the first batch fill the step. All samples count in the columns `tokens` and "
        "`sampled`; logged rates are those of the groups that are kept.",
    )
    hidden_budget: Share = Field(
        default=0.0,
        description="Each attempt after the first loses the answer with this probability. The text is then scored as "
        "if it ended within that attempt, without an answer; the model never sees this. The draw is the same in all "
        "ablations. Evaluations during training have the budget too; their column `success_without_budget` scores the "
        "same answers as written. The evaluation of the final model has no budget.",
    )
    placebo: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Placebo reward: each sample's reward in training is drawn at random. It is the task's highest "
        "reward with this probability, else the lowest. The logged rewards and rates stay the verifier's. `null`: no "
        "placebo.",
    )
    updates_per_batch: Count = Field(
        default=1, description="Updates of the weights per batch of answers. Above 1, PPO's clipping is used."
    )
    epsilon_low: float = Field(
        default=0.2, gt=0, le=1, description="PPO's clipping: how far the probability ratio may fall below 1."
    )
    epsilon_high: float = Field(
        default=0.2, gt=0, le=1, description="PPO's clipping: how far the probability ratio may rise above 1."
    )
    entropy_coef: NotNegative = Field(
        default=0.0, description="Factor of the policy's entropy in the objective, in reward per nat."
    )
    kl_coef: NotNegative = Field(
        default=0.0,
        description="Factor β of a penalty on KL(π‖π_ref), in reward per nat. π_ref is the base model. The penalty is "
        "the k3 estimate at every generated token, scaled like the loss.",
    )
    kl_reference: Literal["device", "host"] = Field(
        default="device",
        description="Where the base model is kept for `kl_coef`. `device`: beside the policy. `host`: it is read from "
        "its files for each pass; the host caches these files.",
    )
    injection: float | None = Field(
        default=None,
        gt=0,
        description="Teacher forcing: the reference answer joins each group as sample N + 1 with this reward. The "
        "scheme weights it like the other answers, although the policy did not sample it. The logged weights and "
        "the logged entropy then include it. `null`: no injection.",
    )
    imitation: float | None = Field(
        default=None,
        ge=0,
        description="Teacher forcing: the loss is −log π of the reference answer, averaged over its tokens, plus this "
        "factor times the policy-gradient loss. `null`: no imitation.",
    )
    target: NotNegative = Field(
        default=0.0,
        description="Teacher forcing: β·(log p*(y∣x) − log π(y∣x)) is added to each sample's reward before the scheme "
        "weights it. This key is β, in reward per nat. p* is the reference answer, smoothed token by token.",
    )
    target_smoothing: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Probability that p* takes from the reference answer's token and spreads over the vocabulary.",
    )
    measure_noise: bool = Field(
        default=False,
        description="Log `gradient_cosine`, the cosine between the gradients of the two halves of the prompts. This "
        "needs memory for one more gradient.",
    )
    on_nonfinite: Literal["stop", "skip"] = Field(
        default="stop",
        description="What happens when a loss or a gradient is not finite. `stop`: the run ends. `skip`: the rest of "
        "the batch is skipped; the table's column `skipped` is then 1, and `loss` and `grad_norm` are empty if "
        "no update came before. After 10 skipped steps in a row the run ends. A run that ends so, or whose weights "
        "are no longer finite, leaves the inputs of the step in its folder.",
    )
    reward_timeout: float = Field(
        default=60.0,
        gt=0,
        le=DAY,
        description="Time limit of the task's verifier for one batch of answers, in seconds. A verifier that takes "
        "longer ends the run.",
    )
    max_microbatch_tokens: Count = Field(
        default=16384,
        description="Greatest number of tokens in one forward pass of the update, padding included. Prompts and "
        "completions are counted apart. It limits memory. It is halved automatically when a GPU's memory runs out.",
    )
    rollout_batch_size: Count = Field(
        default=1024,
        description="Greatest number of answers decoded at once. It limits the memory of the cache. It is halved "
        "automatically when a GPU's memory runs out. The sampled answers do not depend on it.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="Number format of weights and activations. With `bfloat16`, gradients are summed in float32. So "
        "that small updates are not lost, weights are rounded stochastically on the device, and have float32 "
        "copies on the host.",
    )
    rounding: Literal["stochastic", "nearest"] = Field(
        default="stochastic",
        description="How AdamW rounds weights and first moment to `bfloat16` on the device. `nearest` loses updates "
        "below 1/512 of a weight, as plain bfloat16 training does. The second moment is float32 with both.",
    )
    optimizer_state: Literal["device", "host"] = Field(
        default="device",
        description="Where AdamW's moments (and the float32 copies of weights) are kept. `host` saves GPU memory.",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Compute each layer again in the backward pass instead of keeping its activations."
    )
    checkpoint_every: Count = Field(
        default=10,
        description="Steps between two checkpoints. An interrupted run resumes from its last complete checkpoint. Two "
        "checkpoints are kept.",
    )
    threads: Count = Field(
        default=1,
        description="Processor threads of a run. Snakemake counts them as cores. In the update each thread computes a "
        "micro-batch of its own, so memory grows with them. With a model of more than 8 M parameters each thread "
        "also samples answers of its own.",
    )
    gpus: Count = Field(
        default=1,
        description="GPUs that train one run together (on the CPU: processes). Each group stays on one GPU. Weights, "
        "gradients and moments are sharded (FSDP2); weights are kept in float32 and computed with in `precision`. "
        "Results are the same up to rounding, so a run may continue with another number. Above 1, "
        "`optimizer_state` must be `device`, and nothing is halved when memory runs out in an update.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Device of the training. `auto`: a GPU if there is one, else the CPU."
    )
    sampler: Literal["native", "vllm"] = Field(
        default="native",
        description="What samples answers while training, those of its evaluations included. `native`: the project's "
        "own decoder. `vllm`: vLLM on the same device, which gets the policy's weights before every batch of answers. "
        "A stopped run then continues, but not with the same numbers (docs/vllm.md).",
    )
    sampler_memory: float = Field(
        default=SAMPLER_MEMORY,
        gt=0,
        lt=1,
        description="Share of the device's memory that vLLM takes for its copy of the weights and its cache. On a CPU: "
        "share of the machine's memory for everything in the process. Only with `sampler: vllm`.",
    )
    importance_cap: float | None = Field(
        default=None,
        ge=1,
        description="Truncated importance sampling: the loss of each token is multiplied by π(token) in training over "
        "π(token) in vLLM, at most this number. `null`: no correction. Only with `sampler: vllm`.",
    )

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        allowed = f"below training.steps ({self.steps})"
        need(self, "lr_warmup_steps", self.lr_warmup_steps < self.steps, allowed)
        return self

    @model_validator(mode="after")
    def _check_rounding(self) -> Self:
        if self.rounding == "nearest":
            # Elsewhere the weights that AdamW changes are float32, so nothing is rounded.
            bfloat16 = self.precision == "bfloat16" and self.optimizer_state == "device" and self.gpus == 1
            allowed = "stochastic, or precision: bfloat16 with optimizer_state: device and gpus: 1"
            need(self, "rounding", bfloat16, allowed)
        return self

    @model_validator(mode="after")
    def _check_gpus(self) -> Self:
        if self.gpus > 1:
            # A group is never divided between GPUs.
            need(self, "prompts_per_step", self.prompts_per_step >= self.gpus, f"at least training.gpus ({self.gpus})")
            need(self, "optimizer_state", self.optimizer_state == "device", "device beside training.gpus above 1")
        return self

    @model_validator(mode="after")
    def _check_teachers(self) -> Self:
        """At most one form of teacher forcing, and nothing beside it that it has no meaning with."""
        teachers = [name for name in ("injection", "imitation") if getattr(self, name) is not None]
        for other in (teachers + ["target"] * (self.target > 0))[1:]:
            need(self, other, False, f"null beside training.{teachers[0]}")
        for teacher in teachers + ["target"] * (self.target > 0):
            need(self, "placebo", self.placebo is None, f"null beside training.{teacher}")
        for teacher in teachers:
            # The penalty is an expectation under the policy, and a reference answer is not one of its samples.
            need(self, "kl_coef", self.kl_coef == 0, f"0 beside training.{teacher}")
        if self.imitation is not None:
            allowed = "1 beside training.imitation, which has no ratio to clip"
            need(self, "updates_per_batch", self.updates_per_batch == 1, allowed)
        return self

    @model_validator(mode="after")
    def _check_sampler(self) -> Self:
        if self.sampler == "native":
            allowed = "no such key beside training.sampler: native"
            need(self, "importance_cap", self.importance_cap is None, allowed)
            need(self, "sampler_memory", self.sampler_memory == SAMPLER_MEMORY, allowed)
            return self
        need(self, "gpus", self.gpus == 1, f"1 beside training.sampler: {self.sampler}")
        # vLLM gives log-probabilities either before the temperature or after top-p. Those of π_T lie between.
        between = self.top_p == 1 or self.temperature == 1
        need(self, "top_p", between, f"1 beside training.sampler: {self.sampler} with another temperature than 1")
        if self.importance_cap is not None:
            for teacher in ("injection", "imitation"):  # nobody sampled a reference answer, so it has no ratio
                need(self, teacher, getattr(self, teacher) is None, "null beside training.importance_cap")
        return self

    @model_validator(mode="after")
    def _check_dynamic_sampling(self) -> Self:
        """Dynamic sampling needs rewards that can be equal, and that tell something of the answers."""
        others = {
            "injection, with which no group's rewards are equal": self.injection is not None,
            "target, with which no group's rewards are equal": self.target > 0,
            "placebo, whose rewards do not depend on the answers": self.placebo is not None,
        }
        for other in (name for name, used in others.items() if used):
            need(self, "max_num_gen_batches", self.max_num_gen_batches == 1, f"1 beside training.{other}")
        return self


DEFAULTS = dataclasses.asdict(Training())
"""Key of `training` → its default."""


@option_class("evaluation")
class Evaluation:
    """What is measured on held-out puzzles, during training and at its end."""

    every: Count = Field(default=10, description="Steps between two points of the success curve.")
    puzzles: Count = Field(
        default=1024,
        description="Held-out puzzles per point, each answered once at temperature 1. At most `task.test`.",
    )
    final_samples: Count = Field(
        default=4,
        description="Answers per puzzle for the success of the final model, at temperature 1.",
    )
    pass_every: int | None = Field(
        default=None,
        ge=1,
        description="Steps between two measurements of pass@k while training. A multiple of `every`. `null`: pass@k of "
        "the base and the final model only.",
    )
    pass_puzzles: Count = Field(default=256, description="Puzzles for pass@k. At most `puzzles`.")
    pass_samples: int = Field(
        default=32, ge=16, description="Answers per puzzle for pass@k. pass@16 needs at least 16."
    )
    samples: Count = Field(
        default=8, description="Puzzles per point whose answers are kept as text. At most `puzzles`."
    )

    signal_batches: int = Field(
        default=0,
        ge=0,
        description="Batches of the untrained base model from which the gradient's signal-to-noise is measured for "
        "every scheme, with the training settings of the baseline. They are those of weights alone, without KL, "
        "entropy bonus, teacher forcing, placebo and clipping. A fifth more batches are sampled for Adam's second "
        "moments. 0: not measured; otherwise at least 10.",
    )

    @model_validator(mode="after")
    def _check_signal(self) -> Self:
        need(self, "signal_batches", self.signal_batches == 0 or self.signal_batches >= 10, "0, or at least 10")
        return self

    @model_validator(mode="after")
    def _check_puzzles(self) -> Self:
        often = self.pass_every is None or self.pass_every % self.every == 0
        need(self, "pass_every", often, f"a multiple of evaluation.every ({self.every}), or null")
        for key in ("pass_puzzles", "samples"):
            need(self, key, getattr(self, key) <= self.puzzles, f"at most evaluation.puzzles ({self.puzzles})")
        return self


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
        """All that its results depend on. `training.gpus` is left out: a run can continue on another number of GPUs.

        So are `evaluation.signal_batches`, which is about the base model, and keys of `NEWER` that have their defaults.
        """
        values = dataclasses.asdict(self)
        del values["training"]["gpus"], values["evaluation"]["signal_batches"]
        unused = [key for key in NEWER if values["training"][key] == DEFAULTS[key]]
        values["training"] = {key: value for key, value in values["training"].items() if key not in unused}
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
