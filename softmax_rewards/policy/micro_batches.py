"""Micro-batches: the samples of a step, cut into pieces that fit into memory.

Prompts are cut into chunks first, since each prompt is read once for all its samples; then the samples of a chunk are
cut into micro-batches.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """Q prompts with N completions each; row `r` is sample `r % N` of prompt `r // N`."""

    prompts: Sequence[Sequence[int]]
    completions: Tensor  # [Q·N, T] int64
    lengths: Sequence[int]  # Q·N

    @property
    def per_prompt(self) -> int:
        """N."""
        return len(self.lengths) // len(self.prompts)

    def rows_of(self, prompts: range) -> slice:
        """The rows of some neighboring prompts."""
        return slice(prompts.start * self.per_prompt, prompts.stop * self.per_prompt)

    def of(self, prompts: range) -> "Samples":
        """The samples of some neighboring prompts alone."""
        rows = self.rows_of(prompts)
        return Samples(self.prompts[prompts.start : prompts.stop], self.completions[rows], self.lengths[rows])


@dataclass(frozen=True)
class PromptChunk:
    """Prompts that are read together, and the samples that continue them."""

    prompts: list[Sequence[int]]
    rows: list[int]  # which of the step's samples
    prompt_index: list[int]  # which of `prompts` each of `rows` continues


@dataclass(frozen=True)
class MicroBatch:
    """B completions, each behind a prompt, padded on the right; their real tokens as one list, row after row."""

    prompt_index: Tensor  # [B] int64, which of the chunk's prompts each completion continues
    ids: Tensor  # [B, S] int64, the prompt's last token, then the completion without its last
    flat_index: Tensor  # [tokens] int64, positions in the flat [B·S] whose next token is a completion token
    targets: Tensor  # [tokens] int64, those completion tokens
    samples: Tensor  # [tokens] int64, which of the step's samples each token belongs to
    token_index: Tensor  # [tokens] int64, its position in the completion, from 0
    spare: bool = False  # computed only because other processes compute one more, and counts nothing

    def gather(self, values: Tensor) -> Tensor:
        """The entries of `values[Q·N, T]` that belong to the micro-batch's tokens, `[tokens]`."""
        return values[self.samples, self.token_index]


def prompt_chunks(samples: Samples, rows: Iterable[int], token_budget: int) -> Iterator[PromptChunk]:
    """Cut `rows` into chunks whose prompts have at most `token_budget` padded tokens, or are a single prompt."""
    groups: dict[int, list[int]] = {}
    for row in sorted(rows):
        groups.setdefault(row // samples.per_prompt, []).append(row)
    pending: list[int] = []

    def chunk() -> PromptChunk:
        pairs = [(row, position) for position, prompt in enumerate(pending) for row in groups[prompt]]
        return PromptChunk(
            [samples.prompts[prompt] for prompt in pending], *(list(column) for column in zip(*pairs, strict=True))
        )

    longest = 0
    for prompt in groups:
        longest = max(longest, len(samples.prompts[prompt]))
        if pending and longest * (len(pending) + 1) > token_budget:
            yield chunk()
            pending, longest = [], len(samples.prompts[prompt])
        pending.append(prompt)
    if pending:
        yield chunk()


def micro_batches(chunk: PromptChunk, samples: Samples, token_budget: int) -> Iterator[MicroBatch]:
    """Cut the rows of `chunk` into micro-batches of at most `token_budget` padded tokens of completions.

    A row longer than the budget is alone.
    """
    lengths, pending = samples.lengths, []
    # Rows of like length go together, so that little is padding; the longest first, so that threads end together.
    for position in sorted(range(len(chunk.rows)), key=lambda position: -lengths[chunk.rows[position]]):
        if pending and lengths[chunk.rows[pending[0]]] * (len(pending) + 1) > token_budget:
            yield _micro_batch(chunk, samples, pending)
            pending = []
        pending.append(position)
    if pending:
        yield _micro_batch(chunk, samples, pending)


def _micro_batch(chunk: PromptChunk, samples: Samples, positions: list[int]) -> MicroBatch:
    """The micro-batch of the rows at `positions` of the chunk."""
    device = samples.completions.device
    counts = torch.tensor([samples.lengths[chunk.rows[position]] for position in positions])
    rows = torch.tensor([chunk.rows[position] for position in positions], device=device)
    prompt_index = torch.tensor([chunk.prompt_index[position] for position in positions], device=device)
    last = torch.tensor([chunk.prompts[chunk.prompt_index[position]][-1] for position in positions], device=device)
    size = int(counts.max())
    row, column = (index.to(device) for index in (torch.arange(size) < counts[:, None]).nonzero(as_tuple=True))
    tokens = samples.completions[rows, :size]
    ids = torch.cat((last[:, None], tokens[:, :-1]), 1)
    return MicroBatch(prompt_index, ids, row * size + column, tokens[row, column], rows[row], column)
