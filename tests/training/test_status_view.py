"""The page of all runs: bars, failures and totals on terminals of several sizes, in files, and without UTF-8."""

import dataclasses
import itertools

import pytest
from rich.console import Console

from softmax_rewards.training.screen import Screen
from softmax_rewards.training.snapshot import Snapshot
from softmax_rewards.training.state import RunState
from softmax_rewards.training.status_view import page, summary

WHOLE = Screen(1_000, bars=False)
COURSE = [0.1, 0.12, 0.15, 0.2, 0.19, 0.25, 0.28, 0.3]


def run(ablation, seed, state="waiting", **facts):
    return RunState(ablation, seed, state, **{"steps": 80, "seconds_per_step": 2.0, "device": "cpu"} | facts)


RUNS = [
    run("baseline", 0, "finished", step=80, success=0.181),
    run("baseline", 1, "finished", step=80, success=0.202),
    run("baseline", 2, "failed", note="ValueError: no such thing " + "and so on " * 20 + "(goes on from step 20)"),
    run("baseline", 3, "running", step=40, success=0.3, seconds_left=80.0, gpus="GPU-7", note="process 1"),
    run("baseline", 4, seconds_per_step=None),
    run("softmax-0.5", 0, "finished", evaluation="running", step=80, success=0.25, note="being evaluated, process 2"),
    run("softmax-0.5", 1, "interrupted", note="goes on from step 60", step=60),
    run("softmax-0.5", 2, "running", note="process 3"),
]
TRIAL = Snapshot("trial", RUNS, 2, {("baseline", 3): COURSE, ("softmax-0.5", 0): COURSE[:4]})
TOTALS = "trial: 8 runs: 3 finished, 1 waiting, 1 interrupted, 1 failed, 2 running; about 4 min left"


def drawn(snapshots, screen):
    """What a terminal or file gets."""
    return [line.plain for line in page(snapshots, screen)]


