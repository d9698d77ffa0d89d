"""Rollout: puzzles → prompts → sampled completions → scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from softmax_rewards.data import tasks
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

    @property
    def lengths(self) -> np.ndarray:
        """The number of generated tokens with the end token, `[Q, N]`."""
        return self.completions.lengths.cpu().numpy().reshape(-1, self.group_size)

    def field(self, name: str, dtype: Any = np.float64) -> np.ndarray:
        """One field of all scores, `[Q, N]`."""
        values = np.array([getattr(score, name) for score in self.scores], dtype=dtype)
        return values.reshape(-1, self.group_size)


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

    def rollout(
        self,
        model: Decoder,
        puzzles: Sequence[dict[str, Any]],
        group_size: int,
        stream: Stream | None,
        params: SamplingParams = PLAIN,
    ) -> Rollouts:
        """Sample `group_size` completions of every puzzle and score them. `stream=None` decodes greedily.

        Every rank returns the rollouts of all puzzles. There must be at least one puzzle per rank. Raises
        `scoring.RewardError` if the verifier fails.
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
        mine = [puzzles[index] for index in share]  # each rank verifies its own samples, so verifiers run in parallel
        scores = score(self.task, mine, texts, batch=self._name(stream), seconds=self.reward_timeout)
        completions, texts, scores = self._gathered(completions, texts, scores)
        return Rollouts(prompts, prompt_texts, completions, texts, scores, group_size)

    def _name(self, stream: Stream | None) -> str:
        """The name of this batch in an error of the verifier."""
        name = "greedy" if stream is None else " ".join(map(str, stream[1:]))
        return name if self.world.size == 1 else f"{name}, rank {self.world.rank}"

    def _gathered(
        self, completions: Completions, texts: list[str], scores: list[Score]
    ) -> tuple[Completions, list[str], list[Score]]:
        """The results of all ranks, in the order of the puzzles."""
        if self.world.size == 1:
            return completions, texts, scores
        # Over the host, because objects are gathered there. The policy's own tensors are the only traffic between GPUs.
        parts, *lists = zip(*self.world.gather((completions.to("cpu"), texts, scores)), strict=True)
        texts, scores = ([item for part in column for item in part] for column in lists)
        return joined(parts).to(self.world.device), texts, scores
