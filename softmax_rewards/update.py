"""The update: a batch of weighted episodes → gradients, in micro-batches → new weights."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from softmax_rewards import optimiser
from softmax_rewards.limits import Limits
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.objective import Batch, batches, policy_loss, sample_scales, token_log_probs
from softmax_rewards.randomness import torch_stream
from softmax_rewards.rollout import Episodes
from softmax_rewards.run import Training


class _Work:
    """A step's samples that are kept, each with the factor of its log-probability and of its entropy."""

    def __init__(self, episodes: Episodes, rows: list[int], factors: Tensor, bonuses: Tensor) -> None:
        self.episodes, self.rows, self.factors, self.bonuses = episodes, rows, factors, bonuses
        self.old = torch.zeros_like(episodes.completions.log_probs)  # before the first update

    def batches(self, token_budget: int) -> Iterator[Batch]:
        episodes, completions = self.episodes, self.episodes.completions
        lengths = completions.lengths.tolist()
        return batches(episodes.prompts, completions.tokens, lengths, episodes.samples, self.rows, token_budget)


class Updater:
    """Updates `policy`, and holds what of it a resumed run must know.

    Micro-batches only bound memory: every token's weight already carries the normaliser of the whole step, so
    their gradients add up to the batch's whatever `limits.microbatch_tokens` is.
    """

    def __init__(self, settings: Training, seed: int, policy: Decoder) -> None:
        self.settings, self.seed, self.policy = settings, seed, policy
        self.optimiser = optimiser.build(policy, settings.learning_rate, settings.optimiser_state)
        self.limits = Limits.of(settings)

    def update(self, step: int, episodes: Episodes, weights: np.ndarray) -> dict[str, float]:
        """Update `settings.updates` times on one batch of episodes with `weights[Q, N]`.

        Returns loss, gradient norm before clipping and policy entropy (nats a token) of the first update. Raises
        FloatingPointError if loss or gradient is not finite.
        """
        settings, lengths = self.settings, episodes.lengths.ravel()
        finished = episodes.completions.finished.cpu().numpy()
        kept = finished if settings.skip_unfinished else np.ones_like(finished)
        if settings.skip_equal:
            kept = kept & np.repeat(np.ptp(episodes.field("reward"), axis=1) > 0, episodes.samples)
        scales = sample_scales(lengths, kept, settings.normaliser, settings.max_new_tokens)

        device = episodes.completions.tokens.device
        factors, bonuses = (
            torch.tensor(scales * values, dtype=torch.float32, device=device)
            for values in (weights.ravel(), settings.entropy_bonus)
        )
        work = _Work(episodes, np.flatnonzero(kept).tolist(), factors, bonuses)
        first: dict[str, float] = {}
        for index in range(settings.updates):
            loss, entropy = self._gradients(work, is_first=index == 0)
            if not np.isfinite(loss):
                raise FloatingPointError(f"training has diverged: loss {loss}")
            rounding = torch_stream(self.seed, "rounding", step, index, device=device)
            norm = self.optimiser.step(settings.clip_norm, rounding)
            entropy /= max(int(lengths[kept].sum()), 1)
            first = first or {"loss": loss, "grad_norm": norm, "entropy": entropy}
        return first

    def _gradients(self, work: _Work, is_first: bool) -> tuple[float, float]:
        """Add up the gradients of all micro-batches; returns the loss and the sum of the tokens' entropies."""
        while True:
            loss = entropy = 0.0
            rows = tokens = 0  # of the micro-batch under way
            try:
                for batch in work.batches(self.limits.microbatch_tokens):
                    rows, tokens = batch.ids.shape[0], batch.ids.numel()
                    log_probs, entropies = token_log_probs(self.policy, batch)
                    part = self._loss(work, batch, log_probs, entropies, is_first)
                    part.backward()
                    loss += part.item()
                    entropy += entropies.sum().item()
                return loss, entropy
            except torch.OutOfMemoryError:
                if rows < 2:  # half of a single answer cannot be computed
                    raise
            # Outside of `except`, whose traceback keeps tensors alive. Half-made gradients go, and all is made again.
            batch = log_probs = entropies = part = None
            self.optimiser.discard()
            self.limits.lower("microbatch_tokens", tokens // 2)

    def _loss(self, work: _Work, batch: Batch, log_probs: Tensor, entropies: Tensor, is_first: bool) -> Tensor:
        settings, weights = self.settings, work.factors[batch.samples]
        if settings.updates == 1:
            loss = policy_loss(log_probs, log_probs, weights, None)
        else:
            # The ratio's denominator is what the policy itself said before its first update. The log-probabilities of
            # sampling are the same in float32; in bfloat16 they differ enough for some to be clipped at once.
            if is_first:
                work.old[batch.samples, batch.columns] = log_probs.detach()
            loss = policy_loss(log_probs, batch.gather(work.old), weights, (settings.clip_low, settings.clip_high))
        if settings.entropy_bonus:
            loss = loss - (work.bonuses[batch.samples] * entropies).sum()
        return loss

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
