"""How the cost of a step grows: seconds of rollout and update against samples, prompts, length and model size.

    python benchmarks/growth.py [--threads 2] [--steps 3] [--out benchmarks/results/growth.json]

The weights are random, and all answers have the greatest length (`work.py`). From a common start, one quantity at a
time is doubled. The exponent is the slope of log seconds against log quantity. 1 means proportional; less than 1 means
that larger steps are more efficient. Every round measures all points in turn, and the median of the rounds counts.
"""

import argparse
import dataclasses
import gc
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import work
from machine import write_result
from peers.project import Project

START = work.Case(16, 8, 64, config=work.qwen2(128, 384, 2, 4, 1, 64))
POINTS = {
    "samples": [START.samples * times for times in (1, 2, 4, 8)],
    "prompts": [START.prompts * times for times in (1, 2, 4, 8)],
    "longest": [START.longest * times for times in (1, 2, 4, 8)],
    "hidden_size": [64, 128, 256, 512],
}
NAMES = {
    "samples": "samples per prompt",
    "prompts": "prompts",
    "longest": "tokens per answer",
    "hidden_size": "parameters",
}


def exponent(quantities: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of log `seconds` against log `quantities`, by least squares."""
    return float(np.polyfit(np.log(quantities), np.log(seconds), 1)[0])


def cases() -> Iterator[tuple[str, int, work.Case]]:
    """The name of a quantity, its value, and the case with this value."""
    for name, values in POINTS.items():
        for value in values:
            if name == "hidden_size":
                heads = {"num_attention_heads": value // 32, "intermediate_size": 3 * value}
                yield name, value, dataclasses.replace(START, config=START.config | heads | {name: value})
            else:
                yield name, value, dataclasses.replace(START, **{name: value})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        projects = []
        for number, (name, value, case) in enumerate(cases()):
            base = Path(folder, f"base-{number}")
            step_work = work.make(case, base, Path(folder, "data"), arguments.threads, arguments.device)
            projects.append(
                (name, step_work.shape.parameters if name == "hidden_size" else value, Project(step_work, "linear"))
            )
        measured = measure([project for _, _, project in projects], arguments.steps)
    points = [
        {"quantity": name, "value": value, "rollout": float(rollout), "update": float(update)}
        for (name, value, _), (rollout, update) in zip(projects, measured, strict=True)
    ]
    results = {"threads": arguments.threads, "points": points, "exponents": exponents(points)}
    report(results)
    write_result(arguments.out, "growth", results)


def measure(projects: list[Project], steps: int) -> np.ndarray:
    """Median seconds `[projects, 2]` of rollout and update over `steps` rounds, after one that does not count."""
    seconds = np.empty((steps + 1, len(projects), 2))
    for seed in range(steps + 1):
        for number, project in enumerate(projects):
            step = project.step(seed, project.choices[0])
            seconds[seed, number] = step.rollout, step.update
            gc.collect()
    return np.median(seconds[1:], axis=0)


def exponents(points: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Quantity → exponents of rollout and update."""
    slopes = {}
    for name in POINTS:
        matching = [point for point in points if point["quantity"] == name]
        values = [point["value"] for point in matching]
        slopes[name] = {half: exponent(values, [point[half] for point in matching]) for half in ("rollout", "update")}
    return slopes


def report(results: dict[str, Any]) -> None:
    for name, halves in results["exponents"].items():
        print(f"\n{NAMES[name]:>18}  rollout s  update s")
        for point in results["points"]:
            if point["quantity"] == name:
                print(f"{point['value']:18,}  {point['rollout']:9.3f}  {point['update']:8.3f}")
        print(f"{'exponent':>18}  {halves['rollout']:9.2f}  {halves['update']:8.2f}")


if __name__ == "__main__":
    main()
