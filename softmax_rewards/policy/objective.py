"""The objective: log-probabilities of completions and the weighted policy-gradient loss; pure functions.

    L = −Σ_i s_i w_i Σ_t log π(y_it | x, y_i<t)

w_i is the sample's weight and s_i what the normaliser makes of it: 1/T with T all generated tokens
(`token`), 1/(M·n_i) with n_i its own tokens and M the samples (`sequence`, as in GRPO), or 1/(M·T_max)
(`constant`, as in Dr. GRPO, arXiv 2503.20783).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.log_probs import LogProbs
from softmax_rewards.models.prefix import Prompts

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
class Part:
    """Prompts that are read together, and the samples that continue them."""

    prompts: list[Sequence[int]]
    rows: list[int]  # which of the step's samples
    owners: list[int]  # which of `prompts` each continues


@dataclass(frozen=True)
class Batch:
    """B completions, each behind a prompt, padded on the right; their real tokens as one list, row after row."""

    prompts: Tensor  # [B] int64, which of the part's prompts each continues
    ids: Tensor  # [B, S] int64, the prompt's last token, then the completion without its last
    places: Tensor  # [tokens] int64, where a completion token is the next one, as indices of the flat [B·S]
    targets: Tensor  # [tokens] int64, those completion tokens
    samples: Tensor  # [tokens] int64, which of the step's samples each belongs to
    columns: Tensor  # [tokens] int64, its place in the completion, from 0

    def gather(self, values: Tensor) -> Tensor:
        """The entries of `values[Q·N, T]` that belong to the batch's tokens, `[tokens]`."""
        return values[self.samples, self.columns]


def parts(prompts: Sequence[Sequence[int]], samples: int, keep: Iterable[int], token_budget: int) -> Iterator[Part]:
    """Cut the rows `keep` into parts, whose prompts have at most `token_budget` padded tokens or are a single one.

    `prompts` are all Q of the step; row `r` is a sample of prompt `r // samples`.
    """
    groups: dict[int, list[int]] = {}
    for row in sorted(keep):
        groups.setdefault(row // samples, []).append(row)
    pending: list[int] = []

    def part() -> Part:
        owned = [(row, place) for place, index in enumerate(pending) for row in groups[index]]
        return Part([prompts[index] for index in pending], *(list(values) for values in zip(*owned, strict=True)))

    longest = 0
    for index in groups:
        longest = max(longest, len(prompts[index]))
        if pending and longest * (len(pending) + 1) > token_budget:
            yield part()
            pending, longest = [], len(prompts[index])
        pending.append(index)
    if pending:
        yield part()


def batches(part: Part, completions: Tensor, lengths: Sequence[int], token_budget: int) -> Iterator[Batch]:
    """Cut the rows of `part` into batches of at most `token_budget` padded tokens of completions.

    `completions[Q·N, T]` and `lengths[Q·N]` are those of the whole step. Rows of like length go together, so that
    little is padding, the longest first, so that threads end together. A row longer than the budget is alone.
    """
    pending: list[int] = []
    for place in sorted(range(len(part.rows)), key=lambda place: -lengths[part.rows[place]]):
        if pending and lengths[part.rows[pending[0]]] * (len(pending) + 1) > token_budget:
            yield _batch(part, completions, lengths, pending)
            pending = []
        pending.append(place)
    if pending:
        yield _batch(part, completions, lengths, pending)


def _batch(part: Part, completions: Tensor, lengths: Sequence[int], places: list[int]) -> Batch:
    device, counts = completions.device, torch.tensor([lengths[part.rows[place]] for place in places])
    rows = torch.tensor([part.rows[place] for place in places], device=device)
    owners = torch.tensor([part.owners[place] for place in places], device=device)
    last = torch.tensor([part.prompts[part.owners[place]][-1] for place in places], device=device)
    size = int(counts.max())
    row, column = (index.to(device) for index in (torch.arange(size) < counts[:, None]).nonzero(as_tuple=True))
    tokens = completions[rows, :size]
    ids = torch.cat((last[:, None], tokens[:, :-1]), 1)
    return Batch(owners, ids, row * size + column, tokens[row, column], rows[row], column)


def token_log_probs(model: Decoder, prompts: Prompts, batch: Batch, entropies: bool = False) -> tuple[Tensor, Tensor]:
    """log π of every target and, if asked for, the policy's entropy there (nats), both float32 `[tokens]`.

    Differentiable in the weights and in the leaves of `prompts`. Logits are computed only where a completion token is
    predicted.
    """
    length = batch.ids.shape[1]
    dtype = model.embed_tokens.weight.dtype
    positions, mask = prompts.positions(batch.prompts, length), prompts.mask(batch.prompts, length, dtype)
    hidden = model(batch.ids, positions, mask, prompts.behind(batch.prompts))
    # The head is looked up last: of a sharded model it is whole only now.
    return LogProbs.apply(hidden.flatten(0, 1)[batch.places], model.lm_head.weight, batch.targets, entropies)


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
