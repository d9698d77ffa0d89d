"""A point of the success curve: the policy on held-out puzzles while it trains."""

from collections.abc import Sequence
from typing import Any

from softmax_rewards.config.run import Run
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.ranks import Ranks
from softmax_rewards.policy.rollout import play
from softmax_rewards.training import records


def point(
    run: Run,
    step: int,
    tokens: int,
    policy: Decoder,
    tokenizer: Tokenizer,
    template: str,
    puzzles: Sequence[dict[str, Any]],
    limits: Limits,
    ranks: Ranks,
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Sampled success and its companions after `step` updates, and the texts of the first few puzzles.

    One sample a puzzle at temperature 1; the noise is the same at every step and for every arm of a seed.
    """
    episodes = play(
        policy,
        tokenizer,
        run.task,
        puzzles,
        template=template,
        samples=1,
        max_new_tokens=run.training.max_new_tokens,
        reward_seconds=run.training.reward_seconds,
        limits=limits,
        stream=(run.seed, "evaluation"),
        ranks=ranks,
    )
    texts = [
        {
            "step": step,
            "puzzle": index,
            "prompt": episodes.prompt_texts[index],
            "completion": episodes.texts[index],
            "reward": episodes.scores[index].reward,
            "correct": episodes.scores[index].correct,
        }
        for index in range(run.evaluation.samples)
    ]
    return records.evaluation_row(step, tokens, episodes), texts
