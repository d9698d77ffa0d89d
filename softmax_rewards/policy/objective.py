"""The objective: log-probabilities of completions and the weighted policy-gradient loss; pure functions.

    L = −Σ_i s_i w_i Σ_t log π(y_it | x, y_i<t)

w_i is the sample's weight. The scale s_i depends on the loss aggregation: 1/T with T all generated tokens
(`token-mean`), 1/(M·n_i) with n_i the sample's own tokens and M the samples (`seq-mean`, as in GRPO), or 1/(M·T_max)
(`constant`, as in Dr. GRPO, arXiv 2503.20783).
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
    """s_i of the loss for M samples: `lengths[M]` tokens, `mask[M]` which samples count -> float64 `[M]`, 0 elsewhere.

    Totals are those of the samples that count. Raises ValueError for an unknown aggregation.
    """
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
    """log π of every target and, if asked for, the policy's entropy there (nats), both float32 `[tokens]`.

    Differentiable in the weights and in the leaves of `prefix`.
    """
    length = batch.ids.shape[1]
    dtype = model.embed_tokens.weight.dtype
    positions, mask = prefix.positions(batch.prompt_index, length), prefix.mask(batch.prompt_index, length, dtype)
    hidden = model(batch.ids, positions, mask, prefix.view(batch.prompt_index))
    # Logits only where a completion token is predicted. The head is looked up last: FSDP has gathered it only now.
    return LogProbs.apply(hidden.flatten(0, 1)[batch.flat_index], model.lm_head.weight, batch.targets, entropies)


def kl_penalty(log_probs: Tensor, reference: Tensor) -> Tensor:
    """The k3 estimate of KL(π‖π_ref) at every token, `[tokens]`: r − log r − 1 with r = π_ref/π, never below 0.

    J. Schulman, "Approximating KL divergence" (2020); GRPO's penalty (arXiv 2402.03300, eq. 4).
    """
    log_ratio = reference - log_probs
    return log_ratio.exp() - log_ratio - 1


def policy_loss(log_probs: Tensor, old: Tensor, weights: Tensor, clip: tuple[float, float] | None) -> Tensor:
    """Σ over `[tokens]` of −weight·log π, or PPO's clipped surrogate (arXiv 1707.06347) with `clip` = (ε_low, ε_high).

    `old` are the log-probabilities under the policy that sampled; `weights` are s_i·w_i of each token's sample.
    Without clipping there is one update per batch and the policy is the sampler, so `old` is not used.
    """
    if clip is None:
        return -(weights * log_probs).sum()
    ratio = (log_probs - old).exp()
    clipped = ratio.clamp(1 - clip[0], 1 + clip[1])
    return -torch.minimum(ratio * weights, clipped * weights).sum()
