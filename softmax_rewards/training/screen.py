"""Screen: what a page of lines is drawn on, and which of its lines are kept where the height is limited."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby

from rich.text import Text

from softmax_rewards.common.terminal import plain
from softmax_rewards.training import graphics
from softmax_rewards.training.state import STATES, RunState

INDENT = 2
CLOSING = 2  # lines at most that say what was left out


class Rank(IntEnum):
    """How important a line is: those with a lower number are kept."""

    OPEN = 0
    """The totals of an experiment with runs at work, waiting, failed or interrupted."""
    FIRST_AT_WORK = 1
    FAILED = 2
    AT_WORK = 3
    DONE = 4
    """The totals of an experiment whose runs have all finished."""
    INTERRUPTED = 5
    OTHERS = 6
    """Waiting and finished runs."""
    OTHERS_DONE = 7
    """Finished runs of an experiment whose runs have all finished."""
    BLANK = 8


@dataclass(frozen=True)
class Line:
    """One line of a page."""

    text: Text
    rank: Rank
    runs: Sequence[RunState] = ()
    """The runs that are seen only here."""
    begins: bool = False
    """Whether an experiment begins here."""


@dataclass(frozen=True)
class Screen:
    """A terminal or a file."""

    width: int
    height: int | None = None
    """Lines at most; None if the page may have any number of lines. Then nothing is cut off an error either."""
    encoding: str = "utf-8"
    bars: bool = True
    """Whether there are bars; in a file the numbers suffice."""

    @property
    def symbols(self) -> graphics.Symbols:
        """The characters of bars and sparklines."""
        return graphics.symbols(self.encoding)

    def text(self, text: str) -> str:
        """`text` as one line of characters that the screen can show; all others are written out."""
        return plain(text).encode(self.encoding, "backslashreplace").decode(self.encoding)

    def wrapped(self, text: str, lines: int | None = None) -> list[str]:
        """`text` in as many lines as it needs, or in `lines` lines at most."""
        return textwrap.wrap(
            self.text(text),
            self.width,
            subsequent_indent=" " * INDENT,
            break_on_hyphens=False,
            max_lines=lines,
            placeholder=self.symbols.ellipsis,
        )

    def cut(self, line: Text) -> Text:
        """`line`, cut to the screen's width."""
        if line.cell_len > self.width:
            # `Text` would itself append an ellipsis that not every encoding has.
            line.truncate(max(self.width - len(self.symbols.ellipsis), 0), overflow="crop")
            line.append(self.symbols.ellipsis[: self.width])
        return line

    def fit(self, lines: Sequence[Line]) -> list[Text]:
        """The most important lines that fit, in their order, and behind them what the others are about."""
        height = len(lines) if self.height is None else self.height
        if len(lines) > height:
            lines = [line for line in lines if line.rank != Rank.BLANK]
        if len(lines) <= height:
            return [line.text for line in lines]
        ranks = _ranks(lines, height)
        shown = set(sorted(range(len(lines)), key=lambda number: (ranks[number], number))[: max(height - CLOSING, 1)])
        hidden = [line for number, line in enumerate(lines) if number not in shown]
        closing = [Text(text, "dim") for text in self.wrapped(_closing(hidden), CLOSING)]
        return [lines[number].text for number in sorted(shown)] + closing


def _ranks(lines: Sequence[Line], height: int) -> list[Rank]:
    """The ranks. A third of the height is kept for runs at work, even if failures could fill all of it."""
    ranks = [line.rank for line in lines]
    at_work = [number for number, rank in enumerate(ranks) if rank == Rank.AT_WORK]
    for number in at_work[: height // 3]:
        ranks[number] = Rank.FIRST_AT_WORK
    return ranks


def _closing(lines: Sequence[Line]) -> str:
    """What the `lines` that are not shown are about. Failed runs come first, with their names."""
    runs = [run for line in lines for run in line.runs]
    failed = sorted((run for run in runs if run.state == "failed"), key=lambda run: run.ablation)
    names = [
        f"{ablation} {graphics.ranges([run.seed for run in some])}"
        for ablation, some in groupby(failed, key=lambda run: run.ablation)
    ]
    experiments = sum(line.begins for line in lines)
    parts = [f"{len(failed)} failed: {', '.join(names)}"] if failed else []
    parts += [f"{experiments} experiment{'s' * (experiments > 1)}"] if experiments else []
    counts = [(state, sum(run.state == state for run in runs)) for state in STATES if state != "failed"]
    parts += [f"{count} {state}" for state, count in counts if count]
    return f"not shown: {'; '.join(parts)}"
