"""Status view: the lines of the status page, for a terminal of any size or for a file.

Every experiment has a heading with its totals, one line per run at work, one per failed or interrupted run, and one
per ablation for its finished and its waiting runs. Where the height is limited, `Screen.fit` chooses among them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby

from rich.cells import cell_len
from rich.text import Text

from softmax_rewards.common.terminal import clock
from softmax_rewards.training import graphics, plan
from softmax_rewards.training.screen import INDENT, Line, Rank, Screen
from softmax_rewards.training.snapshot import Snapshot
from softmax_rewards.training.state import STATES, RunState

COLORS = {"running": "cyan", "failed": "red", "interrupted": "yellow", "waiting": "dim", "finished": "green"}
WIDE = 100  # columns from which on a line has room for device and process
NOTHING = "results: no experiment was started here; call snakemake, or name a folder results/<experiment>"


def page(snapshots: Sequence[Snapshot], screen: Screen) -> list[Text]:
    """The lines of the page about all experiments."""
    if not snapshots:
        return [Text(line) for line in screen.wrapped(NOTHING)]
    lines: list[Line] = []
    for snapshot in snapshots:
        lines += [Line(Text(), Rank.BLANK)] if lines else []
        lines += _experiment(snapshot, screen)
    return screen.fit(lines)


def summary(snapshot: Snapshot) -> str:
    """How many runs are in which state, and how long the rest takes."""
    runs = snapshot.runs
    if not runs:
        return snapshot.remark
    counts = [(state, sum(run.state == state for run in runs)) for state in STATES]
    text = ", ".join(f"{count} {state}" for state, count in reversed(counts) if count)
    left = plan.time_left(runs, snapshot.at_once)
    return f"{len(runs)} run{'s' * (len(runs) > 1)}: {text}" + ("" if left is None else f"; about {clock(left)} left")


def _experiment(snapshot: Snapshot, screen: Screen) -> list[Line]:
    at_work = [run for run in snapshot.runs if run.at_work]
    rest = [run for run in snapshot.runs if not run.at_work]
    done = not at_work and all(run.state == "finished" for run in rest)
    rank, others = (Rank.DONE, Rank.OTHERS_DONE) if done else (Rank.OPEN, Rank.OTHERS)
    heading = screen.wrapped(f"{snapshot.name}: {summary(snapshot)}")
    return [
        *(Line(screen.cut(Text(text, "bold")), rank, begins=not number) for number, text in enumerate(heading)),
        *_at_work(at_work, snapshot, screen),
        *_stopped([run for run in rest if run.state == "failed"], Rank.FAILED, screen),
        *_stopped([run for run in rest if run.state == "interrupted"], Rank.INTERRUPTED, screen),
        *_folded([run for run in rest if run.state in ("finished", "waiting")], others, screen),
    ]


def _at_work(runs: Sequence[RunState], snapshot: Snapshot, screen: Screen) -> list[Line]:
    """One line per run that is trained or evaluated now: bar, step, success, its course, time left."""
    courses = [snapshot.courses.get((run.ablation, run.seed), ()) for run in runs]
    rates = [rate for course in courses for rate in course] or [0.0]
    rows = [_facts(run, screen) for run in runs]
    widths = _widths(rows, screen.width // 4)
    room = screen.width - INDENT - sum(widths) - graphics.GAP * (len(widths) - 1)
    bar, spark = graphics.split(room, max(map(len, courses), default=0))
    lines = []
    for run, row, course in zip(runs, rows, courses, strict=True):
        cells = [_cell(text, width, screen) for text, width in zip(row, widths, strict=True)]
        if spark:
            curve = graphics.sparkline(course, spark, min(rates), max(rates), screen.symbols)
            cells.insert(4, _cell(curve, spark, screen))
        if bar and screen.bars:
            cells.insert(2, Text(graphics.bar(run.step, run.steps, bar, screen.symbols), COLORS["running"]))
        lines.append(Line(screen.cut(_joined(cells)), Rank.AT_WORK, [run]))
    return lines


def _facts(run: RunState, screen: Screen) -> list[str]:
    """What a line of a run at work says in words: ablation, seed, step, success, time left, and if it fits, where."""
    missing = screen.symbols.missing
    left = missing if run.seconds_left is None else f"{clock(run.seconds_left)} left"
    facts = [
        *_names([run], screen),
        f"{run.step}/{'?' if run.steps is None else run.steps}",
        _success([run]) or missing,
        left if run.state == "running" else "evaluating",
    ]
    # The reader needs to know which GPU the run has. Without GPUs the kind of device says enough.
    device = run.gpus or run.device or missing
    return [*facts, screen.text(device), screen.text(run.note)] if screen.width >= WIDE else facts


def _stopped(runs: Sequence[RunState], rank: Rank, screen: Screen) -> list[Line]:
    """One line per failed or interrupted run with its error; those with the same error share one."""
    groups = _grouped(runs, lambda run: (run.ablation, run.note))
    groups.sort(key=lambda some: (some[0].ablation, some[0].seed))
    rows = [(some[0].state, *_names(some, screen), screen.text(some[0].note)) for some in groups]
    texts = _table(rows, screen)
    if screen.height is not None:
        texts = [screen.cut(text) for text in texts]
    return [Line(text, rank, some) for text, some in zip(texts, groups, strict=True)]


def _folded(runs: Sequence[RunState], rank: Rank, screen: Screen) -> list[Line]:
    """One line for all finished runs of an ablation, then one for all waiting ones, if they have the same remarks."""
    groups = _grouped(runs, lambda run: (run.state, run.ablation, run.device or "", run.note))
    rows = []
    for some in groups:
        remarks = [some[0].device, some[0].note] if screen.width >= WIDE else [some[0].note]
        remark = "  ".join(filter(None, remarks))
        rows.append((some[0].state, *_names(some, screen), _success(some), screen.text(remark)))
    texts = [screen.cut(text) for text in _table(rows, screen)]
    return [Line(text, rank, some) for text, some in zip(texts, groups, strict=True)]


def _table(rows: Sequence[Sequence[str]], screen: Screen) -> list[Text]:
    """Rows with aligned columns. The first column is the state, the last one has any length."""
    *widths, _ = _widths(rows, screen.width // 3) or [0]
    texts = []
    for *row, last in rows:
        cells = [_cell(text, width, screen) for text, width in zip(row, widths, strict=True)]
        cells[0].stylize(COLORS[row[0]])
        texts.append(_joined([*cells, Text(last)]))
    return texts


def _widths(rows: Sequence[Sequence[str]], most: int) -> list[int]:
    """The width of each column, at most `most`, so that a long name leaves room for the rest."""
    return [min(max(map(cell_len, column)), most) for column in zip(*rows, strict=True)]


def _cell(text: str, width: int, screen: Screen) -> Text:
    cell = replace(screen, width=width).cut(Text(text))
    cell.append(" " * (width - cell.cell_len))
    return cell


def _joined(cells: Sequence[Text]) -> Text:
    line = Text(" " * INDENT) + Text(" " * graphics.GAP).join(cells)
    line.rstrip()
    return line


def _names(runs: Sequence[RunState], screen: Screen) -> tuple[str, str]:
    """Ablation and seeds of runs with the same ablation."""
    count = f" ({len(runs)})" if len(runs) > 1 else ""
    return screen.text(runs[0].ablation), graphics.ranges([run.seed for run in runs]) + count


def _success(runs: Sequence[RunState]) -> str:
    """The success of several runs, as "12.5 %" or "10.0 to 11.9 %"; "" if none is known."""
    rates = [run.success for run in runs if run.success is not None]
    if not rates:
        return ""
    low, high = (f"{100 * end(rates):.1f}" for end in (min, max))
    return f"{low if low == high else f'{low} to {high}'} %"


def _grouped(runs: Sequence[RunState], key: Callable[[RunState], tuple]) -> list[list[RunState]]:
    return [list(some) for _, some in groupby(sorted(runs, key=key), key=key)]
