"""Status: how far every run is, on one page.

The page has one line per run; all finished runs of an ablation share a line, and so do all waiting ones. It comes from
the workflow's plan and from the `state.json` of each run.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from softmax_rewards.common.terminal import clock, plain
from softmax_rewards.training import plan
from softmax_rewards.training.state import STATES, RunState

COLUMNS = ("ablation", "seed", "state", "step", "success", "left", "device", "note")
FOLDED = ("finished", "waiting")
COLORS = {"running": "cyan", "failed": "red", "interrupted": "yellow", "waiting": "dim", "finished": "green"}
WIDE = 1_000  # columns where the output is no terminal, so that nothing is cut
DESCRIPTION = "Show how far every run is: state, step, success, time left, and why runs failed."
EXAMPLE = "example: softmax-rewards status results/countdown-mini --watch 10"


def page(experiments: Sequence[Path]) -> Group:
    """A summary and a table for each of the `results/<experiment>` folders."""
    if not experiments:
        return Group(
            Text("results: no experiment was started here; call snakemake, or name a folder results/<experiment>")
        )
    parts: list[Text | Table] = []
    for folder in experiments:
        runs = plan.states(folder)
        parts.append(Text(f"{plain(folder.name)}: {summary(runs, plan.at_once(folder))}"))
        parts += [table(runs)] if runs else []
        parts.append(Text())
    return Group(*parts[:-1])


def summary(runs: Sequence[RunState], at_once: int) -> str:
    """How many runs are in which state, and how long the rest takes when `at_once` runs are trained at a time."""
    if not runs:
        return "no runs yet"
    counts = [(state, sum(run.state == state for run in runs)) for state in STATES]
    text = ", ".join(f"{count} {state}" for state, count in reversed(counts) if count)
    left = plan.time_left(runs, at_once)
    return f"{len(runs)} runs: {text}" + ("" if left is None else f"; about {clock(left)} left")


def table(runs: Sequence[RunState]) -> Table:
    """One line per run; finished or waiting runs that only differ in seed and success share a line."""
    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in COLUMNS:
        # In a narrow terminal rich first cuts columns that may wrap, the widest one before the others.
        drawn.add_column(name, no_wrap=name not in ("device", "note"))
    for _, alike in groupby(sorted(runs, key=_order), key=lambda run: (run.ablation, _order(run))):
        several = list(alike)
        for line in [several] if several[0].state in FOLDED else [[run] for run in several]:
            # `Text` knows no markup, so that a name with brackets stays as it is.
            cells = [Text(plain(cell), no_wrap=True, overflow="ellipsis") for cell in _cells(line)]
            cells[COLUMNS.index("state")].stylize(COLORS[line[0].state])
            drawn.add_row(*cells)
    return drawn


def _order(run: RunState) -> tuple:
    """Sort key, the same for all runs of a shared line."""
    note = run.note if run.state in FOLDED else ""
    return run.ablation, run.state, run.steps or 0, run.step, run.device or "", note


def _cells(runs: Sequence[RunState]) -> tuple[str, ...]:
    run = runs[0]
    seeds = ranges([one.seed for one in runs]) + (f" ({len(runs)})" if len(runs) > 1 else "")
    rates = [one.success for one in runs if one.success is not None]
    low, high = (f"{100 * end(rates):.1f}" for end in (min, max)) if rates else ("–", "–")
    success = f"{low if low == high else f'{low} to {high}'} %" if rates else "–"
    step = f"{run.step}/{'?' if run.steps is None else run.steps}"
    left = "–" if run.seconds_left is None else clock(run.seconds_left)
    # Of a running run the reader needs to know which GPU it has, of others only the kind of device.
    device = (run.gpus if run.state == "running" else None) or run.device or "–"
    return run.ablation, seeds, run.state, step, success, left, device, run.note


def ranges(numbers: Sequence[int]) -> str:
    """Whole numbers in ascending order, in short: "0-3, 5"."""
    parts = []
    for _, group in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in group]
        parts.append(f"{members[0]}-{members[-1]}" if len(members) > 1 else f"{members[0]}")
    return ", ".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line `softmax-rewards status`. A wrong argument ends it with one line."""
    parser = argparse.ArgumentParser(prog="softmax-rewards status", description=DESCRIPTION, epilog=EXAMPLE)
    parser.add_argument(
        "experiments",
        type=Path,
        nargs="*",
        metavar="EXPERIMENT",
        help="folder of an experiment, results/NAME; default: all experiments in results/",
    )
    parser.add_argument(
        "--watch", type=float, metavar="SECONDS", help="draw the page again every SECONDS seconds, until Control-C"
    )
    options = parser.parse_args(arguments)
    if options.watch is not None and not options.watch > 0:
        sys.exit(f"--watch {options.watch:g}: allowed: a number of seconds above 0")
    for folder in options.experiments:
        if not folder.is_dir():
            sys.exit(plain(f"{folder}: no such folder; allowed: results/<experiment>"))
    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)
    try:
        while True:
            drawn = page(options.experiments or plan.experiments(Path("results")))
            if options.watch is None:
                console.print(drawn)
                return
            console.clear()  # does nothing if the output is no terminal
            console.print(drawn)
            time.sleep(options.watch)
    except KeyboardInterrupt:
        sys.exit(130)
