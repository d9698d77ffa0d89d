"""verl's reward function: this project's verifier of the task that `data.py` wrote beside the puzzle."""

import json
from typing import Any

from softmax_rewards.data import tasks


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any], **_: Any
) -> dict[str, float]:
    """The reward (`score`), whether the answer is right (`acc`) and whether it is well formed (`format`).

    `solution_str` goes on after a prompt that opened `<think>`; `ground_truth` is the puzzle as JSON.
    """
    task, options = tasks.load(json.loads(extra_info["task"]))
    verdict = task.score(solution_str, json.loads(ground_truth), options)
    return {"score": verdict.reward, "acc": float(verdict.correct), "format": float(verdict.formatted)}
