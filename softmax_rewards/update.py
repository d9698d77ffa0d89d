"""The update: a batch of weighted episodes → gradients, in micro-batches → new weights."""

import numpy as np
import torch

from softmax_rewards import optimiser
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.objective import batches, policy_loss, sample_scales, token_log_probs
from softmax_rewards.progress import say
from softmax_rewards.randomness import torch_stream
from softmax_rewards.rollout import Episodes
from softmax_rewards.run import Training


class Updater:
    """Updates `policy`, and remembers between steps what a resumed run must know.

    `microbatch_tokens` begins as configured and is halved whenever the device's memory does not suffice. Micro-batches
    only bound memory: every token's weight already carries the normaliser of the whole step, so their
    gradients add up to the batch's whatever their size.
    """

    def __init__(self, settings: Training, seed: int, policy: Decoder) -> None:
        self.settings, self.seed, self.policy = settings, seed, policy
        self.optimiser = optimiser.build(policy, settings.learning_rate, settings.optimiser_state)
        self.microbatch_tokens = settings.microbatch_tokens

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
        first: dict[str, float] = {}
        for index in range(settings.updates):
            loss, entropy = self._gradients(episodes, kept, scales, scales * weights.ravel())
            if not np.isfinite(loss):
                raise FloatingPointError(f"training has diverged: loss {loss}")
            device = self.policy.embed_tokens.weight.device
            rounding = torch_stream(self.seed, "rounding", step, index, device=device)
            norm = self.optimiser.step(settings.clip_norm, rounding)
            entropy /= max(int(lengths[kept].sum()), 1)
            first = first or {"loss": loss, "grad_norm": norm, "entropy": entropy}
        return first

    def _gradients(
        self, episodes: Episodes, kept: np.ndarray, scales: np.ndarray, factors: np.ndarray
    ) -> tuple[float, float]:
        """Add up the gradients of the samples `kept`; returns the loss and the sum of the tokens' entropies."""
        while True:
            try:
                return self._pass(episodes, kept, scales, factors)
            except torch.OutOfMemoryError:
                longest = max(len(prompt) for prompt in episodes.prompts) + int(episodes.lengths.max())
                if self.microbatch_tokens < longest:  # the next half would be the same single answers
                    raise
            # Outside of `except`, whose traceback keeps tensors alive. Half-made gradients go, and all is made again.
            self.optimiser.discard()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.microbatch_tokens //= 2
            say("train", f"out of memory: going on with training.microbatch_tokens {self.microbatch_tokens}")

    def _pass(
        self, episodes: Episodes, kept: np.ndarray, scales: np.ndarray, factors: np.ndarray
    ) -> tuple[float, float]:
        settings, completions = self.settings, episodes.completions
        device = completions.tokens.device
        clip = (settings.clip_low, settings.clip_high) if settings.updates > 1 else None
        factors = torch.tensor(factors, dtype=torch.float32, device=device)
        bonuses = torch.tensor(scales * settings.entropy_bonus, dtype=torch.float32, device=device)
        loss = entropy = 0.0
        for batch in batches(
            episodes.prompts,
            completions.tokens,
            episodes.lengths.ravel().tolist(),
            episodes.samples,
            np.flatnonzero(kept).tolist(),
            self.microbatch_tokens,
        ):
            log_probs, entropies = token_log_probs(self.policy, batch)
            part = policy_loss(log_probs, batch.gather(completions.log_probs), factors[batch.samples], clip)
            if settings.entropy_bonus:
                part = part - (bonuses[batch.samples] * entropies).sum()
            part.backward()
            loss += part.item()
            entropy += entropies.sum().item()
        return loss, entropy

    def state(self) -> dict[str, dict[str, torch.Tensor]]:
        """Weights and the optimiser's state: kind of tensor → name → tensor."""
        return {"policy": self.optimiser.parameters, **self.optimiser.state()}

    def load(self, kind: str, name: str, value: torch.Tensor) -> None:
        """Set one tensor of `state`."""
        if kind == "policy":
            with torch.no_grad():
                self.optimiser.parameters[name].copy_(value)
        else:
            self.optimiser.load(kind, name, value)
