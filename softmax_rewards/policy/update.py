"""The update: weighted episodes → gradients, in micro-batches → new weights."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from softmax_rewards.common.randomness import torch_stream
from softmax_rewards.config.run import Training
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.policy import optimizer, sharded
from softmax_rewards.policy.gradients import Gradients, Samples
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.objective import Batch, kl_penalty, policy_loss, sample_scales
from softmax_rewards.policy.ranks import ALONE, Ranks
from softmax_rewards.policy.reference import Reference
from softmax_rewards.policy.rollout import Episodes

Result = TypeVar("Result")


class Diverged(FloatingPointError):
    """An update that was not made, for want of a finite loss or gradient, or one that left `weights` not finite."""

    def __init__(
        self, what: str, index: int, loss: float, grad_norm: float, gradients: list[str], weights: list[str]
    ) -> None:
        super().__init__(what)
        self.index = index  # which update of the batch, from 0
        self.loss, self.grad_norm = loss, grad_norm
        self.gradients, self.weights = gradients, weights  # names of those that are not finite
        self.facts: dict[str, float | None] = {}  # what `update` would have returned


class Updater:
    """Updates `policy`, and holds what of it a resumed run must know.

    Of several `ranks` each holds a share of the policy, which must be in float32.
    """

    def __init__(self, settings: Training, seed: int, policy: Decoder, ranks: Ranks = ALONE) -> None:
        self.settings, self.seed, self.policy, self.ranks = settings, seed, policy, ranks
        if ranks.count == 1:
            self.optimiser = optimizer.build(policy, settings.learning_rate, settings.optimiser_state)
        else:
            sharded.shard(policy, ranks, getattr(torch, settings.precision))
            self.optimiser = sharded.ShardedAdamW(policy, settings.learning_rate, ranks)
        self.gradients = Gradients(policy, self.optimiser, settings.threads, ranks)
        self.limits = Limits.of(settings)

    def whole(self) -> AbstractContextManager[Decoder]:
        """Within the block, the policy as a model that runs by itself, for sampling and for files."""
        if self.ranks.count == 1:
            return nullcontext(self.policy)
        return sharded.whole(self.policy, self.ranks, getattr(torch, self.settings.precision))

    def update(
        self, step: int, episodes: Episodes, weights: np.ndarray, reference: Reference | None = None
    ) -> dict[str, float | None]:
        """Update `settings.updates` times on one batch of episodes with `weights[Q, N]`.

        `reference` is what the KL penalty holds the policy to, if there is one. With `settings.imitation` every group
        has the reference answer behind its N samples. Returns loss and gradient norm before clipping of the first
        update, with a penalty also `kl`, its mean over the tokens (nats), and with `settings.measure_noise`
        `gradient_cosine`. Raises Diverged if loss, gradient or the new weights are not finite.
        """
        settings, completions = self.settings, episodes.completions
        finished = completions.finished.cpu().numpy()
        kept = finished if settings.skip_unfinished else np.ones_like(finished)
        if settings.skip_equal:
            kept = kept & np.repeat(np.ptp(episodes.field("reward"), axis=1) > 0, episodes.samples)
        scales, factors = _factors(settings, episodes, kept, weights)
        rows = np.flatnonzero(kept)
        if not (settings.entropy_bonus or settings.kl):
            # A weight of zero has a gradient of zero. One such row stays where there is no other, for a gradient of
            # zero still lets AdamW's momentum move the weights.
            rows = rows[factors[rows] != 0] if factors[rows].any() else rows[:1]
        samples = Samples(episodes.prompts, completions.tokens, completions.lengths.tolist())
        share = self.ranks.share(len(samples.prompts))
        rows = rows[np.isin(rows // samples.per_prompt, share)]
        loss, facts = _Loss(settings, completions.log_probs, torch.tensor(scales), torch.tensor(factors)), {}
        if reference is not None:
            own, place = samples.of(share), slice(share.start * samples.per_prompt, share.stop * samples.per_prompt)
            loss.reference = torch.zeros_like(completions.log_probs)
            loss.reference[place] = self._within_memory(samples, rows, lambda budget: reference(own, budget))
            # 0 behind the ends, where both are 0
            penalties = kl_penalty(completions.log_probs[place], loss.reference[place])
            facts["kl"] = self.ranks.sum(float(penalties.sum())) / int(completions.lengths.sum())
        for index in range(settings.updates):
            measured = settings.measure_noise and index == 0
            value, cosine = self._gradients(samples, rows, loss, measured)
            value = self.ranks.sum(value)
            rounding = torch_stream(self.seed, "rounding", step, index, device=loss.factors.device)
            try:
                norm = self._step(index, value, rounding)
            except Diverged as error:
                missing = {"loss": None, "grad_norm": None, **facts, **({"gradient_cosine": None} if measured else {})}
                error.facts = missing if index == 0 else facts
                raise
            if index == 0:
                facts = {"loss": value, "grad_norm": norm} | facts | ({"gradient_cosine": cosine} if measured else {})
            loss.is_first = False
        return facts

    def _step(self, index: int, loss: float, rounding: torch.Generator) -> float:
        """The optimiser's step after a gradient of `loss`; returns the gradient's norm before clipping."""
        try:
            if not math.isfinite(loss):
                raise FloatingPointError(f"training has diverged: loss {loss}")
            norm = self.optimiser.step(self.settings.clip_norm, rounding)
        except FloatingPointError as error:
            gradients = self._not_finite(self.optimiser.gradients())
            self.optimiser.discard()
            raise Diverged(str(error), index, loss, math.nan, gradients, []) from None
        if weights := self._not_finite(self.optimiser.weights()):
            what = f"training has diverged: weights that are not finite after an update ({weights[0]})"
            raise Diverged(what, index, loss, norm, [], weights)
        return norm

    def _gradients(self, samples: Samples, rows: np.ndarray, loss: "_Loss", measured: bool) -> tuple[float, float]:
        """The loss, once its whole gradient is there.

        Also the cosine between the gradients of every other prompt and of the rest if it is `measured`, else NaN.
        """
        prompt = rows // samples.per_prompt
        shares = [rows[prompt % 2 == 0], rows[prompt % 2 == 1]] if measured else [rows]
        entropies = bool(self.settings.entropy_bonus)

        def compute(budget: int) -> tuple[float, float]:
            value = self.gradients.add(samples, shares[0].tolist(), budget, loss, entropies)
            if not measured:
                return value, math.nan
            half = {name: gradient.clone() for name, gradient in self.optimiser.gradients().items()}
            value += self.gradients.add(samples, shares[1].tolist(), budget, loss, entropies)
            return value, self._cosine(half, self.optimiser.gradients())

        return self._within_memory(samples, rows, compute)

    def _within_memory(self, samples: Samples, rows: np.ndarray, compute: Callable[[int], Result]) -> Result:
        """What `compute` makes of a token budget, in the largest micro-batches for which there is memory."""
        shortest, total = min((samples.lengths[row] for row in rows), default=0), sum(samples.lengths)
        while True:
            budget = self.limits.microbatch_tokens
            try:
                return compute(budget)
            except torch.OutOfMemoryError:
                # Half of a single answer cannot be computed, and a rank cannot go back while the others go on.
                if budget < 2 * shortest or self.ranks.count > 1:
                    raise
            # Outside of `except`, whose traceback keeps tensors alive. Half-made gradients go, and all is made again.
            self.optimiser.discard()
            self.limits.lower("microbatch_tokens", min(budget, total) // 2)

    def state(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Weights and the optimiser's state on the host, one kind of tensor after the other: name → tensor.

        All ranks must ask for it; it comes together on the first, the others get nothing.
        """
        for kind, tensors in {"policy": self.optimiser.parameters, **self.optimiser.state()}.items():
            whole = ((name, self.optimiser.whole(value)) for name, value in tensors.items())
            yield kind, {name: value.detach().cpu() for name, value in whole if self.ranks.first}

    def load(self, kind: str, name: str, value: Tensor) -> None:
        """Set one tensor of `state`."""
        if kind == "policy":
            self.optimiser.set(name, value)
        else:
            self.optimiser.load(kind, name, value)

    def _not_finite(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Names of the tensors that have a value which is not finite on any rank."""
        held = {name: value for name, value in tensors.items() if value.numel()}  # a rank's share may be nothing
        # The largest values, in one pass, tell if any has.
        fine = bool(torch.isfinite(torch.nn.utils.get_total_norm(held.values(), math.inf)))
        own = [] if fine else [name for name, value in held.items() if not value.isfinite().all()]
        return list(dict.fromkeys(name for found in self.ranks.gather(own) for name in found))

    def _cosine(self, half: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> float:
        """The cosine between a gradient and the rest of the whole one; NaN if one of them is 0."""
        products = torch.zeros(3, dtype=torch.float64)
        for name, gradient in whole.items():
            first = half.get(name, torch.zeros_like(gradient))
            second = gradient - first
            pairs = ((first, second), (first, first), (second, second))
            products += torch.stack([torch.sum(a * b, dtype=torch.float64) for a, b in pairs]).cpu()
        mixed, *squares = sum(self.ranks.gather(products)).tolist()
        return mixed / math.sqrt(math.prod(squares)) if all(squares) else math.nan


def _factors(
    settings: Training, episodes: Episodes, kept: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The normaliser of every sample, and what its log-probability counts in the loss: each float64 `[Q·N]`."""
    lengths = episodes.lengths.ravel()
    if settings.imitation is None:
        scales = sample_scales(lengths, kept, settings.normaliser, settings.max_new_tokens)
        return scales, scales * weights.ravel()
    # L_sup + λ·L_RL, each with a normaliser of its own: −log π(y*|x) is a mean over the reference answers' tokens.
    taught = np.arange(len(lengths)) % episodes.samples == episodes.samples - 1
    scales = sample_scales(lengths, kept & ~taught, settings.normaliser, settings.max_new_tokens)
    weights = np.pad(weights, ((0, 0), (0, 1)))
    return scales, settings.imitation * scales * weights.ravel() + (kept & taught) / lengths[taught].sum()


class _Loss:
    """The part of a step's loss that a micro-batch has; normalisers and `factors` are those of each sample."""

    def __init__(self, settings: Training, sampled: Tensor, scales: Tensor, factors: Tensor) -> None:
        self.settings = settings
        self.factors = factors.float().to(sampled.device)
        self.scales = scales.float().to(sampled.device)
        self.old = torch.zeros_like(sampled)  # before the first update
        self.reference: Tensor | None = None  # log-probabilities of the KL penalty, as `old`
        self.is_first = True

    def __call__(self, batch: Batch, log_probs: Tensor, entropies: Tensor) -> Tensor:
        settings, factors = self.settings, self.factors[batch.samples]
        if settings.updates == 1:
            loss = policy_loss(log_probs, log_probs, factors, None)
        else:
            # The ratio's denominator is what the policy itself said before its first update. The log-probabilities of
            # sampling are the same in float32; in bfloat16 they differ enough for some to be clipped at once.
            if self.is_first:
                self.old[batch.samples, batch.columns] = log_probs.detach()
            loss = policy_loss(log_probs, batch.gather(self.old), factors, (settings.clip_low, settings.clip_high))
        scales = self.scales[batch.samples]
        if settings.entropy_bonus:
            loss = loss - settings.entropy_bonus * (scales * entropies).sum()
        if self.reference is not None:
            loss = loss + settings.kl * (scales * kl_penalty(log_probs, batch.gather(self.reference))).sum()
        return loss
