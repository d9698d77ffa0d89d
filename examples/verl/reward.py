"""A reward function for verl: this project's verifier. `data.py` wrote task and puzzle into each row."""

import json
from typing import Any

from softmax_rewards.data import tasks


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any], **_: Any
) -> dict[str, float]:
    """The reward (`score`), whether the answer is right (`acc`), and whether it has the right format (`format`).

    `solution_str` is the completion of a prompt that ends with `<think>`. `ground_truth` is the puzzle as JSON.
    """
    task, options = tasks.load(json.loads(extra_info["task"]))
    verdict = task.score(solution_str, json.loads(ground_truth), options)
    return {"score": verdict.reward, "acc": float(verdict.correct), "format": float(verdict.formatted)}
