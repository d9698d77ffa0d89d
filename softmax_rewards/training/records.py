"""Records: the rows that a training step adds to the tables of its run."""

import resource
from typing import Any

import numpy as np
import torch

from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.weighting import concentration


def rollout_row(rollouts: Rollouts) -> dict[str, float]:
    """Means over the samples, and the shares of groups in which all answers are wrong or all are right.

    Fractions are in 0 … 1 and lengths in tokens. `entropy` is the policy's, in nats per sampled token. A hidden budget
    acts on success, format and reward. `attempts`, `self_checks` and `gave_up` are those of the texts as written.
    """
    correct, written = rollouts.field("correct", bool), rollouts.as_written
    without_budget = {"success_without_budget": float(written.field("correct").mean())}
    return {
        "success": float(correct.mean()),
        "format": float(rollouts.field("formatted").mean()),
        "reward": float(rollouts.field("reward").mean()),
        "entropy": float(rollouts.completions.entropies.sum() / rollouts.completions.lengths.sum()),
        "length": float(rollouts.lengths.mean()),
        "finished": float(rollouts.completions.finished.float().mean()),
        "attempts": float(written.field("attempts").mean()),
        "self_checks": float(written.field("self_checks").mean()),
        "gave_up": float(written.field("gave_up").mean()),
        "all_wrong": float((~correct.any(1)).mean()),
        "all_right": float(correct.all(1).mean()),
    } | (without_budget if rollouts.written is not None else {})


def weight_row(weights: np.ndarray) -> dict[str, float]:
    """Statistics of the weights `weights[Q, N]` of a batch; entropy and effective N are means over the groups."""
    return {
        "weight_mean": float(weights.mean()),
        "weight_std": float(weights.std()),
        "weight_max": float(weights.max()),
        "weight_entropy": float(concentration.entropy(weights).mean()),
        "weight_effective_n": float(concentration.effective_n(weights).mean()),
    }


def episode_row(step: int, puzzles: np.ndarray, rollouts: Rollouts, weights: np.ndarray) -> dict[str, Any]:
    """Every sample of the step, as columns in the order of the rollout; `puzzles[Q]` index the train split."""
    count = rollouts.group_size
    return {
        "step": [step] * weights.size,
        "group": np.repeat(np.arange(len(puzzles)), count).tolist(),
        "puzzle": np.repeat(puzzles, count).tolist(),
        "sample": np.tile(np.arange(count), len(puzzles)).tolist(),
        "reward": rollouts.field("reward").ravel().tolist(),
        "correct": rollouts.field("correct", bool).ravel().tolist(),
        "formatted": rollouts.field("formatted", bool).ravel().tolist(),
        "weight": weights.ravel().tolist(),
        "length": rollouts.lengths.ravel().tolist(),
        "finished": rollouts.completions.finished.tolist(),
        "attempts": rollouts.as_written.field("attempts", int).ravel().tolist(),
    }


def timing_row(
    step: int, seconds: tuple[float, float], tokens: tuple[int, int], device: torch.device
) -> dict[str, float]:
    """The step's two halves, (rollout, update), in seconds and in tokens per second; the peak memory so far in MB."""
    rollout, update = seconds
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 1e6
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {
        "step": step,
        "rollout_s": rollout,
        "update_s": update,
        "seconds": rollout + update,
        "rollout_tokens_per_s": tokens[0] / rollout,
        "update_tokens_per_s": tokens[1] / update,
        "memory_mb": peak,
    }


def evaluation_row(step: int, tokens: int, rollouts: Rollouts) -> dict[str, float]:
    """One point of the success curve after `step` updates and `tokens` generated in training.

    `entropy` is the mean −log π of the sampled tokens, an unbiased estimate of the policy's entropy in nats per token.
    """
    rates = rollout_row(rollouts)
    names = ["success", "format", "reward", "length", "finished", "attempts", "self_checks", "gave_up"]
    names += ["success_without_budget"] * (rollouts.written is not None)
    surprise = -float(rollouts.completions.log_probs.sum()) / float(rollouts.lengths.sum())
    head = {"step": step, "tokens": tokens, "puzzles": len(rollouts.prompts)}
    return head | {name: rates[name] for name in names} | {"entropy": surprise} | flexible_rate(rollouts)


def flexible_rate(rollouts: Rollouts) -> dict[str, float]:
    """`flexible`: the share of answers that are right by the task's second, unpaid verdict; empty if it has none."""
    verdicts = [score.flexible for score in rollouts.scores if score.flexible is not None]
    return {"flexible": float(np.mean(verdicts))} if verdicts else {}


def sample_rows(step: int, rollouts: Rollouts, count: int) -> list[dict[str, Any]]:
    """The texts of the first `count` puzzles of an evaluation with one answer each."""
    return [
        {
            "step": step,
            "puzzle": index,
            "prompt": rollouts.prompt_texts[index],
            "completion": rollouts.texts[index],
            "reward": rollouts.scores[index].reward,
            "correct": rollouts.scores[index].correct,
        }
        for index in range(count)
    ]
