"""The objective: log-probabilities of completions and the weighted policy-gradient loss, as pure functions.

    L = −Σ_i s_i w_i Σ_t log π(y_it | x, y_i<t)

w_i is the weight of sample i. Its scale s_i depends on the loss aggregation, for M samples of n_i tokens:

    token-mean   1 / Σ_j n_j      every token counts the same (DAPO, arXiv 2503.14476)
    seq-mean     1 / (M · n_i)    every sample counts the same (GRPO, arXiv 2402.03300)
    constant     1 / (M · T_max)  a sample counts by its length (Dr. GRPO, arXiv 2503.20783)
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
    """s_i of M samples, float64 `[M]`: `lengths[M]` are their tokens, `mask[M]` says which samples count.

    The others get 0 and are in no total. Raises ValueError for an unknown aggregation.
    """
    # At least 1, so that a step in which no sample counts has loss 0 and not 0/0.
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
    model: Decoder, prefix: SharedPrefix, batch: MicroBatch, entropies: bool = False
) -> tuple[Tensor, Tensor]:
    """log π of every target and the policy's entropy there (nats), both float32 `[tokens]`.

    Entropies are 0 unless `entropies` is true. Differentiable in the weights and in `prefix.values`.
    """
    length = batch.ids.shape[1]
    dtype = model.embed_tokens.weight.dtype
    positions, mask = prefix.positions(batch.prompt_index, length), prefix.mask(batch.prompt_index, length, dtype)
    hidden = model(batch.ids, positions, mask, prefix.view(batch.prompt_index))
    # Logits are computed only where a completion token is predicted: they are the most expensive part. The head is read
    # after the model's pass, because FSDP gathers it there.
    return LogProbs.apply(hidden.flatten(0, 1)[batch.flat_index], model.lm_head.weight, batch.targets, entropies)


def kl_penalty(log_probs: Tensor, kl_reference: Tensor) -> Tensor:
    """The k3 estimate of KL(π‖π_ref) at every token: r − log r − 1 with r = π_ref/π.

    `log_probs` are log π and `kl_reference` log π_ref. All have the same shape. Source: J. Schulman, "Approximating KL
    divergence" (2020), used by GRPO (arXiv 2402.03300, eq. 4).
    """
    # Like −log r this is unbiased for samples of π. Unlike −log r it is never negative, and its variance is lower.
    log_ratio = kl_reference - log_probs
    return log_ratio.exp() - log_ratio - 1


def policy_loss(log_probs: Tensor, old: Tensor, weights: Tensor, clip: tuple[float, float] | None) -> Tensor:
    """Σ over `[tokens]` of −weight·log π, or PPO's clipped surrogate (arXiv 1707.06347, eq. 7).

    `weights` are s_i·w_i of each token's sample. `clip` is (ε_low, ε_high), or None for the first form. `old` are the
    log-probabilities under the policy before the batch's first update; only the clipped form uses them.
    """
    if clip is None:
        return -(weights * log_probs).sum()
    ratio = (log_probs - old).exp()
    clipped = ratio.clamp(1 - clip[0], 1 + clip[1])
    # The minimum stops the gradient only where the ratio is past its limit in the direction that the weight asks for.
    return -torch.minimum(ratio * weights, clipped * weights).sum()
