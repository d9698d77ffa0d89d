"""The objective: log-probabilities of completions and the weighted policy-gradient loss; pure functions.

    L = −Σ_i s_i w_i Σ_t log π(y_it | x, y_i<t)

w_i is the sample's weight and s_i what the normaliser makes of it: 1/T with T all generated tokens
(`token`), 1/(M·n_i) with n_i its own tokens and M the samples (`sequence`, as in GRPO), or 1/(M·T_max)
(`constant`, as in Dr. GRPO, arXiv 2503.20783).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.log_probs import LogProbs

NORMALISERS = ("token", "sequence", "constant")


def sample_scales(lengths: np.ndarray, kept: np.ndarray, normaliser: str, max_new_tokens: int) -> np.ndarray:
    """s_i of the loss for M samples: `lengths[M]` tokens, `kept[M]` bool -> float64 `[M]`, 0 where not kept.

    Totals count the kept samples only; raises ValueError for an unknown normaliser.
    """
    count, tokens = max(int(kept.sum()), 1), max(int(lengths[kept].sum()), 1)
    if normaliser == "token":
        scales = np.full(len(lengths), 1.0 / tokens)
    elif normaliser == "sequence":
        scales = 1.0 / (count * lengths)
    elif normaliser == "constant":
        scales = np.full(len(lengths), 1.0 / (count * max_new_tokens))
    else:
        raise ValueError(f"training.normaliser: {normaliser!r}; allowed: {', '.join(NORMALISERS)}")
    return np.where(kept, scales, 0.0)


@dataclass(frozen=True)
class Batch:
    """Prompt + completion of B rows, padded on the right; their completion tokens as one list, row after row."""

    ids: Tensor  # [B, S] int64, without the last completion token: nothing is predicted from it
    places: Tensor  # [tokens] int64, where a completion token is the next one, as indices of the flat [B·S]
    targets: Tensor  # [tokens] int64, those completion tokens
    samples: Tensor  # [tokens] int64, which of the step's samples each belongs to
    columns: Tensor  # [tokens] int64, its place in the completion, from 0

    def gather(self, values: Tensor) -> Tensor:
        """The entries of `values[Q·N, T]` that belong to the batch's tokens, `[tokens]`."""
        return values[self.samples, self.columns]


def batches(
    prompts: Sequence[Sequence[int]],
    completions: Tensor,
    lengths: Sequence[int],
    samples: int,
    keep: Sequence[int],
    token_budget: int,
) -> Iterator[Batch]:
    """Cut the rows `keep` into batches of at most `token_budget` padded tokens.

    `prompts` are the Q prompts, `completions[Q·N, T]` and `lengths[Q·N]` their samples. Rows of like length
    go together, so that little is padding. A row longer than the budget is a batch of its own.
    """
    sizes = {row: len(prompts[row // samples]) + lengths[row] - 1 for row in keep}
    pending: list[int] = []
    for row in sorted(keep, key=lambda row: (sizes[row], row)):
        if pending and sizes[row] * (len(pending) + 1) > token_budget:
            yield _batch(prompts, completions, lengths, samples, pending)
            pending = []
        pending.append(row)
    if pending:
        yield _batch(prompts, completions, lengths, samples, pending)


def _batch(
    prompts: Sequence[Sequence[int]],
    completions: Tensor,
    lengths: Sequence[int],
    samples: int,
    rows: list[int],
) -> Batch:
    device = completions.device
    starts = torch.tensor([len(prompts[row // samples]) for row in rows])
    counts = torch.tensor([lengths[row] for row in rows])
    size = int((starts + counts).max()) - 1
    column = torch.arange(size)
    predicts = (column >= starts[:, None] - 1) & (column < (starts + counts)[:, None] - 1)
    row, place = predicts.nonzero(as_tuple=True)
    owners, columns = torch.tensor(rows)[row].to(device), (place - starts[row] + 1).to(device)
    targets = completions[owners, columns]

    # The completion tokens go one column to the right of where they are predicted.
    ids = torch.zeros((len(rows), size + 1), dtype=torch.int64, device=device)
    ids[row.to(device), (place + 1).to(device)] = targets
    heads = [prompts[row // samples] for row in rows]
    longest = int(starts.max())
    padded = torch.tensor([[*head, *[0] * (longest - len(head))] for head in heads], device=device)
    known = (torch.arange(longest) < starts[:, None]).to(device)
    ids[:, :longest][known] = padded[known]
    return Batch(ids[:, :-1], (row * size + place).to(device), targets, owners, columns)


def token_log_probs(model: Decoder, batch: Batch) -> tuple[Tensor, Tensor]:
    """log π of every target and the policy's entropy there (nats), both float32 `[tokens]` and differentiable.

    Logits are computed only where a completion token is predicted.
    """
    hidden = model(batch.ids).flatten(0, 1)[batch.places]
    return LogProbs.apply(hidden, model.lm_head.weight, batch.targets)


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
