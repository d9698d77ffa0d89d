"""The work that every trainer gets: a model, prompts, and the number and length of answers.

`SHAPES` are the possible comparisons. Some have a base model that can do the task, made as in its experiment. Its
answers end by themselves. The others have random weights and never write an end token, so that every answer has the
greatest length. Random weights earn no reward, and without rewards nothing would be trained. So their rewards are drawn
at random.
"""

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from softmax_rewards.common.files import read_manifest
from softmax_rewards.common.randomness import torch_stream
from softmax_rewards.config import experiments
from softmax_rewards.config.run import Training
from softmax_rewards.data import dataset, tasks
from softmax_rewards.models import catalogue, checkpoint
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.shape import Shape
from softmax_rewards.models.sources.mini import write_tokenizer
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.training import base_model

EXPERIMENT = Path("config/experiments/countdown-mini.yaml")
TEMPLATE = "compact"
LEARNED = 4  # puzzles of the batch on which losses are compared


@dataclass(frozen=True)
class Case:
    """One comparison. With `config`, the weights are random and each prompt has `prompt` tokens."""

    prompts: int = 64
    samples: int = 8
    longest: int = 128
    precision: str = "float32"
    budgets: tuple[int, ...] = (2048,)  # `max_microbatch_tokens` to try
    model: dict[str, Any] = field(default_factory=dict)  # keys that differ from the experiment's base model
    config: dict[str, Any] | None = None
    prompt: int = 24


def qwen2(hidden: int, inner: int, layers: int, heads: int, kv_heads: int, vocabulary: int) -> dict[str, Any]:
    """A `config.json` of the Qwen2 family with these sizes."""
    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "vocab_size": vocabulary}
    heads_of = {"num_attention_heads": heads, "num_key_value_heads": kv_heads}
    return catalogue.find("qwen2.5-0.5b").config | sizes | heads_of


def _real(name: str) -> Case:
    """A step of a real model: 256 sequences, prompts of 160 tokens, bfloat16."""
    shape = catalogue.find(name).config
    return Case(32, 8, 1024, "bfloat16", (8192,), config=shape, prompt=160)


def _scale(width: int, heads: int, kv_heads: int) -> Case:
    """A step of `countdown-mini-scale-*`: two layers, and answers as long as the trap allows."""
    return Case(32, 8, 64, budgets=(1024, 2048), config=qwen2(width, 3 * width, 2, heads, kv_heads, 121), prompt=12)


def _smollm2(precision: str) -> Case:
    """A step of `countdown-smollm2-cpu`, with prompts as long as there."""
    shape = catalogue.find("smollm2-135m-instruct").config
    return Case(8, 8, 48, precision, (1024,), config=shape, prompt=135)


SHAPES = {
    "mini": Case(budgets=(1024, 2048)),
    "mini-144k": Case(budgets=(1024, 2048), model={"layers": 3}),
    "30m": Case(16, 8, 64, budgets=(1024, 4096), config=qwen2(512, 1536, 8, 8, 2, 8192)),
    "long": Case(8, 8, 1024, budgets=(2048, 8192), config=qwen2(96, 288, 2, 3, 1, 128)),
    "mini-0.1m": _scale(64, 2, 1),
    "mini-0.4m": _scale(128, 4, 1),
    "mini-1.6m": _scale(256, 8, 2),
    "mini-6m": _scale(512, 16, 4),
    "smollm2": _smollm2("float32"),
    "smollm2-bfloat16": _smollm2("bfloat16"),
    "qwen2.5-0.5b": _real("qwen2.5-0.5b"),
    "qwen2.5-3b": _real("qwen2.5-3b"),
}


