"""Profile: what the workflow's time was spent on, from its jobs and from the timing files of the runs.

A job's core-seconds are its seconds of wall-clock times its threads. A training job is divided further, by the run's
`timing.csv` and `timing.json`.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softmax_rewards.common import environment
from softmax_rewards.common.files import read_json, write_json
from softmax_rewards.training import timing

KINDS = {
    "dataset": "puzzles",
    "base_model": "base model",
    "evaluate_base": "evaluation of the base model",
    "train": "training: files and checks",  # what is left of a training job
    "evaluate": "final evaluation",
    "measure_signal": "signal study",
    "weight_analysis": "analysis",
    "bandit": "analysis",
    "aggregate": "analysis",
    "pages": "pages",
    "overview": "pages",
}
"""Rule → kind of work."""

PARTS = {
    "start_s": "training: start",
    "rollout_s": "training: rollout",
    "update_s": "training: update",
    "evaluation_s": "training: evaluation",
    "final_evaluation_s": "final evaluation",
}
"""Entry or column of a run's timing files → kind of work."""


@dataclass(frozen=True)
class Job:
    """A job that has finished."""

    rule: str
    threads: int
    start: float  # seconds on the clock of `time.time`
    end: float
    output: Path  # its first output

    @property
    def seconds(self) -> float:
        """Core-seconds."""
        return self.threads * max(self.end - self.start, 0.0)


def measure(jobs: Iterable[Job], cores: int) -> dict[str, Any]:
    """The profile of `jobs`, which `cores` cores have done.

    Returns the wall-clock from the first start to the last end, the core-seconds of each kind of work, longest first,
    and the core-seconds in which no job ran, `idle`.
    """
    jobs = list(jobs)
    kinds: dict[str, float] = {}
    for job in jobs:
        for kind, seconds in _parts(job).items():
            kinds[kind] = kinds.get(kind, 0.0) + seconds
    wall = max(job.end for job in jobs) - min(job.start for job in jobs) if jobs else 0.0
    ordered = sorted(kinds.items(), key=lambda item: -item[1])
    return {
        "wall_s": round(wall, 1),
        "cores": cores,
        "jobs": len(jobs),
        "core_s": {kind: round(seconds, 1) for kind, seconds in ordered},
        "idle": round(max(cores * wall - sum(kinds.values()), 0.0), 1),
    }


def report(profile: dict[str, Any]) -> str:
    """The profile as a small table in text."""
    spent = profile["core_s"]
    total = sum(spent.values()) + profile["idle"]
    rows = [*spent.items(), ("no job on a core", profile["idle"])]
    lines = [f"{kind:32} {seconds:10.0f} core-s {seconds / total:6.1%}" for kind, seconds in rows if seconds]
    cores = f"{profile['cores']} core{'s' * (profile['cores'] > 1)}"
    return "\n".join([f"{profile['jobs']} jobs took {profile['wall_s'] / 60:.1f} minutes on {cores}:", *lines])


def finish(jobs: Iterable[Job], cores: int, results: Path) -> None:
    """Print the profile of the finished `jobs`, and write it to `results/profile.json`. Nothing without jobs."""
    profile = measure(jobs, cores)
    if not profile["jobs"]:
        return
    print(report(profile), flush=True)
    write_json({"machine": environment.described(), **profile}, results / "profile.json")


def _parts(job: Job) -> dict[str, float]:
    """Core-seconds of a job by kind of work."""
    kind = KINDS.get(job.rule, job.rule)
    if job.rule != "train":
        return {kind: job.seconds}
    parts = {name: job.threads * seconds for name, seconds in _timing(job.output.parent).items() if seconds}
    known = sum(parts.values())
    # A run that has continued also has the seconds of earlier jobs in its files. Its parts are then scaled to this job.
    scale = min(1.0, job.seconds / known) if known else 0.0
    return {kind: max(job.seconds - known, 0.0)} | {PARTS[name]: scale * seconds for name, seconds in parts.items()}


def _timing(run: Path) -> dict[str, float]:
    """Seconds of a run by the keys of `PARTS`, as far as its files have them."""
    seconds: dict[str, float] = {}
    if (run / timing.FILE).exists():
        seconds |= {name: float(value) for name, value in read_json(run / timing.FILE).items() if name in PARTS}
    if (run / "timing.csv").exists():
        with (run / "timing.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for name in ("rollout_s", "update_s"):
                    seconds[name] = seconds.get(name, 0.0) + float(row[name])
    return seconds
