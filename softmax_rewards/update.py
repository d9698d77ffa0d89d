"""The update: weighted episodes → gradients, in micro-batches → new weights."""

import numpy as np
import torch
from torch import Tensor

from softmax_rewards import optimiser
from softmax_rewards.gradients import Gradients, Samples
from softmax_rewards.limits import Limits
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.objective import Batch, policy_loss, sample_scales
from softmax_rewards.randomness import torch_stream
from softmax_rewards.rollout import Episodes
from softmax_rewards.run import Training


class Updater:
    """Updates `policy`, and holds what of it a resumed run must know."""

    def __init__(self, settings: Training, seed: int, policy: Decoder) -> None:
        self.settings, self.seed = settings, seed
        self.optimiser = optimiser.build(policy, settings.learning_rate, settings.optimiser_state)
        self.gradients = Gradients(policy, self.optimiser, settings.threads)
        self.limits = Limits.of(settings)

    def update(self, step: int, episodes: Episodes, weights: np.ndarray) -> dict[str, float]:
        """Update `settings.updates` times on one batch of episodes with `weights[Q, N]`.

        Returns loss and gradient norm before clipping of the first update. Raises FloatingPointError if loss or
        gradient is not finite.
        """
        settings, lengths = self.settings, episodes.lengths.ravel()
        finished = episodes.completions.finished.cpu().numpy()
        kept = finished if settings.skip_unfinished else np.ones_like(finished)
        if settings.skip_equal:
            kept = kept & np.repeat(np.ptp(episodes.field("reward"), axis=1) > 0, episodes.samples)
        scales = sample_scales(lengths, kept, settings.normaliser, settings.max_new_tokens)
        rows = np.flatnonzero(kept)
        if not settings.entropy_bonus:
            # A weight of zero has a gradient of zero. One such row stays where there is no other, for a gradient of
            # zero still lets AdamW's momentum move the weights.
            rows = rows[weights.ravel()[rows] != 0] if weights.ravel()[rows].any() else rows[:1]
        loss = _Loss(settings, episodes.completions.log_probs, torch.tensor(scales), torch.tensor(weights.ravel()))
        first: dict[str, float] = {}
        for index in range(settings.updates):
            value = self._gradients(episodes, rows.tolist(), loss)
            if not np.isfinite(value):
                raise FloatingPointError(f"training has diverged: loss {value}")
            rounding = torch_stream(self.seed, "rounding", step, index, device=loss.factors.device)
            norm = self.optimiser.step(settings.clip_norm, rounding)
            first = first or {"loss": value, "grad_norm": norm}
            loss.is_first = False
        return first

    def _gradients(self, episodes: Episodes, rows: list[int], loss: "_Loss") -> float:
        """The loss, once its whole gradient is there, in whatever micro-batches the memory allows."""
        samples = Samples(episodes.prompts, episodes.completions.tokens, episodes.completions.lengths.tolist())
        shortest, total = min((samples.lengths[row] for row in rows), default=0), sum(samples.lengths)
        while True:
            budget = self.limits.microbatch_tokens
            try:
                return self.gradients.add(samples, rows, budget, loss, entropies=bool(self.settings.entropy_bonus))
            except torch.OutOfMemoryError:
                if budget < 2 * shortest:  # half of a single answer cannot be computed
                    raise
            # Outside of `except`, whose traceback keeps tensors alive. Half-made gradients go, and all is made again.
            self.optimiser.discard()
            self.limits.lower("microbatch_tokens", min(budget, total) // 2)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Weights and the optimiser's state: kind of tensor → name → tensor."""
        return {"policy": self.optimiser.parameters, **self.optimiser.state()}

    def load(self, kind: str, name: str, value: Tensor) -> None:
        """Set one tensor of `state`."""
        if kind == "policy":
            with torch.no_grad():
                self.optimiser.parameters[name].copy_(value)
        else:
            self.optimiser.load(kind, name, value)


class _Loss:
    """The part of a step's loss that a micro-batch has; `factors` and `bonuses` are those of each sample."""

    def __init__(self, settings: Training, sampled: Tensor, scales: Tensor, weights: Tensor) -> None:
        self.settings = settings
        self.factors = (scales * weights).float().to(sampled.device)
        self.bonuses = (scales * settings.entropy_bonus).float().to(sampled.device)
        self.old = torch.zeros_like(sampled)  # before the first update
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
        if settings.entropy_bonus:
            loss = loss - (self.bonuses[batch.samples] * entropies).sum()
        return loss
