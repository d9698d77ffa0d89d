"""Rollout: puzzles -> prompts -> sampled completions -> scored episodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from softmax_rewards.data import tasks
from softmax_rewards.data.scoring import score
from softmax_rewards.data.tasks import Score
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.ranks import ALONE, Ranks
from softmax_rewards.policy.sampling import Completions, Stream, joined, sample


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


def play(
    model: Decoder,
    tokenizer: Tokenizer,
    task: dict[str, Any],
    puzzles: Sequence[dict[str, Any]],
    *,
    template: str,
    samples: int,
    max_new_tokens: int,
    reward_seconds: float,
    limits: Limits,
    stream: Stream | None,
    ranks: Ranks = ALONE,
) -> Episodes:
    """Sample `samples` completions of every puzzle and score them with the verifier of `task` (name and options).

    The verifier has `reward_seconds` for all of them; raises `scoring.RewardError` if it fails. Each of several `ranks`
    plays its share of the puzzles, and is told of the rest; there must be one for each rank.
    """
    module, _ = tasks.load(task)
    prompt_texts, prompts = zip(*(tokenizer.prompt(module.prompt(puzzle, template)) for puzzle in puzzles), strict=True)
    share = ranks.share(len(puzzles))
    completions = sample(
        model,
        prompts,
        samples=samples,
        max_new_tokens=max_new_tokens,
        eos_ids=tokenizer.eos_ids,
        pad_id=tokenizer.pad_id,
        limits=limits,
        stream=stream,
        share=share,
    )
    kept = (completions.lengths - completions.finished.long()).tolist()
    texts = tokenizer.decode_batch(
        [row[:length] for row, length in zip(completions.tokens.tolist(), kept, strict=True)]
    )
    batch = "greedy" if stream is None else " ".join(map(str, stream[1:]))
    if ranks.count > 1:
        batch = f"{batch}, rank {ranks.index}"
    scores = score(task, [puzzles[index] for index in share], texts, batch=batch, seconds=reward_seconds)
    if ranks.count > 1:
        parts, *lists = zip(*ranks.gather((completions.to("cpu"), texts, scores)), strict=True)
        completions = joined(parts).to(ranks.device)
        texts, scores = ([item for part in parts for item in part] for parts in lists)
    return Episodes(prompts, prompt_texts, completions, texts, scores, samples)
