"""Evaluation of a finished run's final model on held-out puzzles."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from softmax_rewards.common import provenance
from softmax_rewards.common.files import write_csv, write_json
from softmax_rewards.config.run import Run
from softmax_rewards.data import dataset, tasks
from softmax_rewards.models import checkpoint
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.rollout import Rollouts, Sampler
from softmax_rewards.training import coverage, records

Solutions = list[list[str | None]]  # [puzzle][sample]: the canonical right solution, or None


def final(run_folder: Path, data: Path, out: Path | None = None, policy: Decoder | None = None) -> None:
    """Evaluate the final model of a finished run: write `puzzles.csv` and then `evaluation.json` to the folder `out`.

    Success is measured on all evaluation puzzles, with `evaluation.final_samples` samples each. pass@k and the number
    of distinct right solutions come from `evaluation.pass_samples` samples on the first `evaluation.pass_puzzles` of
    them. These are also answered greedily.

    Args:
        run_folder: the run's folder.
        data: the folder with the puzzles.
        out: where the results go; by default to `run_folder`.
        policy: the final model if it is in memory; by default it is loaded from `run_folder`.
    """
    import pandas as pd  # not needed before the end, and a start would wait for it

    out = out or run_folder
    record = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))
    run = Run.from_dict(record["config"])
    solver = _Solver(run, run_folder / "model", data, record["template"], policy)
    settings = run.evaluation
    rollouts = solver.rollout(settings.puzzles, settings.final_samples, "evaluation")
    sampled = solver.solutions(rollouts)
    # Only some puzzles: many greedy answers repeat themselves until they are cut, so they are the longest. Nothing is
    # judged by them.
    greedy = solver.solutions(solver.rollout(settings.pass_puzzles, 1, None))
    many = solver.solutions(solver.rollout(settings.pass_puzzles, settings.pass_samples, "pass@k"))
    table = pd.DataFrame({"puzzle": range(settings.puzzles), "sampled": _right(sampled)})
    table["greedy"] = pd.Series(_right(greedy))  # empty for the other puzzles
    write_csv(table, out / "puzzles.csv")
    right = np.array([sum(solution is not None for solution in row) for row in many])
    distinct = [len({solution for solution in row if solution is not None}) for row in many]
    summary: dict[str, Any] = {
        **coverage.rates(right, settings.pass_samples),
        "success": float(table["sampled"].mean()),
        "greedy": float(table["greedy"].mean()),
        "distinct": float(np.mean(distinct)),
        "puzzles": settings.puzzles,
        "answers": settings.puzzles * settings.final_samples,
        "passk_puzzles": settings.pass_puzzles,
        "passk_samples": settings.pass_samples,
        "fingerprint": record["fingerprint"],
        "code": provenance.evaluation_fingerprint(record["config"]),
        **records.flexible_rate(rollouts),
    }
    write_json(summary, out / "evaluation.json")


class _Solver:
    """The final model, which answers held-out puzzles."""

    def __init__(self, run: Run, model: Path, data: Path, template: str, policy: Decoder | None) -> None:
        settings = run.training
        torch.set_num_threads(settings.threads)
        self.seed = run.seed
        self.task, _ = tasks.load(run.task)
        self.puzzles = dataset.read(data, "test", run.evaluation.puzzles)
        device = checkpoint.pick_device(settings.device)
        self.policy = policy or checkpoint.load(model, device, getattr(torch, settings.precision))
        limits = Limits.of(settings)
        self.sampler = Sampler(
            Tokenizer(model), run.task, template, limits, settings.max_new_tokens, settings.reward_timeout
        )

    def rollout(self, count: int, samples: int, purpose: str | None) -> Rollouts:
        """Answers to the first `count` puzzles, `samples` for each; without a `purpose` decoding is greedy."""
        stream = None if purpose is None else (self.seed, purpose)
        return self.sampler.rollout(self.policy, self.puzzles[:count], samples, stream)

    def solutions(self, rollouts: Rollouts) -> Solutions:
        """The solutions in the answers to the first puzzles."""
        samples = rollouts.group_size
        every = [self.task.solution(text, self.puzzles[row // samples]) for row, text in enumerate(rollouts.texts)]
        return [every[start : start + samples] for start in range(0, len(every), samples)]


def _right(solutions: Solutions) -> np.ndarray:
    """Share of each puzzle's samples that are right."""
    return np.array([np.mean([solution is not None for solution in row]) for row in solutions])
