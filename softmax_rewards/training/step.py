"""One training step: everything that decides its numbers, without files and messages.

Prompts and sampling noise come from random streams keyed by (seed, purpose, step). So all ablations of a seed see the
same, and a resumed run needs no generator state.
"""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from softmax_rewards import weighting
from softmax_rewards.common.randomness import numpy_stream
from softmax_rewards.config.run import Run
from softmax_rewards.data import tasks
from softmax_rewards.policy import dynamic_sampling, placebo
from softmax_rewards.policy.dynamic_sampling import Collected
from softmax_rewards.policy.rollout import Rollouts, Sampler
from softmax_rewards.policy.sampling_params import SamplingParams
from softmax_rewards.policy.teacher import inject, log_ratios
from softmax_rewards.policy.update import Facts, Updater
from softmax_rewards.training import coverage
from softmax_rewards.weighting import temperature

Puzzles = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Steps:
    """The steps of one run: `puzzles` is the train split, `held_out` are the puzzles for evaluation."""

    run: Run
    sampler: Sampler
    updater: Updater
    puzzles: Puzzles
    held_out: Puzzles

    def evaluate(self) -> Rollouts:
        """One sampled answer per held-out puzzle. The sampling noise is the same at every step and in all ablations."""
        with self.updater.engine.gathered_policy() as policy:
            return self.sampler.rollout(policy, self.held_out, 1, (self.run.seed, "evaluation"))

    def passes(self, step: int) -> dict[str, float]:
        """pass@k after `step` updates, if the settings ask for it there; otherwise nothing.

        Puzzles and noise are those of the final model's pass@k. Both ends of the run are measured elsewhere.
        """
        settings = self.run.evaluation
        if settings.pass_every is None or step % settings.pass_every or step in (0, self.run.training.steps):
            return {}
        puzzles, samples = self.held_out[: settings.pass_puzzles], settings.pass_samples
        with self.updater.engine.gathered_policy() as policy:
            # Without a hidden budget, as for the base and the final model.
            sampler = dataclasses.replace(self.sampler, hidden_budget=0.0)
            rollouts = sampler.rollout(policy, puzzles, samples, (self.run.seed, "pass@k"))
        return coverage.rates(rollouts.field("correct", int).sum(1), samples)

    def collect(self, step: int) -> Collected:
        """The rollouts of a step: its prompts, a group of samples for each, their scores."""
        settings, seed = self.run.training, self.run.seed
        params = SamplingParams.of(settings)
        with self.updater.engine.gathered_policy() as policy:

            def sample(batch: int) -> tuple[np.ndarray, Rollouts]:
                indices = prompt_indices(seed, step, settings.prompts_per_step, len(self.puzzles), batch)
                stream = (seed, "rollout", step, batch) if batch else (seed, "rollout", step)
                chosen = self._chosen(indices)
                return indices, self.sampler.rollout(policy, chosen, settings.group_size, stream, params)

            return dynamic_sampling.collect(sample, settings.max_num_gen_batches)

    def teach(self, collected: Collected, step: int) -> tuple[Rollouts, np.ndarray]:
        """The batch to learn from, and the rewards to weight; the settings say whether reference answers take part.

        With `training.placebo` both have random rewards.

        With `training.imitation` each group of the batch has one answer more than the rewards `[Q, N]`. That reference
        answer has a loss of its own and gets no weight.
        """
        settings, rollouts = self.run.training, collected.rollouts
        rewards = rollouts.field("reward")
        if settings.placebo is not None:
            task, options = tasks.load(self.run.task)
            key = (self.run.seed, "placebo", step)
            batch = placebo.drawn(rollouts, settings.placebo, task.reward_range(options), *key)
            return batch, batch.field("reward")
        if settings.injection is None and settings.imitation is None and not settings.target:
            return rollouts, rewards
        answers = self._reference_answers(collected.indices)
        if settings.target:
            vocabulary = self.updater.engine.policy.shape.vocab_size
            return rollouts, rewards + settings.target * log_ratios(
                rollouts, answers, settings.target_smoothing, vocabulary
            )
        batch = inject(rollouts, answers, settings.injection or 0.0, self.sampler.tokenizer.pad_id)
        return batch, rewards if settings.imitation is not None else batch.field("reward")

    def compute_weights(self, batch: Rollouts, rewards: np.ndarray, step: int) -> tuple[np.ndarray, float | None]:
        """The weights `[Q, N]` of the ablation's scheme, and their temperature (None if the scheme has none)."""
        hyperparameters = {key: value for key, value in self.run.weighting.items() if key != "scheme"}
        if "tau" in hyperparameters:
            task, options = tasks.load(self.run.task)
            hyperparameters["tau"] = temperature.resolve(hyperparameters["tau"], step, task.reward_range(options))
        correct = batch.field("correct", bool)[:, : rewards.shape[1]]
        weights = weighting.compute(self.run.weighting["scheme"], rewards, correct, **hyperparameters)
        return weights, hyperparameters.get("tau")

    def learn(self, step: int, batch: Rollouts, weights: np.ndarray) -> Facts:
        """Gradients → clipping → AdamW. Returns the facts for the step's row. Raises `update.Diverged`."""
        return self.updater.update(step, batch, weights)

    def _chosen(self, indices: np.ndarray) -> Puzzles:
        return [self.puzzles[index] for index in indices]

    def _reference_answers(self, indices: np.ndarray) -> list[list[int]]:
        """Token ids of the reference answers of the train puzzles `indices`, the end token included."""
        task, _ = tasks.load(self.run.task)
        tokenizer, template = self.sampler.tokenizer, self.sampler.template
        return [
            [*tokenizer.encode(task.reference_answer(puzzle, template)), tokenizer.end_id]
            for puzzle in self._chosen(indices)
        ]


def prompt_indices(seed: int, step: int, count: int, puzzles: int, batch: int = 0) -> np.ndarray:
    """Indices `[count]` of a step's puzzles: one random order of all `puzzles` per epoch, cut into steps.

    The further batches that dynamic sampling may need have an order of their own in every step.
    """
    # How many batches the earlier steps needed depends on the policy. So a further batch must not depend on them.
    if batch:
        order = numpy_stream(seed, "further prompts", step).permutation(puzzles)
        return order[np.arange((batch - 1) * count, batch * count) % puzzles]
    positions = range(step * count, (step + 1) * count)
    return np.array([_epoch_order(seed, position // puzzles, puzzles)[position % puzzles] for position in positions])


@functools.lru_cache(maxsize=2)  # a step asks for every prompt, and may lie in two epochs
def _epoch_order(seed: int, epoch: int, puzzles: int) -> np.ndarray:
    return numpy_stream(seed, "prompts", epoch).permutation(puzzles)
