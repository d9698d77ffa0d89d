"""The objective: log-probabilities of completions and the weighted policy-gradient loss, as pure functions.

    L = −Σ_i s_i w_i Σ_t log π(y_it | x, y_i<t)

w_i is the weight of sample i, and s_i is its scale. The scale depends on the loss aggregation. M samples count, sample
i has n_i tokens, and T_max is the longest completion allowed (`max_new_tokens`):

    token-mean   1 / Σ_j n_j      every token counts the same (DAPO, arXiv 2503.14476)
    seq-mean     1 / (M · n_i)    every sample counts the same (GRPO, arXiv 2402.03300)
    constant     1 / (M · T_max)  a sample counts in proportion to its length (Dr. GRPO, arXiv 2503.20783)
"""

import numpy as np
import torch
from torch import Tensor

from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.log_probs import LogProbs
from softmax_rewards.models.prefix import SharedPrefix
from softmax_rewards.policy.micro_batches import MicroBatch

AGGREGATIONS = ("token-mean", "seq-mean", "constant")


def sample_scales(lengths: np.ndarray, mask: np.ndarray, aggregation: str, max_new_tokens: int) -> np.ndarray:
    """The scales s_i of all samples, float64 `[samples]`.

    `lengths[samples]` are their numbers of tokens, and `mask[samples]` is true for those that count. The others get
    scale 0, and neither M nor Σ_j n_j includes them. Raises ValueError for an unknown aggregation.
    """
    # Both are at least 1. Otherwise a step in which no sample counts would divide by zero.
    count, tokens = max(int(mask.sum()), 1), max(int(lengths[mask].sum()), 1)
    if aggregation == "token-mean":
        scales = np.full(len(lengths), 1.0 / tokens)
    elif aggregation == "seq-mean":
        scales = 1.0 / (count * lengths)
    elif aggregation == "constant":
        scales = np.full(len(lengths), 1.0 / (count * max_new_tokens))
    else:
        raise ValueError(f"training.loss_aggregation: {aggregation!r}; allowed: {', '.join(AGGREGATIONS)}")
    return np.where(mask, scales, 0.0)


def token_log_probs(
    model: Decoder, prefix: SharedPrefix, batch: MicroBatch, entropies: bool = False, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """log π of every target token and the entropy of the policy's distribution for it (nats), both float32 `[tokens]`.

    The logits are divided by `temperature`, so π is π_T. Entropies are 0 unless `entropies` is true. Both can be
    differentiated by the weights and by `prefix.values`.
    """
    length = batch.ids.shape[1]
    dtype = model.embed_tokens.weight.dtype
    positions, mask = prefix.positions(batch.prompt_index, length), prefix.mask(batch.prompt_index, length, dtype)
    hidden = model(batch.ids, positions, mask, prefix.view(batch.prompt_index))
    # Logits are the most expensive part, so they are computed only at the positions `flat_index`, which predict a
    # completion token. The head is read after the model's pass, because with FSDP the pass gathers it.
    predicting = hidden.flatten(0, 1)[batch.flat_index]
    return LogProbs.apply(predicting, model.lm_head.weight, batch.targets, entropies, temperature)


def kl_penalty(log_probs: Tensor, kl_reference: Tensor) -> Tensor:
    """The k3 estimate of KL(π‖π_ref) at every token: r − log r − 1 with r = π_ref/π.

    `log_probs` holds log π, and `kl_reference` holds log π_ref. Both and the result have the same shape. Source:
    J. Schulman, "Approximating KL divergence" (2020), used by GRPO (arXiv 2402.03300, eq. 4).
    """
    # For samples of π, both −log r and this estimate are unbiased. But this one is never negative, and it usually has a
    # lower variance.
    log_ratio = kl_reference - log_probs
    return log_ratio.exp() - log_ratio - 1


def policy_loss(log_probs: Tensor, old: Tensor, weights: Tensor, clip: tuple[float, float] | None) -> Tensor:
    """The loss of `[tokens]`: −Σ weight·log π without `clip`, otherwise PPO's clipped surrogate.

    `weights` holds s_i·w_i of each token's sample. `clip` is (ε_low, ε_high) or None. `old` holds the log-probabilities
    under the policy before the batch's first update. Only the clipped form uses it. Source: arXiv 1707.06347, eq. 7.
    """
    if clip is None:
        return -(weights * log_probs).sum()
    ratio = (log_probs - old).exp()
    clipped = ratio.clamp(1 - clip[0], 1 + clip[1])
    # The minimum has no gradient where the update has already gone far enough, see `is_clipped`.
    return -torch.minimum(ratio * weights, clipped * weights).sum()


def is_clipped(log_probs: Tensor, old: Tensor, weights: Tensor, clip: tuple[float, float]) -> Tensor:
    """Where the clipped surrogate has no gradient, bool `[tokens]`. The arguments are those of `policy_loss`.

    That is where the ratio is above 1 + ε_high and the weight is positive, or below 1 − ε_low and the weight is
    negative.
    """
    ratio = (log_probs - old).exp()
    return ((ratio > 1 + clip[1]) & (weights > 0)) | ((ratio < 1 - clip[0]) & (weights < 0))
