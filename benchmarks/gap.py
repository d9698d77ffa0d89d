"""Sampler against trainer: log-probabilities from sampling minus those from the training pass, with equal weights."""

import dataclasses

import torch
from peers.project import load, rollout, updater_of
from work import Work

from softmax_rewards.policy.gradients import log_probs
from softmax_rewards.policy.micro_batches import Samples

PUZZLES = 8
PRECISIONS = ("float32", "bfloat16")


def measure(work: Work) -> dict[str, dict[str, float]]:
    """Precision → mean, standard deviation and largest absolute difference (nats) over the tokens of a rollout."""
    return {name: statistics(differences(work, name)) for name in PRECISIONS}


def differences(work: Work, precision: str) -> torch.Tensor:
    """One difference per sampled token, for the policy in `precision`."""
    settings = dataclasses.replace(work.training, precision=precision)
    policy = load(work, getattr(torch, precision))
    updater = updater_of(settings, policy, 0)
    drawn = rollout(work, policy, updater, work.puzzles[:PUZZLES], seed=0)
    answers = drawn.completions
    samples = Samples(drawn.prompts, answers.tokens, answers.lengths.tolist())
    difference = answers.log_probs - log_probs(policy, samples, updater.limits.max_microbatch_tokens)
    inside = torch.arange(difference.shape[1], device=difference.device) < answers.lengths[:, None]
    return difference[inside].double().cpu()


def statistics(values: torch.Tensor) -> dict[str, float]:
    deviation = values.std().item() if len(values) > 1 else 0.0
    return {"mean": values.mean().item(), "sd": deviation, "max": values.abs().max().item(), "tokens": len(values)}


def report(gaps: dict[str, dict[str, float]]) -> None:
    print("\nlog-probability while sampling minus in the training pass, nats")
    for name, gap in gaps.items():
        print(
            f"{name:9} mean {gap['mean']:+.1e}  s.d. {gap['sd']:.1e}  max {gap['max']:.1e}  of {gap['tokens']} tokens"
        )