def test_the_page_of_a_small_terminal():
    assert drawn([TRIAL], Screen(80, 23)) == [
        "trial: 8 runs: 3 finished, 1 waiting, 1 interrupted, 1 failed, 2 running; about",
        "  4 min left",
        "  baseline     3  ━━━━━━━━━━━━─────────────  40/80  30.0 %  ▁▂▃▅▄▆▇█  1 min left",
        "  softmax-0.5  0  ━━━━━━━━━━━━━━━━━━━━━━━━━  80/80  25.0 %  ▁▂▃▅      evaluating",
        "  softmax-0.5  2  ─────────────────────────  0/80   –                 –",
        "  failed  baseline  2  ValueError: no such thing and so on and so on and so on …",
        "  interrupted  softmax-0.5  1  goes on from step 60",
        "  finished  baseline  0-1 (2)  18.1 to 20.2 %",
        "  waiting   baseline  4",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_every_line_fits_and_can_be_encoded(width, encoding):
    odd = dataclasses.replace(RUNS[2], ablation="ein-überlanger-Name-日本語-" * 3, note="ValueError: 日本語 – π")
    at_work = dataclasses.replace(RUNS[3], ablation=odd.ablation)
    screen = Screen(width, 23, encoding)
    lines = page([Snapshot("trial", [*RUNS, odd, at_work], 2, TRIAL.courses)], screen)
    assert max(line.cell_len for line in lines) <= width
    "".join(line.plain for line in lines).encode(encoding)
    texts = [" ".join(line.plain.split()) for line in lines]
    assert " ".join(texts).startswith(TOTALS.partition(":")[0])
    assert sum(text.startswith("failed ") for text in texts) == 2
    assert sum("40/80" in text for text in texts) == 2


def test_sixty_columns_and_ascii_have_all_that_matters():
    lines = drawn([TRIAL], Screen(60, 23, "ascii"))
    assert lines[:6] == [
        "trial: 8 runs: 3 finished, 1 waiting, 1 interrupted, 1",
        "  failed, 2 running; about 4 min left",
        "  baseline     3  ###----  40/80  30.0 %  .:==*@  1 min left",
        "  softmax-0.5  0  #######  80/80  25.0 %  .:-+    evaluating",
        "  softmax-0.5  2  -------  0/80   -               -",
        "  failed  baseline  2  ValueError: no such thing and so o...",
    ]


def test_a_wide_terminal_says_where_a_run_is():
    lines = drawn([TRIAL], Screen(200, 49))
    assert lines[0] == TOTALS
    assert (
        lines[1].endswith("▁▂▃▅▄▆▇█  1 min left  GPU-7  process 1") and lines[1].count("━") == lines[1].count("─") == 20
    )
    assert lines[3].split()[-4:] == ["–", "cpu", "process", "3"]
    assert lines[4].startswith("  failed  baseline  2  ValueError") and len(lines[4]) == 200


def test_a_file_gets_numbers_instead_of_bars_and_every_error_whole():
    lines = drawn([TRIAL], WHOLE)
    assert lines[:2] == [TOTALS, "  baseline     3  40/80  30.0 %  ▁▂▃▅▄▆▇█  1 min left  GPU-7  process 1"]
    assert RUNS[2].note in lines[4]
    # A page that is printed once may have any number of lines, so an error is wrapped instead of cut.
    console = Console(width=80)
    with console.capture() as capture:
        console.print(*page([TRIAL], Screen(80)), sep="\n")
    assert RUNS[2].note in " ".join(capture.get().split())


def test_failures_stay_on_a_screen_that_is_too_small():
    done = [run(f"tau-{number}", 0, "finished", step=80, success=0.2) for number in range(40)]
    old = Snapshot("before", done)
    lines = drawn([old, dataclasses.replace(TRIAL, runs=[*RUNS, *done])], Screen(80, 11))
    assert lines[0] == "before: 40 runs: 40 finished"
    assert lines[1].startswith("trial: 48 runs")
    assert [line.split()[0] for line in lines[3:8]] == [
        "baseline",
        "softmax-0.5",
        "softmax-0.5",
        "failed",
        "interrupted",
    ]
    assert lines[-1].startswith("not shown: 1 waiting; ") and lines[-1].endswith(" finished")
    assert len(lines) <= 11
    few = drawn([old, TRIAL], Screen(80, 8))
    assert [line.split()[0] for line in few[2:6]] == ["baseline", "softmax-0.5", "softmax-0.5", "failed"]
    assert few[-1] == "not shown: 1 experiment; 1 interrupted; 1 waiting; 42 finished"


def test_failures_with_the_same_error_share_a_line():
    runs = [run("baseline", seed, "failed", note="ValueError: no model") for seed in range(30)]
    runs += [run("baseline", 30, "failed", note="ValueError: another")]
    assert drawn([Snapshot("trial", runs)], WHOLE)[1:] == [
        "  failed  baseline  0-29 (30)  ValueError: no model",
        "  failed  baseline  30         ValueError: another",
    ]


def test_two_hundred_runs_fit_a_screen():
    runs = [
        run(f"tau-{number}", seed, "finished", step=80, success=0.10 + seed / 1000)
        for number, seed in itertools.product(range(10), range(20))
    ]
    half = {"step": 40, "success": 0.12}
    runs[25] = dataclasses.replace(runs[25], state="running", seconds_left=80.0, note="process 1", **half)
    runs[31] = dataclasses.replace(runs[31], state="failed", device=None, note="ValueError: x", **half)
    snapshot = Snapshot("trial", runs, 2)
    lines = drawn([snapshot], WHOLE)
    assert len(lines) == 1 + 2 + 10
    assert lines[1] == "  tau-1  5  40/80  12.0 %  1 min left  cpu  process 1"
    assert lines[2] == "  failed  tau-1  11  ValueError: x"
    assert lines[4] == "  finished  tau-1  0-4, 6-10, 12-19 (18)  10.0 to 11.9 %  cpu"
    assert summary(snapshot) == "200 runs: 198 finished, 1 failed, 1 running; about 1 min left"


def test_nothing_that_is_shown_can_draw_on_the_terminal():
    name = "tau\033]0;title\a\nrow [red]"
    broken = RunState(name, 0, "failed", note="ValueError: \033[2J\a\x9b1mred\u2028\u202e. [bold]")
    at_work = RunState(name, 1, "running", note="\033[2J", device="\033[2J", gpus="\a")
    lines = drawn([Snapshot(name, [broken, at_work])], WHOLE)
    assert len(lines) == 3 and "".join(lines).isprintable()
    assert all(r"tau\x1b]0;title\x07\nrow [red]" in line for line in lines)
    assert r"ValueError: \x1b[2J\x07\x9b1mred\u2028\u202e. [bold]" in lines[2]
