"""Micro-batches: the samples of a step, split into parts that fit into memory.

First the prompts are split into chunks, because each prompt is computed once for all its samples. Then the samples of a
chunk are split into micro-batches.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """Q prompts with N completions each. Row `r` is sample `r % N` of prompt `r // N`."""

    prompts: Sequence[Sequence[int]]
    completions: Tensor  # [Q·N, T] int64
    lengths: Sequence[int]  # Q·N, tokens of each completion

    @property
    def per_prompt(self) -> int:
        """N, the number of completions per prompt."""
        return len(self.lengths) // len(self.prompts)

    def rows_of(self, prompts: range) -> slice:
        """The rows of a range of prompts."""
        return slice(prompts.start * self.per_prompt, prompts.stop * self.per_prompt)

    def of(self, prompts: range) -> "Samples":
        """Only the samples of a range of prompts."""
        rows = self.rows_of(prompts)
        return Samples(self.prompts[prompts.start : prompts.stop], self.completions[rows], self.lengths[rows])


@dataclass(frozen=True)
class PromptChunk:
    """Prompts that are computed together, and the samples that continue them."""

    prompts: list[Sequence[int]]
    rows: list[int]  # indices of the samples in the step
    prompt_index: list[int]  # for each of `rows`, the index in `prompts` of its prompt


@dataclass(frozen=True)
class MicroBatch:
    """B completions behind their prompts, padded on the right. `[tokens]` lists their tokens without padding."""

    prompt_index: Tensor  # [B] int64, index in the chunk of each completion's prompt
    ids: Tensor  # [B, S] int64, the prompt's last token, then the completion without its last token
    flat_index: Tensor  # [tokens] int64, the positions in the flat [B·S] that predict a completion token
    targets: Tensor  # [tokens] int64, these completion tokens
    samples: Tensor  # [tokens] int64, index in the step of the sample that the token belongs to
    token_index: Tensor  # [tokens] int64, position of the token in its completion, from 0
    spare: bool = False  # computed with loss 0, because another process has one micro-batch more

    def gather(self, values: Tensor) -> Tensor:
        """The entries `[tokens]` of `values[Q·N, T]` that belong to the micro-batch's tokens."""
        return values[self.samples, self.token_index]


def prompt_chunks(samples: Samples, rows: Iterable[int], token_budget: int) -> Iterator[PromptChunk]:
    """Split `rows` into chunks. A chunk's prompts have at most `token_budget` tokens with padding, or it has one."""
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
    """Split the rows of `chunk` into micro-batches of at most `token_budget` completion tokens with padding.

    A row that is longer than the budget is alone.
    """
    lengths = samples.lengths
    pending: list[int] = []
    # Rows of similar length go together, so that there is little padding. The longest go first, so that no thread is
    # left with a long micro-batch at the end.
    for position in sorted(range(len(chunk.rows)), key=lambda position: -lengths[chunk.rows[position]]):
        if pending and lengths[chunk.rows[pending[0]]] * (len(pending) + 1) > token_budget:
            yield _micro_batch(chunk, samples, pending)
            pending = []
        pending.append(position)
    if pending:
        yield _micro_batch(chunk, samples, pending)


def _micro_batch(chunk: PromptChunk, samples: Samples, positions: list[int]) -> MicroBatch:
    """The micro-batch of the rows at `positions` in the chunk."""
    device = samples.completions.device
    counts = torch.tensor([samples.lengths[chunk.rows[position]] for position in positions])
    rows = torch.tensor([chunk.rows[position] for position in positions], device=device)
    prompt_index = torch.tensor([chunk.prompt_index[position] for position in positions], device=device)
    last = torch.tensor([chunk.prompts[chunk.prompt_index[position]][-1] for position in positions], device=device)
    size = int(counts.max())
    # On the host, and copied then: the number of tokens depends on values, so a GPU would make the CPU wait here.
    row, column = (index.to(device) for index in (torch.arange(size) < counts[:, None]).nonzero(as_tuple=True))
    tokens = samples.completions[rows, :size]
    ids = torch.cat((last[:, None], tokens[:, :-1]), 1)
    return MicroBatch(prompt_index, ids, row * size + column, tokens[row, column], rows[row], column)
