"""Evaluation of a finished run's final model on held-out puzzles."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from softmax_rewards.common import provenance, stats
from softmax_rewards.common.files import write_csv, write_json
from softmax_rewards.config.run import Run
from softmax_rewards.data import dataset, tasks
from softmax_rewards.models import checkpoint
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.rollout import play


def final(run_folder: Path, data: Path) -> None:
    """Judge the trained model of a finished run: `evaluation.json` and `puzzles.csv` in `run_folder`.

    Sampled and greedy success on all evaluation puzzles; pass@k and the number of distinct right solutions
    from `evaluation.pass_samples` samples on the first `evaluation.pass_puzzles` of them.
    """
    record = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))
    run = Run.from_dict(record["config"])
    torch.set_num_threads(run.training.threads)
    device = checkpoint.pick_device(run.training.device)
    policy = checkpoint.load(run_folder / "model", device, getattr(torch, run.training.precision))
    tokenizer = Tokenizer(run_folder / "model")
    task, _ = tasks.load(run.task)
    puzzles = dataset.read(data, "test", run.evaluation.puzzles)

    limits = Limits.of(run.training)

    def answers(count: int, samples: int, purpose: str | None) -> list[list[str | None]]:
        """The canonical right solution, or None, of the first `count` puzzles' samples; greedy without a purpose."""
        episodes = play(
            policy,
            tokenizer,
            run.task,
            puzzles[:count],
            template=record["template"],
            samples=samples,
            max_new_tokens=run.training.max_new_tokens,
            reward_seconds=run.training.reward_seconds,
            limits=limits,
            stream=None if purpose is None else (run.seed, purpose),
        )
        found = [task.solution(text, puzzles[row // samples]) for row, text in enumerate(episodes.texts)]
        return [found[start : start + samples] for start in range(0, len(found), samples)]

    every, some, samples = run.evaluation.puzzles, run.evaluation.pass_puzzles, run.evaluation.pass_samples
    sampled = [row[0] is not None for row in answers(every, 1, "evaluation")]
    greedy = [row[0] is not None for row in answers(every, 1, None)]
    many = answers(some, samples, "pass@k")
    right = np.array([sum(solution is not None for solution in row) for row in many])
    distinct = [len({solution for solution in row if solution is not None}) for row in many]
    table = pd.DataFrame({"puzzle": range(every), "sampled": np.array(sampled, int), "greedy": np.array(greedy, int)})
    write_csv(table, run_folder / "puzzles.csv")
    rates = {f"pass@{k}": float(np.mean(stats.pass_at_k(right, samples, k))) for k in (1, 4, 16)}
    facts = {
        "success": float(np.mean(sampled)),
        "greedy": float(np.mean(greedy)),
        "distinct": float(np.mean(distinct)),
    }
    counts = {"puzzles": every, "passk_puzzles": some, "passk_samples": samples}
    made_by = {"fingerprint": record["fingerprint"], "code": provenance.evaluation_fingerprint(record["config"])}
    write_json(rates | facts | counts | made_by, run_folder / "evaluation.json")
