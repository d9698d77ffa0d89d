"""The update: weighted rollouts → gradients (in micro-batches) → new weights."""

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from softmax_rewards.common.randomness import torch_stream
from softmax_rewards.config.run import Training
from softmax_rewards.policy import noise, policy_change
from softmax_rewards.policy.engine import Engine
from softmax_rewards.policy.kl import KLPenalty, Reference
from softmax_rewards.policy.learning_rate import learning_rate
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.loss import ClippedLoss, EntropyBonus, PolicyLoss, StepLoss, Term
from softmax_rewards.policy.micro_batches import Samples
from softmax_rewards.policy.objective import sample_scales
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.teacher import Imitation

Result = TypeVar("Result")
Facts = dict[str, float | None]
"""Values of a step for its row in the metrics table, by column. None leaves the cell empty."""


class Diverged(FloatingPointError):
    """The loss or the gradient is not finite, and the weights are unchanged. Or the new weights are not finite."""

    def __init__(
        self, what: str, index: int, loss: float, grad_norm: float, gradients: list[str], weights: list[str]
    ) -> None:
        super().__init__(what)
        self.index = index  # number of the update in its batch, from 0
        self.loss, self.grad_norm = loss, grad_norm
        self.gradients, self.weights = gradients, weights  # names of the parameters whose values are not finite
        self.facts: Facts = {}  # what `update` would return, with None for values that are not known


