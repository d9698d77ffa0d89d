"""Rollout: prompts -> sampled completions -> scored episodes.

`sample` is the decoding loop; `play` adds the text and the verifier. Rows are ordered group by group:
row `r` is sample `r % N` of prompt `r // N`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from softmax_rewards import tasks
from softmax_rewards.limits import Limits
from softmax_rewards.models.decoder import Cache, Decoder
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.randomness import torch_stream
from softmax_rewards.tasks import Score

Stream = tuple[int | str, ...]
"""The name of a random stream, see `randomness.py`."""

# How often the loop looks at which rows have finished; on a GPU every look waits for the device.
CHECK_EVERY = 4
# Compacting copies the cache, so it waits until enough rows have finished to pay for the copy.
COMPACT_BELOW = 0.8
# How many rows draw their noise from one stream.
BLOCK_ROWS, BLOCK_ELEMENTS = 64, 2**20
# Tokens of prompts that are read in one pass; its feed-forward part would else outweigh the cache.
PREFILL_TOKENS = 2**15


@dataclass(frozen=True)
class Completions:
    """What `sample` returns, for R rows and at most T new tokens."""

    tokens: Tensor  # [R, T] int64, the end token included, padding after it
    log_probs: Tensor  # [R, T] float32, of the sampled tokens at temperature 1, 0 after the end
    lengths: Tensor  # [R] int64, tokens generated, the end token included
    finished: Tensor  # [R] bool, whether the end token came within T


FIELDS = [field.name for field in fields(Completions)]


@dataclass(frozen=True)
class Episodes:
    """Q groups of N scored completions."""

    prompts: Sequence[list[int]]  # Q prompts as token ids
    prompt_texts: Sequence[str]
    completions: Completions
    texts: list[str]  # Q·N completions, the end token removed
    scores: list[Score]  # Q·N
    samples: int  # N

    @property
    def lengths(self) -> np.ndarray:
        """Tokens generated, the end token included, `[Q, N]`."""
        return self.completions.lengths.cpu().numpy().reshape(-1, self.samples)

    def field(self, name: str, dtype: Any = np.float64) -> np.ndarray:
        """One field of the scores as an array `[Q, N]`."""
        values = np.array([getattr(score, name) for score in self.scores], dtype=dtype)
        return values.reshape(-1, self.samples)


@torch.no_grad()
def sample(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    samples: int,
    max_new_tokens: int,
    eos_ids: Sequence[int],
    pad_id: int,
    limits: Limits,
    stream: Stream | None,
) -> Completions:
    """Draw `samples` completions of every prompt at temperature 1; `stream=None` decodes greedily.

    At most `limits.rollout_rows` sequences (and at least one prompt's) are decoded at once, half as many after
    running out of memory. A token is drawn as the first of V exponential races (Gumbel-max).
    """
    start, parts = 0, []
    while start < len(prompts):
        chunk = prompts[start : start + max(limits.rollout_rows // samples, 1)]
        noise = None if stream is None else Noise(stream, start * samples, model.shape.vocab_size)
        part = None
        try:
            part = _decode(model, chunk, samples, max_new_tokens, eos_ids, pad_id, noise)
        except torch.OutOfMemoryError:
            if len(chunk) == 1:
                raise
        if part is None:  # outside of `except`, whose traceback keeps the tensors alive
            limits.lower("rollout_rows", len(chunk) // 2 * samples)
            continue
        parts.append(part)
        start += len(chunk)
    return Completions(*(torch.cat([getattr(part, name) for part in parts]) for name in FIELDS))


class Noise:
    """The exponential noise of sampling, drawn position after position in blocks of rows, each with its own stream.

    So a row's noise depends on its place in the call, not on which others are decoded with it or are still running.
    """

    def __init__(self, stream: Stream, first: int, vocabulary: int) -> None:
        self.stream, self.first = stream, first  # `first`: place in the call of the batch's row 0
        # Few rows where the vocabulary is large: a block is drawn as long as one of its rows is running.
        self.size, self.vocabulary = min(max(BLOCK_ELEMENTS // vocabulary, 1), BLOCK_ROWS), vocabulary
        self.generators: dict[int, torch.Generator] = {}

    def serve(self, alive: Tensor) -> None:
        """From now on draw for the rows `alive` of the batch, after the first call some of those served before."""
        rows = [self.first + row for row in alive.tolist()]
        blocks = sorted({row // self.size for row in rows})
        self.generators = {
            block: self.generators.get(block) or torch_stream(*self.stream, block, device=alive.device)
            for block in blocks
        }
        order = {block: index for index, block in enumerate(blocks)}
        places = [order[row // self.size] * self.size + row % self.size for row in rows]
        self.places = torch.tensor(places, device=alive.device)

    def draw(self) -> Tensor:
        """`[rows served, vocabulary]`, each standard exponential, for the next position."""
        noise = torch.empty((len(self.generators), self.size, self.vocabulary), device=self.places.device)
        for part, generator in zip(noise, self.generators.values(), strict=True):
            part.exponential_(generator=generator)
        return noise.flatten(0, 1)[self.places]


def _decode(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    samples: int,
    max_new_tokens: int,
    eos_ids: Sequence[int],
    pad_id: int,
    noise: Noise | None,
) -> Completions:
    """The decoding loop. Each prompt is computed once and its cache copied to its samples."""
    device = model.embed_tokens.weight.device
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), longest), pad_id, device=device)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
    padding = torch.tensor([longest - len(prompt) for prompt in prompts], device=device)
    padded = torch.arange(longest + max_new_tokens, device=device) < padding[:, None]
    mask = torch.zeros(padded.shape, device=device, dtype=model.embed_tokens.weight.dtype)
    mask = mask.masked_fill(padded, float("-inf"))[:, None, None]

    cache = Cache(model.shape, len(prompts), longest + max_new_tokens, model.embed_tokens.weight)
    positions = (torch.arange(longest, device=device) - padding[:, None]).clamp(min=0)
    last = []
    step = max(PREFILL_TOKENS // longest, 1)
    for part in (slice(start, start + step) for start in range(0, len(prompts), step)):
        last.append(model(ids[part], positions[part], _causal(mask[part, ..., :longest]), cache.part(part))[:, -1])
    cache.length = longest
    cache.repeat(samples)
    logits = model.lm_head(torch.cat(last)).float().repeat_interleave(samples, 0)
    # Without padding no mask is needed, which spares every later step a pass over the scores.
    mask = mask.repeat_interleave(samples, 0) if bool(padding.any()) else None
    positions = (longest - padding).repeat_interleave(samples)

    total = len(prompts) * samples
    tokens = torch.full((total, max_new_tokens), pad_id, device=device)
    log_probs = torch.zeros((total, max_new_tokens), device=device)
    lengths = torch.full((total,), max_new_tokens, device=device)
    finished = torch.zeros(total, dtype=torch.bool, device=device)
    ends = torch.tensor(list(eos_ids), device=device)
    alive = torch.arange(total, device=device)  # the rows still in the batch
    if noise is not None:
        noise.serve(alive)
    for position in range(max_new_tokens):
        scores = logits if noise is None else logits - noise.draw().log_()
        chosen = scores.argmax(1)
        running = ~finished[alive]
        tokens[alive, position] = torch.where(running, chosen, pad_id)
        chosen_log_probs = logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(1)
        log_probs[alive, position] = torch.where(running, chosen_log_probs, 0.0)
        ended = running & torch.isin(chosen, ends)
        lengths[alive] = torch.where(ended, position + 1, lengths[alive])
        finished[alive] |= ended
        if position + 1 == max_new_tokens:
            break
        if position % CHECK_EVERY == CHECK_EVERY - 1:
            keep = (~finished[alive]).nonzero()[:, 0]
            if len(keep) == 0:
                break
            if len(keep) < COMPACT_BELOW * len(alive):
                cache.keep(keep)
                alive, chosen, positions = alive[keep], chosen[keep], positions[keep]
                mask = mask[keep] if mask is not None else None
                if noise is not None:
                    noise.serve(alive)
        seen = mask[..., : cache.length + 1] if mask is not None else None
        hidden = model(chosen[:, None], positions[:, None], seen, cache)
        logits = model.lm_head(hidden[:, -1]).float()
        positions = positions + 1
    return Completions(tokens, log_probs, lengths, finished)


def play(
    model: Decoder,
    tokenizer: Tokenizer,
    task: dict[str, Any],
    puzzles: Sequence[dict[str, Any]],
    *,
    template: str,
    samples: int,
    max_new_tokens: int,
    limits: Limits,
    stream: Stream | None,
) -> Episodes:
    """Sample `samples` completions of every puzzle and score them with the verifier of `task` (name and options)."""
    module, options = tasks.load(task)
    prompt_texts, prompts = zip(*(tokenizer.prompt(module.prompt(puzzle, template)) for puzzle in puzzles), strict=True)
    completions = sample(
        model,
        prompts,
        samples=samples,
        max_new_tokens=max_new_tokens,
        eos_ids=tokenizer.eos_ids,
        pad_id=tokenizer.pad_id,
        limits=limits,
        stream=stream,
    )
    kept = (completions.lengths - completions.finished.long()).tolist()
    texts = tokenizer.decode_batch(
        [row[:length] for row, length in zip(completions.tokens.tolist(), kept, strict=True)]
    )
    scores = [module.score(text, puzzles[row // samples], options) for row, text in enumerate(texts)]
    return Episodes(prompts, prompt_texts, completions, texts, scores, samples)


def _causal(mask: Tensor) -> Tensor:
    """The mask `[Q, 1, 1, P]` of hidden padding made causal, `[Q, 1, P, P]`.

    A padding position still sees itself: with nothing to see its softmax would be 0/0.
    """
    size = mask.shape[-1]
    later = torch.full((size, size), float("-inf"), device=mask.device, dtype=mask.dtype).triu(1)
    itself = torch.eye(size, dtype=torch.bool, device=mask.device)
    return (mask + later).masked_fill(itself, 0.0)
