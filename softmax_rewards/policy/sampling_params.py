"""Sampling parameters: how logits become the distribution that a token is drawn from."""

from dataclasses import dataclass

import torch
from torch import Tensor

from softmax_rewards.config.run import Training


@dataclass(frozen=True)
class SamplingParams:
    """Temperature and top-p. The defaults draw from the model's own distribution."""

    temperature: float = 1.0
    top_p: float = 1.0

    @classmethod
    def of(cls, settings: Training) -> "SamplingParams":
        """Those of the training rollouts."""
        return cls(settings.temperature, settings.top_p)

    def log_probs(self, logits: Tensor) -> Tensor:
        """log π_T of every token, from float32 `logits[R, V]`, which may be overwritten. top-p has no part in it."""
        if self.temperature != 1:
            logits = logits.div_(self.temperature)
        return logits.log_softmax(1)

    def truncated(self, probabilities: Tensor) -> Tensor:
        """`probabilities[R, V]` with 0 for the tokens that top-p leaves out. The others keep their values.

        The smallest set of most probable tokens stays whose sum reaches `top_p` (nucleus sampling, arXiv 1904.09751).
        """
        if self.top_p == 1:
            return probabilities
        # Beginning with the least probable token, because the sum of the tokens left out is then the exact one. The
        # sort is stable, so that equal probabilities give the same set on every device.
        ascending, order = probabilities.sort(dim=1, stable=True)
        left_out = ascending.cumsum(1, dtype=torch.float64) <= 1 - self.top_p
        left_out[:, -1] = False  # a rounded sum must not leave out the most probable token
        return probabilities.masked_fill(left_out.scatter(1, order, left_out), 0.0)


PLAIN = SamplingParams()
"""Temperature 1 without top-p, as in every evaluation."""
