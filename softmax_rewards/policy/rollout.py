"""Rollout: puzzles → prompts → sampled completions → scores."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Self

import numpy as np

from softmax_rewards.data import budget, tasks
from softmax_rewards.data.scoring import score
from softmax_rewards.data.tasks import Score
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy.decoding import Completions, joined
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.sampling import Stream, sample
from softmax_rewards.policy.sampling_params import PLAIN, SamplingParams
from softmax_rewards.policy.world import ALONE, World


@dataclass(frozen=True)
class Rollouts:
    """Q groups of N scored completions."""

    prompts: Sequence[list[int]]  # Q prompts as token ids
    prompt_texts: Sequence[str]
    completions: Completions
    texts: list[str]  # Q·N completions without their end tokens
    scores: list[Score]  # Q·N
    group_size: int  # N
    written: list[Score] | None = None  # with a hidden budget, `scores` before the texts were cut

    @property
    def as_written(self) -> Self:
        """The same rollouts with the scores of the texts as the policy wrote them, without the hidden budget."""
        return self if self.written is None else replace(self, scores=self.written, written=None)

    @property
    def lengths(self) -> np.ndarray:
        """The number of generated tokens with the end token, `[Q, N]`."""
        return self.completions.lengths.cpu().numpy().reshape(-1, self.group_size)

    def field(self, name: str, dtype: Any = np.float64) -> np.ndarray:
        """One field of all scores, `[Q, N]`."""
        values = np.array([getattr(score, name) for score in self.scores], dtype=dtype)
        return values.reshape(-1, self.group_size)

    def groups(self, chosen: Sequence[int]) -> Self:
        """Only the `chosen` groups, in this order."""
        rows = [index * self.group_size + sample for index in chosen for sample in range(self.group_size)]
        columns = {field.name: getattr(self.completions, field.name)[rows] for field in fields(Completions)}
        return replace(
            self,
            prompts=[self.prompts[index] for index in chosen],
            prompt_texts=[self.prompt_texts[index] for index in chosen],
            completions=Completions(**columns),
            texts=[self.texts[row] for row in rows],
            scores=[self.scores[row] for row in rows],
            written=self.written and [self.written[row] for row in rows],
        )

    def followed_by(self, other: Self) -> Self:
        """These groups, then those of the `other` rollouts, which have the same group size and greatest length."""
        return replace(
            self,
            prompts=[*self.prompts, *other.prompts],
            prompt_texts=[*self.prompt_texts, *other.prompt_texts],
            completions=joined([self.completions, other.completions]),
            texts=self.texts + other.texts,
            scores=self.scores + other.scores,
            written=None if self.written is None or other.written is None else self.written + other.written,
        )


@dataclass(frozen=True)
class Sampler:
    """Samples and scores completions of a task's puzzles. Several ranks share the puzzles among them."""

    tokenizer: Tokenizer
    task: dict[str, Any]  # name and options
    template: str
    limits: Limits
    max_new_tokens: int
    reward_timeout: float  # seconds that the verifier has for all answers of a call
    world: World = ALONE
    hidden_budget: float = 0.0  # probability that an attempt after the first loses the answer

    def rollout(
        self,
        model: Decoder,
        puzzles: Sequence[dict[str, Any]],
        group_size: int,
        stream: Stream | None,
        params: SamplingParams = PLAIN,
    ) -> Rollouts:
        """Sample `group_size` completions of every puzzle and score them. `stream=None` decodes greedily.

        The hidden budget is drawn from `stream` too, and greedy answers have none. Every rank returns the rollouts of
        all puzzles. There must be at least one puzzle per rank. Raises `scoring.RewardError` if the verifier fails.
        """
        module, _ = tasks.load(self.task)
        prompt_texts, prompts = zip(
            *(self.tokenizer.prompt(module.prompt(puzzle, self.template)) for puzzle in puzzles), strict=True
        )
        share = self.world.share(len(puzzles))
        completions = sample(
            model,
            prompts,
            group_size=group_size,
            max_new_tokens=self.max_new_tokens,
            eos_ids=self.tokenizer.eos_ids,
            pad_id=self.tokenizer.pad_id,
            limits=self.limits,
            stream=stream,
            params=params,
            share=share,
        )
        lengths = (completions.lengths - completions.finished.long()).tolist()  # without the end token
        texts = self.tokenizer.decode_batch(
            [row[:length] for row, length in zip(completions.tokens.tolist(), lengths, strict=True)]
        )
        scores, written = self._scores(puzzles, share, texts, stream)
        completions, texts, scores, written = self._gathered(completions, texts, scores, written)
        budgeted = written if self.hidden_budget else None
        return Rollouts(prompts, prompt_texts, completions, texts, scores, group_size, written=budgeted)

    def _scores(
        self, puzzles: Sequence[dict[str, Any]], share: range, texts: list[str], stream: Stream | None
    ) -> tuple[list[Score], list[Score]]:
        """The scores of the `texts` for the puzzles `share`: with the hidden budget, and as written."""
        mine = [puzzles[index] for index in share]  # each rank verifies its own samples, so verifiers run in parallel
        verify = partial(score, self.task, mine, texts, batch=self._name(stream), seconds=self.reward_timeout)
        written = verify()
        if not self.hidden_budget or stream is None:
            return written, written
        size = len(texts) // len(mine)
        # Drawn for all puzzles, so that each sample has the same budget whichever rank scores it.
        allowed = budget.draw(self.hidden_budget, len(puzzles) * size, *stream, "hidden budget")
        return verify(allowed=allowed[share.start * size : share.stop * size].tolist()), written

    def _name(self, stream: Stream | None) -> str:
        """The name of this batch in an error of the verifier."""
        name = "greedy" if stream is None else " ".join(map(str, stream[1:]))
        return name if self.world.size == 1 else f"{name}, rank {self.world.rank}"

    def _gathered(
        self, completions: Completions, texts: list[str], scores: list[Score], written: list[Score]
    ) -> tuple[Completions, list[str], list[Score], list[Score]]:
        """The results of all ranks, in the order of the puzzles."""
        if self.world.size == 1:
            return completions, texts, scores, written
        # Over the host, because objects are gathered there. The policy's own tensors are the only traffic between GPUs.
        parts, *lists = zip(*self.world.gather((completions.to("cpu"), texts, scores, written)), strict=True)
        texts, scores, written = ([item for part in column for item in part] for column in lists)
        return joined(parts).to(self.world.device), texts, scores, written
