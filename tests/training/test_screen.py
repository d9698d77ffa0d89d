"""What is kept of a page where the height is limited, and what every encoding can show."""

from rich.text import Text

from softmax_rewards.training.screen import Line, Rank, Screen
from softmax_rewards.training.state import RunState


def line(name, rank, state="finished", seed=0):
    return Line(Text(name), rank, [RunState(name, seed, state)])


def shown(lines, height, width=80):
    return [text.plain for text in Screen(width, height).fit(lines)]


def test_a_page_that_fits_is_shown_whole():
    lines = [line("a", Rank.OTHERS), Line(Text(), Rank.BLANK), line("b", Rank.FAILED, "failed")]
    assert shown(lines, 3) == shown(lines, None) == ["a", "", "b"]
    assert shown(lines, 2) == ["a", "b"]  # the blank goes first


def test_totals_failures_and_runs_at_work_stay():
    lines = [
        Line(Text("old: 9 runs"), Rank.DONE, begins=True),
        line("old", Rank.OTHERS_DONE),
        Line(Text("new: 9 runs"), Rank.OPEN, begins=True),
        line("at work", Rank.AT_WORK, "running"),
        line("broken", Rank.FAILED, "failed"),
        line("stopped", Rank.INTERRUPTED, "interrupted"),
        line("done", Rank.OTHERS),
    ]
    assert shown(lines, 6) == [
        "old: 9 runs",
        "new: 9 runs",
        "at work",
        "broken",
        "not shown: 1 interrupted; 2 finished",
    ]
    assert shown(lines, 5) == [
        "new: 9 runs",
        "at work",
        "broken",
        "not shown: 1 experiment; 1 interrupted; 2 finished",
    ]


def test_failures_leave_a_third_of_the_height_to_runs_at_work():
    lines = [
        Line(Text("totals"), Rank.OPEN, begins=True),
        *(line(f"work-{seed}", Rank.AT_WORK, "running", seed) for seed in range(30)),
        *(line(f"failed-{seed // 10}", Rank.FAILED, "failed", seed) for seed in range(30)),
    ]
    kept = shown(lines, 23)
    assert len(kept) <= 23 and kept[0] == "totals"
    assert sum(text.startswith("work-") for text in kept) == 23 // 3
    assert sum(text.startswith("failed-") for text in kept) == 13
    # Those without a line have at least their names.
    assert kept[-1] == "not shown: 17 failed: failed-1 13-19, failed-2 20-29; 23 running"


def test_a_closing_that_is_too_long_is_cut():
    lines = [line(f"a-long-name-{seed}", Rank.FAILED, "failed", seed) for seed in range(20)]
    *_, first, last = shown(lines, 6, 40)
    assert first.startswith("not shown: 16 failed: a-long-name-10") and last.endswith("…")
    assert max(map(len, (first, last))) <= 40


def test_a_line_is_cut_to_columns_of_the_terminal():
    assert Screen(6).cut(Text("abcdefg")).plain == "abcde…"
    assert Screen(6).cut(Text("abcdef")).plain == "abcdef"
    assert Screen(6).cut(Text("日本語日本語")).cell_len <= 6
    assert Screen(6, encoding="ascii").cut(Text("abcdefg")).plain == "abc..."
    assert Screen(2, encoding="ascii").cut(Text("abcdefg")).plain == ".."


def test_what_an_encoding_lacks_is_written_out():
    assert Screen(80).text("é –\n") == "é –\\n"
    assert Screen(80, encoding="latin-1").text("é –") == r"é \u2013"
    assert Screen(80, encoding="ascii").text("é –") == r"\xe9 \u2013"
