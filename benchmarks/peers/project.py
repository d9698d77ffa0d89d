"""This project, in two ablations: `linear`, whose update skips answers of weight 0, and `softmax`, where none is 0.

With random weights no weight is 0 in either ablation, and there is one row.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from limit import now
from work import TEMPLATE, Fixed, Work

from peers import Step, Trainer, counting
from softmax_rewards import weighting
from softmax_rewards.config.run import Training
from softmax_rewards.data.tasks import Score
from softmax_rewards.models import checkpoint
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.policy.decoding import Completions
from softmax_rewards.policy.engine import Engine
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.rollout import Rollouts, Sampler
from softmax_rewards.policy.update import Updater


def trainers(work: Work, checkout: Path | None) -> dict[str, Trainer]:
    if work.forced:
        return {"project": Project(work, "linear")}
    return {"project": Project(work, "linear"), "project, softmax": Project(work, "softmax", tau=0.5)}


def load(work: Work, dtype: torch.dtype) -> Decoder:
    return checkpoint.load(work.base, work.device, dtype)


def rollout(work: Work, policy: Decoder, updater: Updater, puzzles: list[dict[str, Any]], seed: int) -> Rollouts:
    """A step's rollout as `trainer.py` calls it."""
    settings = work.training
    sampler = Sampler(
        work.tokenizer, work.task, TEMPLATE, updater.limits, settings.max_new_tokens, settings.reward_timeout
    )
    return sampler.rollout(policy, puzzles, settings.group_size, (seed, "benchmark"))


def updater_of(settings: Training, policy: Decoder, seed: int) -> Updater:
    return Updater.of(settings, seed, Engine(policy, settings), Limits.of(settings))


class Project:
    """One ablation of this project."""

    unit = "tokens"

    def __init__(self, work: Work, scheme: str, **hyperparameters: float) -> None:
        self.work, self.scheme, self.hyperparameters = work, scheme, hyperparameters
        self.choices = list(work.budgets)

    def step(self, seed: int, microbatch: int) -> Step:
        work = self.work
        settings = self.settings(max_microbatch_tokens=microbatch)
        policy = load(work, work.dtype)
        updater = updater_of(settings, policy, seed)
        began = now(work.device)
        rollouts = rollout(work, policy, updater, work.puzzles, seed)
        sampled = now(work.device)
        rewards = work.rewards(rollouts.field("reward"))
        weights = weighting.compute(self.scheme, rewards, rollouts.field("correct", bool), **self.hyperparameters)
        with counting(policy.embed_tokens) as passed:
            updater.update(0, rollouts, weights)
        updated = now(work.device)
        return Step(sampled - began, updated - sampled, rollouts.lengths, weights != 0, sum(passed))

    def learn(self, batch: Fixed) -> tuple[float, float]:
        work, samples = self.work, batch.rewards.shape[1]
        texts, prompts = zip(*work.prompts[: len(batch.rewards)], strict=True)
        longest = max(map(len, batch.answers))
        tokens = torch.tensor([[*answer, *[0] * (longest - len(answer))] for answer in batch.answers])
        zeros = torch.zeros(tokens.shape, device=work.device)
        drawn = Completions(
            tokens=tokens.to(work.device),
            log_probs=zeros,
            entropies=zeros,
            lengths=torch.tensor([len(answer) for answer in batch.answers], device=work.device),
            finished=torch.ones(len(tokens), dtype=torch.bool, device=work.device),
        )
        scores = [Score(float(reward), False, False, 0, 0, False) for reward in batch.rewards.ravel()]
        rollouts = Rollouts(prompts, texts, drawn, [""] * len(scores), scores, samples)
        weights = weighting.compute("linear", batch.rewards, np.zeros(batch.rewards.shape, dtype=bool))
        policy = load(work, torch.float32)
        facts = updater_of(self.settings(precision="float32"), policy, 0).update(0, rollouts, weights)
        return facts["loss"], facts["grad_norm"]

    def settings(self, **changes: Any) -> Training:
        return dataclasses.replace(self.work.training, **changes)