@dataclass(frozen=True)
class Work:
    """The work that every trainer gets."""

    base: Path  # the model's folder
    task: dict[str, Any]
    puzzles: list[dict[str, Any]]  # of one step
    training: Training
    device: torch.device
    budgets: tuple[int, ...]
    forced: bool  # random weights: every answer has the greatest length, and rewards are drawn
    dice: np.random.Generator

    @cached_property
    def shape(self) -> Shape:
        return Shape.from_config(checkpoint.read_config(self.base))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer(self.base)

    @cached_property
    def prompts(self) -> list[tuple[str, list[int]]]:
        """Text and token ids of every prompt."""
        module, _ = tasks.load(self.task)
        return [self.tokenizer.prompt(module.prompt(puzzle, TEMPLATE)) for puzzle in self.puzzles]

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.training.precision)

    @property
    def sequences(self) -> int:
        return len(self.puzzles) * self.training.group_size

    @property
    def positions(self) -> int:
        """The number of tokens of the longest sequence."""
        return max(len(ids) for _, ids in self.prompts) + self.training.max_new_tokens

    def rewards(self, verified: np.ndarray) -> np.ndarray:
        """The rewards to train on: the verifier's, or random ones if `forced`."""
        return self.dice.random(verified.shape) if self.forced else verified

    def reward(self, answer: str, puzzle: dict[str, Any]) -> float:
        """The reward of one answer without its end token."""
        module, options = tasks.load(self.task)
        return float(self.rewards(np.array(module.score(answer, puzzle, options).reward)))

    def row_choices(self) -> list[int]:
        """Micro-batch sizes to try, in rows, for trainers that count rows and hold all logits of a micro-batch."""
        room = (12 if self.device.type == "cuda" else 1) * 10**9  # bytes of float32 logits
        most = room // (4 * self.positions * self.shape.vocab_size)
        if (
            self.device.type == "cuda"
        ):  # activations take more memory there: as many tokens as this project's micro-batch
            most = min(most, max(max(self.budgets) // self.positions, 4))
        fitting = [rows for rows in (4, 16, 64, 256) if rows <= most and self.sequences % rows == 0]
        if self.device.type == "cuda":  # on a GPU more rows are faster as long as they fit
            return fitting[-1:] or [1]
        return fitting[-3:] or [self.sequences]

    def fixed(self) -> "Fixed":
        """The batch for which all trainers must have the same loss."""
        dice = np.random.default_rng(0)
        puzzles, samples = min(LEARNED, len(self.puzzles)), self.training.group_size
        longest = min(40, self.training.max_new_tokens)
        lengths = dice.integers(1, longest, size=puzzles * samples, endpoint=True)
        answers = [dice.integers(3, 20, size=length).tolist() for length in lengths]  # none of the special tokens
        return Fixed(answers, dice.choice([0.0, 0.1, 1.1], size=(puzzles, samples)))


@dataclass(frozen=True)
class Fixed:
    """Answers to the first puzzles, by group, and their rewards."""

    answers: list[list[int]]
    rewards: np.ndarray  # [puzzles, samples]


def make(case: Case, base: Path, data: Path, threads: int, device: str = "auto") -> Work:
    """The work of `case`. The folders `base` and `data` are filled if they are empty.

    Raises ValueError (one line) if `base` has no suitable model, or if there are too few puzzles.
    """
    experiment = experiments.load(EXPERIMENT)
    torch_device = torch.device(checkpoint.pick_device(device))
    for folder in (base, data):
        folder.mkdir(parents=True, exist_ok=True)
    if not (data / "manifest.json").exists():
        dataset.write(experiment.task, data)
    if not any(base.iterdir()):
        if case.config is None:
            base_model.build(experiment.model | case.model, experiment.task, data, base)
        else:
            write_random(case.config, getattr(torch, case.precision), torch_device, experiment.task, base)
    forced = case.config is not None
    if not forced and read_manifest(base)["template"] != TEMPLATE:
        raise ValueError(f"{base}: a base model for {TEMPLATE} prompts is needed, such as countdown-mini's")
    training = dataclasses.replace(
        experiment.run(experiment.baseline, 0).training,
        prompts_per_step=case.prompts, group_size=case.samples, max_new_tokens=case.longest, precision=case.precision,
        max_microbatch_tokens=case.budgets[0], threads=threads, device=torch_device.type,
    )  # fmt: skip
    puzzles = dataset.read(data, "train", case.prompts)
    work = Work(base, experiment.task, puzzles, training, torch_device, case.budgets, forced, np.random.default_rng(0))
    return dataclasses.replace(work, puzzles=lengthened(work, case.prompt)) if forced else work


def write_random(
    values: dict[str, Any], dtype: torch.dtype, device: torch.device, task: dict[str, Any], folder: Path
) -> None:
    """Write a model of the config `values` that never writes its end and padding tokens, and a tokenizer.

    One channel of the residual stream is 1 after every token, and no layer writes to it. The head's rows of the two
    tokens are -1000 in this channel. Ids beyond the tokenizer's decode to nothing.
    """
    module, _ = tasks.load(task)
    values = values | write_tokenizer(module.ALPHABET, folder) | {"vocab_size": values["vocab_size"]}
    model = Decoder.empty(Shape.from_config(values), device, dtype)
    model.initialize(torch_stream(0, "initial weights", device=device))
    with torch.no_grad():
        model.embed_tokens.weight[:, 0] = 1.0
        model.embed_tokens.weight[[values["eos_token_id"], values["pad_token_id"]], 0] = -1000.0
        for layer in model.layers:
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.down_proj.weight[0] = 0.0
    checkpoint.save(model, folder, values)


def lengthened(work: Work, tokens: int) -> list[dict[str, Any]]:
    """The puzzles with zeros before their targets: all prompts then have the same length, at least `tokens`."""
    most = max(tokens, *(len(ids) for _, ids in work.prompts))
    return [
        puzzle | {"target": "0" * (most - len(ids)) + str(puzzle["target"])}
        for puzzle, (_, ids) in zip(work.puzzles, work.prompts, strict=True)
    ]
