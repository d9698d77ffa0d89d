"""Gradient noise: how well the gradients of the two halves of a batch agree (`training.measure_noise`)."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from softmax_rewards.policy.engine import Engine
from softmax_rewards.policy.gradients import MicroBatchLoss
from softmax_rewards.policy.micro_batches import Samples


def add_halves(
    engine: Engine, samples: Samples, rows: np.ndarray, token_budget: int, loss: MicroBatchLoss, entropies: bool
) -> tuple[float, float]:
    """Add the gradient of `rows` to the engine's gradients in two halves: even prompts, then odd prompts.

    Returns the loss, and the cosine between the two halves' gradients (NaN if one of them is 0).
    """
    # Whole prompts, because the samples of a group depend on each other through their weights.
    odd = (rows // samples.per_prompt) % 2 == 1
    value = engine.gradients.add(samples, rows[~odd].tolist(), token_budget, loss, entropies)
    first = {name: gradient.clone() for name, gradient in engine.optimizer.gradients().items()}
    value += engine.gradients.add(samples, rows[odd].tolist(), token_budget, loss, entropies)
    return value, _cosine(engine, first, engine.optimizer.gradients())


def _cosine(engine: Engine, half: Mapping[str, Tensor], total: Mapping[str, Tensor]) -> float:
    """The cosine between `half` of a gradient and the other half, which is `total` − `half`."""
    # In float64: the products are sums over all parameters. Over ranks they are added before the division.
    products = torch.zeros(3, dtype=torch.float64)
    for name, gradient in total.items():
        first = half.get(name, torch.zeros_like(gradient))
        second = gradient - first
        pairs = ((first, second), (first, first), (second, second))
        products += torch.stack([torch.sum(a * b, dtype=torch.float64) for a, b in pairs]).cpu()
    mixed, *squares = engine.sum_tensor(products).tolist()
    return mixed / math.sqrt(math.prod(squares)) if all(squares) else math.nan
