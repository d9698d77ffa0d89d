"""`softmax-rewards archive`: keep the tables of an experiment's finished runs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from softmax_rewards.common.terminal import plain
from softmax_rewards.verdicts import archive

EPILOG = """\
example:
  softmax-rewards archive results/countdown-mini results/archive/countdown-mini

It prints one line per kept run, such as "[archive] baseline/seed-0". No line means that results/ has no finished run.
An experiment whose config says `archive: results/archive/<experiment>` uses these runs instead of training them again,
as long as the code, the puzzles and the base model that made them are unchanged. Model weights are not kept.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. An error ends it with one line."""
    parser = argparse.ArgumentParser(
        prog="softmax-rewards archive",
        description="Keep the tables of an experiment's finished runs in an archive folder, about ten KB per run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", type=Path, help="folder of the experiment's results: results/<experiment>")
    parser.add_argument(
        "archive",
        type=Path,
        help="folder of the archive, made if missing; a run replaces the archived run of the same "
        "ablation and seed, and all other archived runs stay",
    )
    options = parser.parse_args(arguments)
    if not options.results.is_dir():
        sys.exit(plain(f"{options.results}: no such folder; allowed: results/<experiment>"))
    try:
        names = archive.keep(options.results, options.archive)
    except ValueError as error:
        sys.exit(plain(str(error)))
    for name in names:
        print(f"[archive] {name}")
