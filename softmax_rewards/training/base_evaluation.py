"""The base model, evaluated once for all runs that start from it: success, coverage, and how it searches.

Its success is then a known number. Estimated from one answer per puzzle in every run, it would be a noisy one.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import torch

from softmax_rewards.common.files import verified_manifest, write_csv, write_json
from softmax_rewards.common.terminal import log
from softmax_rewards.data import dataset, tasks
from softmax_rewards.models import checkpoint
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.rollout import Rollouts, Sampler
from softmax_rewards.training import coverage, search_counts
from softmax_rewards.training.search_counts import completed, sampling_error

CHUNK = 4096  # answers sampled in one call, which bounds the memory of their random numbers and texts


def write(settings: dict[str, Any], data: Path, base: Path, out: Path, threads: int) -> None:
    """Evaluate the base model in the folder `base`: write `puzzles.csv` and `evaluation.json` to the folder `out`.

    `settings` are those of `config.base_settings`. `data` has the puzzles. Raises ValueError if a file of the puzzles
    or the base model differs from its manifest.
    """
    manifests = {"data": verified_manifest(data), "base": verified_manifest(base)}
    options = {key: value for key, value in settings.items() if key not in ("model", "task")}
    figures, table = measure(base, data, settings["task"], manifests["base"]["template"], threads=threads, **options)
    write_csv(table, out / "puzzles.csv")
    sources = {name: manifest["sha256"] for name, manifest in manifests.items()}
    write_json({"name": out.name, "settings": settings, **sources, **figures}, out / "evaluation.json")


def measure(
    model: Path,
    data: Path,
    task: dict[str, Any],
    template: str,
    *,
    max_new_tokens: int,
    puzzles: int = 1024,
    samples: int = 32,
    pass_puzzles: int | None = None,
    threads: int = 1,
    device: str = "auto",
    precision: str = "float32",
    rollout_batch_size: int = 1024,
    reward_timeout: float = 60.0,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Evaluate the model in the folder `model` on the first `puzzles` held-out puzzles in the folder `data`.

    Every puzzle is answered `samples` times at temperature 1 and once greedily. pass@k and the number of distinct
    solutions are those of the first `pass_puzzles` puzzles (default: all). Returns the figures, and a table with one
    row per puzzle. `search` is None for a task without attempts.
    """
    torch.set_num_threads(threads)
    module, _ = tasks.load(task)
    policy = checkpoint.load(model, checkpoint.pick_device(device), getattr(torch, precision))
    limits = Limits(rollout_batch_size, 1)
    sampler = Sampler(Tokenizer(model), task, template, limits, max_new_tokens, reward_timeout)
    rows = dataset.read(data, "test", puzzles)
    parts, greedy = [], []
    size = max(CHUNK // samples, 1)
    for start in range(0, puzzles, size):
        chosen = rows[start : start + size]
        sampled = sampler.rollout(policy, chosen, samples, (0, "base evaluation", start))
        parts.append(
            _answers(sampled, chosen, module).assign(puzzle=np.repeat(range(start, start + len(chosen)), samples))
        )
        greedy.append(sampler.rollout(policy, chosen, 1, None).field("correct", int)[:, 0])
        log("base evaluation", f"{start + len(chosen)} of {puzzles} puzzles")
    answers = pd.concat(parts, ignore_index=True)
    table = _by_puzzle(answers).assign(greedy=np.concatenate(greedy))
    return _figures(answers, table, samples, pass_puzzles or puzzles), table


def _answers(rollouts: Rollouts, puzzles: list[dict[str, Any]], task: ModuleType) -> pd.DataFrame:
    """One row per answer: what is right, closed, formatted, … in it, and its list of attempts (None without)."""
    finished = rollouts.completions.finished.tolist()
    read = getattr(task, "attempts", None)
    owners = [puzzles[row // rollouts.group_size] for row in range(len(rollouts.texts))]
    answers = list(zip(rollouts.texts, owners, finished, strict=True))
    return pd.DataFrame(
        {
            "right": [score.correct for score in rollouts.scores],
            "solution": [task.solution(text, owner) for text, owner, _ in answers],
            "closed": ["</think>" in text for text in rollouts.texts],
            "formatted": [score.formatted for score in rollouts.scores],
            "finished": finished,
            "gave_up": [score.gave_up for score in rollouts.scores],
            "length": rollouts.lengths.reshape(-1),
            "attempts": [completed(read(text, owner), ended) if read else None for text, owner, ended in answers],
        }
    )


def _by_puzzle(answers: pd.DataFrame) -> pd.DataFrame:
    """One row per puzzle: right answers, distinct right solutions, attempts, and attempts that hit."""
    counted = answers.assign(
        attempts=[len(attempts or ()) for attempts in answers["attempts"]],
        hits=[sum(attempt.hit for attempt in attempts or ()) for attempts in answers["attempts"]],
    )
    named = {"right": ("right", "sum"), "distinct": ("solution", "nunique")}
    named |= {name: (name, "sum") for name in ("attempts", "hits")}
    return counted.groupby("puzzle").agg(**named).reset_index()


def _figures(answers: pd.DataFrame, table: pd.DataFrame, samples: int, pass_puzzles: int) -> dict[str, Any]:
    counts = table["right"].to_numpy()[:pass_puzzles]
    figures: dict[str, Any] = {
        "puzzles": len(table),
        "samples": samples,
        "passk_puzzles": pass_puzzles,
        "success": float(answers["right"].mean()),
        "success_error": sampling_error(answers["right"].to_numpy(float).reshape(-1, samples)),
        "greedy": float(table["greedy"].mean()),
        **coverage.rates(counts, samples),
        "distinct": float(table["distinct"][:pass_puzzles].mean()),
        **{name: float(answers[name].mean()) for name in ("formatted", "finished", "gave_up", "length")},
        "format_length_correlation": _correlation(answers["formatted"], answers["length"]),
        "search": None,
    }
    if answers["attempts"].notna().all():
        figures["search"] = _search(answers, table, samples)
    return figures


def _search(answers: pd.DataFrame, table: pd.DataFrame, samples: int) -> dict[str, Any]:
    """All counts of the search."""
    attempts = answers["attempts"].tolist()
    right, closed, formatted, finished, length = (
        answers[name].to_numpy() for name in ("right", "closed", "formatted", "finished", "length")
    )
    return search_counts.described(attempts, right, samples) | {
        "endings": search_counts.endings(attempts, closed, formatted),
        "tokens": search_counts.attempt_length(attempts, length, finished),
        # One number per puzzle, in one string: in indented JSON, each number of a list would have its own line.
        "by_puzzle": {name: " ".join(map(str, table[name])) for name in ("attempts", "hits")},
    }


def _correlation(first: pd.Series, second: pd.Series) -> float | None:
    """Pearson's correlation over all answers; None if one of the two is constant."""
    if first.nunique() < 2 or second.nunique() < 2:
        return None
    return float(np.corrcoef(first.astype(float), second.astype(float))[0, 1])
