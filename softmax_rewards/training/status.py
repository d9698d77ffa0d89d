"""Status: how far every run is, on one page.

    softmax-rewards status [results/<experiment> ...] [--watch SECONDS]

One line a run; finished ones of an ablation share a line, and so do waiting ones. Reads what the workflow writes and
disturbs nothing.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from softmax_rewards.common import devices
from softmax_rewards.common.terminal import clock, plain
from softmax_rewards.training import run_state
from softmax_rewards.training.run_state import Locks, RunState

COLUMNS = ("ablation", "seed", "state", "step", "success", "left", "device", "note")
FOLDED = ("finished", "waiting")


def page(experiments: Sequence[Path], locks: Locks) -> str:
    """The state of every run of the `results/<experiment>` folders, a table and a summary each."""
    return "\n\n".join(_section(folder, run_state.read(folder, locks)) for folder in experiments)


def _section(experiment: Path, runs: Sequence[RunState]) -> str:
    lines = [f"{plain(experiment.name)}: {summary(runs, run_state.at_once(experiment))}"]
    if runs:
        lines += table(runs)
    return "\n".join(lines)


def summary(runs: Sequence[RunState], at_once: int) -> str:
    """How many runs are in which state, and how long the rest takes with `at_once` of them side by side."""
    if not runs:
        return "no runs yet"
    counts = [(state, sum(run.state == state for run in runs)) for state in run_state.STATES]
    said = ", ".join(f"{count} {state}" for state, count in reversed(counts) if count)
    left = time_left(runs, at_once)
    return f"{len(runs)} runs: {said}" + ("" if left is None else f"; about {clock(left)} left")


def time_left(runs: Sequence[RunState], at_once: int) -> float | None:
    """Seconds until all runs are trained, evaluations not counted; None if that is 0 or nothing tells.

    A run that has not begun is taken to be as fast as the others are on average; failed ones are not trained again.
    """
    paces = [run.pace for run in runs if run.pace is not None]
    pending = [run for run in runs if run.state in ("running", "interrupted", "waiting")]
    if not pending or not paces or any(run.steps is None for run in pending):
        return None
    usual = sum(paces) / len(paces)
    each = [
        (run.pace or usual) * (run.steps - run.step) if run.left is None else run.left for run in pending if run.steps
    ]
    return max(sum(each) / at_once, *each)


def table(runs: Sequence[RunState]) -> list[str]:
    """Aligned lines below a heading."""
    cells = [COLUMNS]
    for _, alike in groupby(sorted(runs, key=_order), key=lambda run: (run.ablation, _order(run))):
        several = list(alike)
        cells += [_cells(several)] if several[0].state in FOLDED else [_cells([run]) for run in several]
    widths = [max(len(row[place]) for row in cells) for place in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _order(run: RunState) -> tuple:
    """Runs that share a line are equal in this and stand together; a message of a failure parts none."""
    return run.ablation, run.state, run.steps or 0, run.device or "", run.note if run.state in FOLDED else ""


def _cells(runs: Sequence[RunState]) -> tuple[str, ...]:
    """The cells of one line: of one run, or of several that differ in nothing but seed and success."""
    run = runs[0]
    seeds = ranges([one.seed for one in runs]) + (f" ({len(runs)})" if len(runs) > 1 else "")
    found = [one.success for one in runs if one.success is not None]
    low, high = (f"{100 * end(found):.1f}" for end in (min, max)) if found else ("–", "–")
    success = low if low == high else f"{low} to {high}"
    step = f"{run.step}/{'?' if run.steps is None else run.steps}"
    left = "–" if run.left is None else clock(run.left)
    success = f"{success} %" if found else "–"
    cells = (run.ablation, seeds, run.state, step, success, left, run.device or "–", run.note)
    return tuple(map(plain, cells))


def ranges(numbers: Sequence[int]) -> str:
    """Ascending whole numbers in short: "0-3, 5"."""
    parts = []
    for _, group in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in group]
        parts.append(f"{members[0]}-{members[-1]}" if len(members) > 1 else f"{members[0]}")
    return ", ".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; a folder that is not there ends it with one line."""
    parser = argparse.ArgumentParser(description="How far every run is: state, step, success, time left, failures.")
    parser.add_argument("experiments", type=Path, nargs="*", help="results/<experiment>; without any: all in results/")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="draw again and again, until Control-C")
    given = parser.parse_args(arguments)
    if given.watch is not None and not given.watch > 0:
        sys.exit(f"--watch {given.watch:g}: allowed: a number of seconds above 0")
    for folder in given.experiments:
        if not folder.is_dir():
            sys.exit(plain(f"{folder}: no such folder; allowed: results/<experiment>"))
    gpus = devices.devices()
    try:
        while True:
            experiments = given.experiments or run_state.experiments(Path("results"))
            _draw(page(experiments, Locks(gpus)) or "results: no experiment was started yet", given.watch is not None)
            if given.watch is None:
                return
            time.sleep(given.watch)
    except KeyboardInterrupt:
        sys.exit(130)


def _draw(text: str, again: bool) -> None:
    if sys.stdout.isatty():  # a line of the terminal a run: the rest of a long message is in the log
        width = shutil.get_terminal_size().columns
        text = "\n".join(line[:width] for line in text.splitlines())
        if again:
            text = f"\033[H\033[J{text}"
    print(text, flush=True)
