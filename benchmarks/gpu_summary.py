"""One page about a run of `gpu_all.sh`: its parts, and each goal with what was measured.

    python benchmarks/gpu_summary.py FOLDER

The page is printed and written to FOLDER/summary.md. Exit code 1 means that a part failed or did not end in time.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Rows = dict[str, dict[str, Any]]
"""The `trainers` of a result file of `step.py`: name → medians."""

TIMED_OUT = (124, 137)  # exit codes of `timeout`: the part was asked to end, or was killed


@dataclass(frozen=True)
class Goal:
    """What a step should reach: `value` of the rows that the part `part` measured is at least `least`."""

    name: str
    part: str
    least: float
    value: Callable[[Rows], float]
    form: str


GOALS = (
    Goal("rollout, share of the bandwidth limit", "step", 0.60, lambda rows: rows["project"]["bandwidth"], "{:.0%}"),
    Goal("update, share of the product rate", "step", 0.45, lambda rows: rows["project"]["update"][2], "{:.0%}"),
    Goal("rollout, times as fast as GRPO-Zero", "peers", 4.0, lambda rows: times(rows, "rollout"), "{:.1f}"),
)


def times(rows: Rows, half: str) -> float:
    """How many times longer GRPO-Zero's `half` of a step takes."""
    return float(rows["grpo-zero"][half][0] / rows["project"][half][0])


def page(folder: Path) -> tuple[str, bool]:
    """The page about the results in `folder`, and whether all parts succeeded."""
    parts = [line.split() for line in (folder / "parts.txt").read_text(encoding="utf-8").splitlines()]
    lines = [
        "# What the GPU showed",
        "",
        *machine(folder),
        "",
        "| part | result | seconds | at most |",
        "|---|---|---|---|",
    ]
    lines += [f"| {name} | {outcome(int(code))} | {took} | {limit} |" for name, code, took, limit in parts]
    lines += ["", "| shape | goal | at least | measured | reached |", "|---|---|---|---|---|"]
    lines += [row for name, *_ in parts for row in goals(folder, name)]
    memory = folder / "memory.log"
    lines += ["", "```", memory.read_text(encoding="utf-8").rstrip(), "```"] if memory.exists() else []
    return "\n".join(lines) + "\n", all(code == "0" for _, code, *_ in parts)


def machine(folder: Path) -> list[str]:
    """One line with GPU, versions and date, from the first result file; none if there is no result."""
    for file in sorted(folder.glob("*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        about = result["machine"]
        versions = about["versions"]
        gpu = about["gpu"] or about["cpu"]
        return [f"{gpu}, torch {versions['torch']}, Python {versions['python']}, {result['date']}, {about['revision']}"]
    return []


def outcome(code: int) -> str:
    return "passed" if code == 0 else "out of time" if code in TIMED_OUT else f"failed ({code})"


def goals(folder: Path, part: str) -> Iterator[str]:
    """The table's rows of one part, such as `step-qwen2.5-3b`."""
    kind, _, shape = part.partition("-")
    file = folder / f"{part}.json"
    rows = json.loads(file.read_text(encoding="utf-8"))["results"]["trainers"] if file.exists() else None
    for goal in (goal for goal in GOALS if goal.part == kind):
        value = None if rows is None else goal.value(rows)
        measured = "–" if value is None else goal.form.format(value)
        reached = "not measured" if value is None else "yes" if value >= goal.least else "no"
        yield f"| {shape} | {goal.name} | {goal.form.format(goal.least)} | {measured} | {reached} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    text, passed = page(folder)
    (folder / "summary.md").write_text(text, encoding="utf-8")
    print(text)
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
