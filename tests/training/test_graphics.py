"""Bars, sparklines and seed ranges, and how much room they get."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_rewards.training.graphics import ASCII, BAR, GAP, SPARK, UNICODE, bar, ranges, sparkline, split, symbols

EIGHTHS = [level / 7 for level in range(8)]


def test_a_bar_is_full_only_at_the_end():
    assert [bar(step, 100, 4) for step in (0, 24, 25, 99, 100, 101)] == ["────", "────", "━───", "━━━─", "━━━━", "━━━━"]
    assert bar(50, 100, 4, ASCII) == "##--"
    assert bar(5, None, 4) == bar(-1, 10, 4) == "────"


def test_a_sparkline_has_a_level_for_each_eighth_of_the_scale():
    assert sparkline(EIGHTHS, 8, 0.0, 1.0) == UNICODE.levels
    assert sparkline(EIGHTHS, 8, 0.0, 1.0, ASCII) == ASCII.levels
    assert sparkline([0.1, 0.2], 8, 0.0, 0.2) == "▅█"  # the scale may begin below the line
    assert sparkline([0.3, 0.3], 8, 0.3, 0.3) == "▅▅"
    assert sparkline([], 8, 0.0, 1.0) == sparkline(EIGHTHS, 0, 0.0, 1.0) == ""


def test_a_long_course_is_drawn_as_means_of_neighbors():
    assert sparkline([0.0, 0.0, 1.0, 1.0, 0.0, 1.0], 3, 0.0, 1.0) == "▁█▅"


def test_only_utf_has_blocks():
    assert {name: symbols(name) for name in ("utf-8", "UTF8", "utf-16")} == dict.fromkeys(
        ("utf-8", "UTF8", "utf-16"), UNICODE
    )
    for name in ("ascii", "latin-1", "ANSI_X3.4-1968", "cp1252"):
        assert symbols(name) is ASCII
    "".join(ASCII).encode("ascii")


@settings(deadline=None)
@given(st.integers(-20, 300), st.integers(0, 100))
def test_graphics_never_need_more_than_their_room(room, points):
    wide, spark = split(room, points)
    assert sum(width + GAP for width in (wide, spark) if width) <= max(room, 0)
    assert wide == 0 or BAR[0] <= wide <= BAR[1]
    assert spark <= min(points, SPARK[1])
    assert spark == 0 or wide  # the bar is the last to go


@pytest.mark.parametrize(
    ("room", "points", "widths"),
    [(7, 20, (0, 0)), (8, 20, (6, 0)), (14, 20, (12, 0)), (15, 20, (6, 5)), (40, 20, (18, 18)), (200, 90, (40, 24))],
)
def test_a_sparkline_needs_more_room_than_a_bar(room, points, widths):
    assert split(room, points) == widths


def test_one_point_is_no_course():
    assert split(40, 1) == (38, 0)
    assert split(40, 2) == (34, 2)


def test_ranges_are_short():
    assert ranges([3, 0, 1, 2, 5, 10, 11]) == "0-3, 5, 10-11"


@settings(deadline=None)
@given(st.sets(st.integers(0, 60), min_size=1))
def test_ranges_say_every_number(numbers):
    ends = [list(map(int, part.split("-"))) for part in ranges(list(numbers)).split(", ")]
    assert [number for part in ends for number in range(part[0], part[-1] + 1)] == sorted(numbers)
