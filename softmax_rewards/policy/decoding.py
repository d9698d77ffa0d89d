"""Decoding: the loop over tokens, from prompts to completions, for all rows together.

Rows are ordered by group: row `r` is sample `r % N` of prompt `r // N`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from softmax_rewards.models.decoder import Decoder, RotaryTable
from softmax_rewards.models.kv_cache import Cache
from softmax_rewards.models.replay import Replay
from softmax_rewards.policy.sampling_params import PLAIN, SamplingParams

PREFILL_TOKENS = 2**15
"""Prompt tokens in one pass. In a larger pass the activations of the feed-forward layers would need more memory than
the cache."""


@dataclass(frozen=True)
class DecodeSchedule:
    """How the loop runs on one kind of device."""

    check_every: int  # tokens between two checks for finished rows; on a GPU every check waits for the device
    compact_below: float  # finished rows are dropped if less than this share of the rows is unfinished
    width: int  # attention reads a multiple of this number of cache columns


# Dropping rows copies the cache. On a GPU each change of rows or width also needs a new CUDA graph. So a GPU checks
# seldom, drops late and reads columns in large blocks. A mask hides the columns that are not written yet.
SCHEDULES = {"cpu": DecodeSchedule(4, 0.8, 1), "cuda": DecodeSchedule(16, 0.5, 256)}


@dataclass(frozen=True)
class Completions:
    """The completions of R rows with at most T new tokens."""

    tokens: Tensor  # [R, T] int64, with the end token, and padding after it
    log_probs: Tensor  # [R, T] float32, of the tokens under π_T, whatever top-p left out; 0 after the end
    entropies: Tensor  # [R, T] float32, of π_T at each token (nats); 0 after the end
    lengths: Tensor  # [R] int64, number of generated tokens, with the end token
    finished: Tensor  # [R] bool, whether there is an end token

    def to(self, device: str | torch.device) -> "Completions":
        """The same completions on another device."""
        return Completions(*(getattr(self, name).to(device) for name in _FIELDS))


_FIELDS = [field.name for field in fields(Completions)]


def joined(parts: Sequence[Completions]) -> Completions:
    """The rows of all parts, one part after the other."""
    return Completions(*(torch.cat([getattr(part, name) for part in parts]) for name in _FIELDS))


@torch.no_grad()  # set here, because the setting holds for one thread, and callers may decode in several threads
def decode(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    group_size: int,
    max_new_tokens: int,
    eos_ids: Sequence[int],
    pad_id: int,
    noise: Tensor | None,
    params: SamplingParams = PLAIN,
) -> Completions:
    """Decode `group_size` samples of every prompt, all rows together.

    A sample ends with an id of `eos_ids`, or after `max_new_tokens`. `noise[R, T]` holds a uniform number in [0, 1) for
    each token, which is drawn with `params`. Without `noise`, decoding is greedy.
    """
    schedule = SCHEDULES[model.embed_tokens.weight.device.type]
    # Each prompt is computed once. Then its part of the cache is copied for each of its samples.
    cache, last, padding = _read(model, prompts, max_new_tokens, pad_id, schedule.width)
    cache.repeat(group_size)
    last, padding = last.repeat_interleave(group_size, 0), padding.repeat_interleave(group_size)
    batch = DecodingBatch(model, cache, last, padding, eos_ids, max_new_tokens, noise, schedule, params)
    for position in range(1, max_new_tokens):  # the new batch already has token 0
        if position % schedule.check_every == 0:
            alive = batch.unfinished()
            if len(alive) == 0:
                break
            if len(alive) < schedule.compact_below * len(batch.row_index):
                batch.keep(alive)
        batch.advance()
    return batch.completions(pad_id)


def _read(
    model: Decoder, prompts: Sequence[Sequence[int]], max_new_tokens: int, pad_id: int, width: int
) -> tuple[Cache, Tensor, Tensor]:
    """Compute Q prompts, padded on the left.

    Returns their cache with room for the new tokens, their last hidden states `[Q, hidden]`, and the number of padding
    columns `[Q]`.
    """
    # Padding is on the left, so that all rows write their new tokens into the same column of the cache.
    weight = model.embed_tokens.weight
    device, longest = weight.device, max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad_id] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    padding = torch.tensor([longest - len(prompt) for prompt in prompts], device=device)
    cache = Cache(model.shape, len(prompts), round_up(longest + max_new_tokens, width), weight)
    cache.open(longest)
    column = torch.arange(longest, device=device)
    causal = torch.full((longest, longest), float("-inf"), device=device, dtype=weight.dtype).triu(1)
    last = []
    # The prompts are computed in parts, because the activations of all prompts could need more memory than the cache.
    step = max(PREFILL_TOKENS // longest, 1)
    for part in (slice(start, start + step) for start in range(0, len(prompts), step)):
        before = (column < padding[part, None])[:, None, None]
        # A padding position sees itself. Otherwise it would see nothing, and its softmax would be 0/0 = NaN.
        mask = causal.masked_fill(before & (column != column[:, None]), float("-inf"))
        positions = (column - padding[part, None]).clamp(min=0)
        last.append(model(ids[part], positions, mask, cache.part(part))[:, -1])
    return cache, torch.cat(last), padding


@dataclass(frozen=True)
class Drawn:
    """What was drawn at each of T tokens for R rows."""

    tokens: Tensor  # [T, R] int64
    log_probs: Tensor  # [T, R] float32
    entropies: Tensor  # [T, R] float32

    @classmethod
    def empty(cls, tokens: int, rows: int, device: torch.device) -> "Drawn":
        numbers = torch.zeros((2, tokens, rows), device=device)
        return cls(torch.zeros((tokens, rows), dtype=torch.int64, device=device), numbers[0], numbers[1])

    def write(self, position: int, token: Tensor, log_probs: Tensor, entropies: Tensor) -> None:
        """Write token number `position` of every row."""
        self.tokens[position], self.log_probs[position], self.entropies[position] = token, log_probs, entropies

    def narrowed(self, rows: int) -> "Drawn":
        """Room for fewer rows, in the same memory."""
        return Drawn(self.tokens[:, :rows], self.log_probs[:, :rows], self.entropies[:, :rows])


class DecodingBatch:
    """The rows that are still decoded, and all tokens drawn so far."""

    def __init__(
        self,
        model: Decoder,
        cache: Cache,
        last: Tensor,
        padding: Tensor,
        eos_ids: Sequence[int],
        max_new_tokens: int,
        noise: Tensor | None,
        schedule: DecodeSchedule,
        params: SamplingParams = PLAIN,
    ) -> None:
        """Draw the first token of every row. `last[R, hidden]` are the hidden states of the prompts' last tokens."""
        self.model, self.cache, self.noise, self.schedule, self.params = model, cache, noise, schedule, params
        rows, device = len(last), last.device
        self.ends = torch.tensor(list(eos_ids), device=device)
        # What was drawn for the remaining rows, one row of these tables per token: a whole row is written fast. `keep`
        # and `completions` move it to the tables of all rows.
        self.drawn = Drawn.empty(max_new_tokens, rows, device)
        self.all_drawn = Drawn.empty(max_new_tokens, rows, device)
        self.count = self.moved = 0  # tokens drawn so far, and how many of them `all_drawn` has already
        self.row_index = torch.arange(rows, device=device)  # the remaining rows, as indices into all rows
        self.token = torch.zeros((rows, 1), dtype=torch.int64, device=device)  # the last token of each remaining row
        self.finished = torch.zeros(rows, dtype=torch.bool, device=device)  # the remaining rows that have an end token
        self.positions = (cache.length - 1 - padding)[:, None]  # of the prompts' last tokens; `advance` adds 1
        self.rotary = RotaryTable(cache.capacity, model.shape, last)
        if noise is not None:
            self.noise = noise.to(device)
            self.uniform = self.noise[:, :1].clone()  # a copy, because `advance` overwrites it in place
        # With width 1, attention reads exactly the columns in use. If there is no padding either, no mask is needed.
        self.mask: Tensor | None = None
        if schedule.width > 1 or bool(padding.any()):
            columns = torch.arange(cache.capacity, device=device)
            hidden = (columns < padding[:, None]) | (columns >= cache.length)
            mask = torch.zeros(hidden.shape, device=device, dtype=last.dtype)
            self.mask = mask.masked_fill_(hidden, float("-inf"))[:, None, None]
        self._write(*self._draw(last))
        cache.open(1)
        self._refresh_graph()

    def advance(self) -> None:
        """Draw the next token of every remaining row."""
        if self.cache.length > self.cache.width:  # this step writes a column behind those that attention reads
            self._refresh_graph()
        self.positions += 1
        if self.mask is not None:
            self.mask.index_fill_(3, self.cache.columns, 0.0)  # the column that this step writes becomes visible
        if self.noise is not None:
            self.uniform.copy_(self.noise[:, self.count : self.count + 1])
        self._write(*self.replay(self._step))
        self.cache.advance()

    def unfinished(self) -> Tensor:
        """The remaining rows without an end token so far, as ascending indices into the remaining rows."""
        return (~self.finished).nonzero()[:, 0]

    def keep(self, rows: Tensor) -> None:
        """Keep only `rows`, ascending indices into the remaining rows."""
        self._move()
        self.cache.keep(rows)
        self.row_index, self.positions, self.token = self.row_index[rows], self.positions[rows], self.token[rows]
        self.finished = self.finished[rows]
        self.drawn = self.drawn.narrowed(len(rows))
        self.mask = self.mask[rows] if self.mask is not None else None
        if self.noise is not None:
            self.noise, self.uniform = self.noise[rows], self.uniform[rows]
        self._refresh_graph()

    def completions(self, pad_id: int) -> Completions:
        """All rows, also those that were dropped. Everything after a row's first end token is blanked."""
        self._move()
        # A finished row draws more tokens until it is dropped. They are overwritten here.
        drawn = self.all_drawn
        is_end = torch.isin(drawn.tokens.T, self.ends)
        finished, longest = is_end.any(1), is_end.shape[1]
        lengths = torch.where(finished, is_end.int().argmax(1) + 1, longest)
        after = torch.arange(longest, device=lengths.device) >= lengths[:, None]
        return Completions(
            drawn.tokens.T.masked_fill(after, pad_id).contiguous(),
            drawn.log_probs.T.masked_fill(after, 0.0).contiguous(),
            drawn.entropies.T.masked_fill(after, 0.0).contiguous(),
            lengths,
            finished,
        )

    def _refresh_graph(self) -> None:
        """Start a new CUDA graph, with the cache's width for the next steps."""
        # A recorded graph works only for the number of rows and the width that it was recorded with.
        self.cache.width = round_up(self.cache.length, self.schedule.width)
        self.replay = Replay(self.row_index.device)

    def _step(self) -> tuple[Tensor, Tensor, Tensor]:
        # A GPU records these lines once and replays them. So everything that differs between steps must be a tensor
        # that is changed in place.
        mask = self.mask[..., : self.cache.width] if self.mask is not None else None
        hidden = self.model(self.token, self.positions, mask, self.cache, self.rotary)
        return self._draw(hidden[:, 0])

    def _draw(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The next token of each row, its log-probability, and the entropy of its distribution, each `[rows]`."""
        # In float32, because the softmax sums over the whole vocabulary.
        log_probs = self.params.log_probs(self.model.lm_head(hidden).float())
        probabilities = log_probs.exp()
        entropies = -torch.linalg.vecdot(probabilities, log_probs)
        if self.noise is None:
            token = log_probs.argmax(1, keepdim=True)
        else:
            token = draw(self.params.truncated(probabilities), self.uniform)
        return token[:, 0], log_probs.gather(1, token)[:, 0], entropies

    def _write(self, token: Tensor, log_probs: Tensor, entropies: Tensor) -> None:
        self.token.copy_(token[:, None])
        self.finished |= torch.isin(token, self.ends)
        self.drawn.write(self.count, token, log_probs, entropies)
        self.count += 1

    def _move(self) -> None:
        """Move what was drawn since the last call to the tables of all rows."""
        part = slice(self.moved, self.count)
        for name in ("tokens", "log_probs", "entropies"):
            getattr(self.all_drawn, name)[part, self.row_index] = getattr(self.drawn, name)[part]
        self.moved = self.count


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Draw one token per row, `[R, 1]`, from `probabilities[R, V]` with `uniform[R, 1]`, float64 in [0, 1).

    The drawn token is the first one whose cumulative probability exceeds `uniform` times the total.
    """
    # The sums are float64, because a float32 sum over 152,000 tokens would lose the rare ones. With `right=True` a
    # token of probability 0 is never drawn, even if `uniform` is 0. If probabilities are NaN, the index would be out of
    # range. The clamp prevents an index error here, so that the loss can report the divergence later.
    sums = probabilities.cumsum(1, dtype=torch.float64)
    return torch.searchsorted(sums, uniform * sums[:, -1:], right=True).clamp_(max=sums.shape[1] - 1)


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `value`."""
    return -(-value // multiple) * multiple
