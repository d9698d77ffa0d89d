"""Status: how far every run is, on one page, once or again and again. `status_view.py` draws the page."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live

from softmax_rewards.common.terminal import plain
from softmax_rewards.training import plan
from softmax_rewards.training.snapshot import Reader
from softmax_rewards.training.status_view import Screen, page

UNLIMITED = 1_000  # columns where the output is no terminal, so that nothing is cut
INTERVAL = 5.0  # seconds
LONGEST = 86_400.0  # seconds; `sleep` refuses numbers without a limit
DESCRIPTION = "Show how far every run is: state, step, success, time left, and why runs failed."
EXAMPLE = "example: softmax-rewards status results/countdown-mini --watch 10"


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
        "--watch",
        nargs="?",
        const=f"{INTERVAL:g}",
        metavar="SECONDS",
        help=f"draw the page again every SECONDS seconds (default: {INTERVAL:g}), until Control-C",
    )
    options = parser.parse_args(arguments)
    seconds = None if options.watch is None else _seconds(options.watch)
    for folder in options.experiments:
        if not folder.is_dir():
            sys.exit(plain(f"{folder}: no such folder; allowed: results/<experiment>"))
    console = Console(width=None if sys.stdout.isatty() else UNLIMITED)
    in_place = sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal
    reader = Reader()

    def draw(height: int | None) -> Group:
        folders = options.experiments or plan.experiments(Path("results"))
        screen = Screen(console.width, height, console.encoding, bars=in_place)
        return Group(*page([reader.read(folder) for folder in folders], screen))

    try:
        if seconds is None:
            console.print(draw(None))
        elif in_place:
            watch(console, draw, seconds)
        else:
            while True:
                console.print(draw(None))
                time.sleep(seconds)
    except KeyboardInterrupt:
        # Control-C is how watching ends. A page that is drawn once is not whole.
        sys.exit(130 if seconds is None else 0)


def watch(console: Console, draw: Callable[[int], Group], seconds: float) -> None:
    """Draw the page in the same place every `seconds`; `draw` makes it from the number of lines that it may have."""
    # Without this, `kill` would leave the terminal without a cursor.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with Live(console=console, auto_refresh=False) as live:
        while True:
            # The terminal's last line stays free: the cursor goes there when watching ends.
            live.update(draw(console.height - 1), refresh=True)
            time.sleep(seconds)


def _seconds(text: str) -> float:
    """The value of --watch; ends the command if it is no number of seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST:
        sys.exit(plain(f"--watch {text}: allowed: a number of seconds above 0, at most {LONGEST:g}"))
    return seconds