class Updater:
    """Updates the policy of `engine` with `settings`. Most runs have neither `kl` nor `imitation`."""

    def __init__(
        self,
        settings: Training,
        seed: int,
        engine: Engine,
        limits: Limits,
        kl: KLPenalty | None = None,
        imitation: Imitation | None = None,
        measures_change: bool = False,
    ) -> None:
        self.settings, self.seed, self.engine, self.limits = settings, seed, engine, limits
        self.kl, self.imitation, self.measures_change = kl, imitation, measures_change
        self.terms: list[Term] = [EntropyBonus(settings.entropy_coef)] if settings.entropy_coef else []
        self.terms += [kl] if kl else []

    @classmethod
    def of(
        cls,
        settings: Training,
        seed: int,
        engine: Engine,
        limits: Limits,
        kl_reference: Reference | None = None,
        measures_change: bool = False,
    ) -> "Updater":
        """The updater with the parts that `settings` ask for. A KL penalty needs a `kl_reference`."""
        penalty = KLPenalty(settings.kl_coef, kl_reference) if kl_reference is not None else None
        imitation = Imitation(settings.imitation) if settings.imitation is not None else None
        return cls(settings, seed, engine, limits, penalty, imitation, measures_change)

    def update(self, step: int, rollouts: Rollouts, weights: np.ndarray) -> Facts:
        """Update `settings.updates_per_batch` times on one batch of rollouts with `weights[Q, N]`.

        With `imitation`, the rollouts have N + 1 answers per group: N samples, then the reference answer, which has no
        weight. Returns `loss` and `grad_norm` (before clipping) of the first update. With a KL penalty, `kl` is its
        mean over the tokens (nats). With `settings.measure_noise`, `gradient_cosine` is that of the first update. With
        several updates, `clip_fraction` is the share of tokens without a gradient in the later ones. In bfloat16,
        `unchanged_weights` is the share of weights that the first update did not change. With `measures_change`, the
        facts of `policy_change` are added.

        Raises Diverged if loss, gradient or new weights are not finite.
        """
        settings, completions = self.settings, rollouts.completions
        mask = sample_mask(settings, rollouts)
        scales, factors = (self.imitation.sample_factors if self.imitation else sample_factors)(
            settings, rollouts, mask, weights
        )
        samples = Samples(rollouts.prompts, completions.tokens, completions.lengths.tolist())
        passed = self._passed(mask, factors)
        rows = self.engine.own_rows(samples, passed)
        loss = StepLoss(
            self._policy_loss(completions.log_probs), scales, factors, completions.tokens.device, self.terms
        )
        self.engine.optimizer.learning_rate = learning_rate(settings, step)
        facts = self._prepare_kl(samples, rows, completions.log_probs)
        for index in range(settings.updates_per_batch):
            measured = settings.measure_noise and index == 0
            value, cosine = self._add_gradients(samples, rows, loss, measured)
            value = self.engine.sum(value)  # the same on every rank, so that all ranks stop if it is not finite
            # Stochastic rounding of the weights needs random numbers. Each step and update has its own stream. So a
            # resumed run gets the same numbers as an uninterrupted one.
            rounding = torch_stream(self.seed, "rounding", step, index, device=loss.factors.device)
            try:
                norm = self._step(index, value, rounding)
            except Diverged as error:
                unknown = {"loss": None, "grad_norm": None, **facts} | ({"gradient_cosine": None} if measured else {})
                unknown |= {"unchanged_weights": None} if self.engine.optimizer.rounds else {}
                error.facts = unknown if index == 0 else facts  # a later failure leaves the first update's facts valid
                raise
            if index == 0:
                facts = {"loss": value, "grad_norm": norm} | facts | ({"gradient_cosine": cosine} if measured else {})
                unchanged = self.engine.optimizer.unchanged
                facts |= {"unchanged_weights": unchanged} if unchanged is not None else {}
            loss.policy.update_done()  # the clipped loss has now recorded its denominators
        return facts | self._clip_fraction(loss, samples, factors) | self._change(loss, samples, passed)

    def _change(self, loss: StepLoss, samples: Samples, passed: np.ndarray) -> Facts:
        """The facts of `policy_change`, if they are measured."""
        if not self.measures_change:
            return {}
        if self.settings.injection is not None or self.settings.imitation is not None:
            passed = passed[passed % samples.per_prompt < samples.per_prompt - 1]  # reference answers were not sampled

        def log_probs(rows: np.ndarray) -> Tensor:
            indices = rows.tolist()
            return self.within_memory(samples, rows, lambda budget: self.engine.log_probs(samples, indices, budget))

        return policy_change.facts(self.engine, samples, passed, loss.policy.sampled, loss.policy.old, log_probs)

    def _clip_fraction(self, loss: StepLoss, samples: Samples, factors: np.ndarray) -> Facts:
        """The fact `clip_fraction`, if there are several updates per batch."""
        if not isinstance(loss.policy, ClippedLoss):
            return {}
        later = self.settings.updates_per_batch - 1
        tokens = later * sum(length for length, factor in zip(samples.lengths, factors, strict=True) if factor)
        return {"clip_fraction": self.engine.sum(loss.policy.clipped_tokens()) / tokens if tokens else None}

    def _policy_loss(self, sampled: Tensor) -> PolicyLoss:
        settings = self.settings
        if settings.updates_per_batch == 1:
            return PolicyLoss(sampled)
        return ClippedLoss(settings.epsilon_low, settings.epsilon_high, sampled)

    def _passed(self, mask: np.ndarray, factors: np.ndarray) -> np.ndarray:
        """The samples that can have a gradient, of all processes. The update passes them, and no others."""
        rows = np.flatnonzero(mask)
        if not self.terms:  # a KL penalty or an entropy bonus has a gradient for every sample
            # A factor of zero gives a gradient of zero, so these samples are skipped. If all factors are zero, one row
            # stays. Its gradient is zero, but without any gradient AdamW would skip the update. With it, momentum still
            # moves the weights.
            rows = rows[factors[rows] != 0] if factors[rows].any() else rows[:1]
        return rows

    def _prepare_kl(self, samples: Samples, rows: np.ndarray, sampled: Tensor) -> Facts:
        """If there is a KL penalty, compute log π_ref of the step's samples. Returns the penalty's mean as a fact."""
        kl = self.kl
        if kl is None:
            return {}
        share = self.engine.share(len(samples.prompts))
        penalty = self.within_memory(samples, rows, lambda budget: kl.prepare(samples, share, sampled, budget))
        return {"kl": self.engine.sum(penalty) / sum(samples.lengths)}

    def _add_gradients(self, samples: Samples, rows: np.ndarray, loss: StepLoss, measured: bool) -> tuple[float, float]:
        """Accumulate the batch's gradient. Returns the loss, and the cosine of its halves (NaN if not `measured`)."""
        entropies = bool(self.settings.entropy_coef)

        def compute(budget: int) -> tuple[float, float]:
            if measured:
                return noise.add_halves(self.engine, samples, rows, budget, loss, entropies)
            return self.engine.gradients.add(samples, rows.tolist(), budget, loss, entropies), math.nan

        return self.within_memory(samples, rows, compute)

    def within_memory(self, samples: Samples, rows: np.ndarray, compute: Callable[[int], Result]) -> Result:
        """The result of `compute(token budget)`. The budget is halved until the computation fits into memory."""
        # Without `rows` a KL penalty may still run out of memory. Its passes end at a budget of one token.
        shortest, total = min((samples.lengths[row] for row in rows), default=1), sum(samples.lengths)
        while True:
            budget = self.limits.max_microbatch_tokens
            try:
                return compute(budget)
            except torch.OutOfMemoryError:
                # Two answers need a budget of at least twice the shortest one. Below that, each micro-batch already has
                # one answer, which cannot be split.
                if budget < 2 * shortest or not self.engine.can_retry:
                    raise
            # These lines are not within `except`, because the error's traceback would keep tensors in memory there.
            self.engine.optimizer.discard()  # the gradients of a part of the batch
            # A budget far above `total` limits nothing. So the next budget is at most half of `total`.
            self.limits.lower("max_microbatch_tokens", min(budget, total) // 2)

    def _step(self, index: int, loss: float, rounding: torch.Generator) -> float:
        """Take the optimizer's step. Returns the gradient's norm before clipping. Raises Diverged as `update` does."""
        optimizer = self.engine.optimizer
        try:
            if not math.isfinite(loss):
                raise FloatingPointError(f"training has diverged: loss {loss}")
            norm = optimizer.step(self.settings.max_grad_norm, rounding)
        except FloatingPointError as error:
            gradients = self._not_finite(optimizer.gradients())
            optimizer.discard()
            raise Diverged(str(error), index, loss, math.nan, gradients, []) from None
        # A finite gradient can still move a weight beyond the greatest number of its dtype.
        if weights := self._not_finite(optimizer.weights()):
            what = f"training has diverged: weights that are not finite after an update ({weights[0]})"
            raise Diverged(what, index, loss, norm, [], weights)
        return norm

    def _not_finite(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Names of the tensors with a value that is not finite, in any process."""
        # A rank's share of a sharded tensor may be empty, and an empty tensor has no largest value.
        nonempty = {name: value for name, value in tensors.items() if value.numel()}
        # If the largest absolute value is finite, all values are. This check takes one pass and one wait for the
        # device. The tensors are checked one by one only if it fails.
        fine = bool(torch.isfinite(torch.nn.utils.get_total_norm(nonempty.values(), math.inf)))
        names = [] if fine else [name for name, value in nonempty.items() if not value.isfinite().all()]
        return self.engine.union(names)


def sample_factors(
    settings: Training, rollouts: Rollouts, mask: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(scales, factors), both float64 `[Q·N]`.

    The scale of sample i is s_i (see `objective`). Its factor s_i·w_i multiplies the log-probabilities of its tokens.
    """
    lengths = rollouts.lengths.ravel()
    scales = sample_scales(lengths, mask, settings.loss_aggregation, settings.max_new_tokens)
    return scales, scales * weights.ravel()


def sample_mask(settings: Training, rollouts: Rollouts) -> np.ndarray:
    """The samples that take part in the update, bool `[Q·N]`."""
    finished = rollouts.completions.finished.cpu().numpy()
    mask = finished if settings.skip_unfinished else np.ones_like(finished)
    if settings.skip_equal:
        mask = mask & np.repeat(np.ptp(rollouts.field("reward"), axis=1) > 0, rollouts.group_size)
    return mask
