"""Numbers in prose: each marked one is computed again, in the form in which it was written."""

import math
import re
from pathlib import Path

import pandas as pd
import pytest

from softmax_rewards.report import prose_numbers
from softmax_rewards.verdicts.evidence import Evidence

SUCCESS = {"a": [0.10, 0.12, 0.14], "b": [0.20, 0.24, 0.22]}


def evidence(name):
    assert name in ("countdown-mini", "countdown-mini-trap", "countdown-mini-twin")
    rows = [
        {"ablation": ablation, "seed": seed, "auc": value, "length_final": 100 * value, "base": 0.05}
        for ablation, values in SUCCESS.items()
        for seed, value in enumerate(values)
    ]
    return Evidence(pd.DataFrame(rows).set_index(["ablation", "seed"]), {}, "a")


@pytest.fixture
def filled(tmp_path):
    report = tmp_path / "countdown-mini-trap"
    report.mkdir()
    (report / "verdicts.csv").write_text("claim,condition,effect,low,high\nP4,,0.7,0.5,0.9\nM6,room,4.6,3.5,5.7\n")
    (report / "search_ranks.csv").write_text("condition,figure,rank,low,high\n,attempts,0.65,0.47,0.84\n")
    return lambda text: prose_numbers.fill(text, prose_numbers.Archive(evidence, tmp_path))


# b − a by seed: .10, .12, .08; t(2) = 4.303, so the half width is 4.303 · .02 / √3.
HALF = 4.302653 * 2 / math.sqrt(3)


def test_a_difference_and_its_interval(filled):
    assert abs(HALF - 4.97) < 0.005
    assert filled("b: +0.0 [+1.0, +9.9]<!-- trap: b minus a -->.") == (
        "b: +10.0 [+5.0, +15.0]<!-- trap: b minus a -->."
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1.0 points [0.1, 2.0]<!-- : b minus a -->", "10.0 points [5.0, 15.0]<!-- : b minus a -->"),
        ("+1 [0,\n  2]<!-- trap: a minus b -->", "−10 [−15,\n  −5]<!-- trap: a minus b -->"),
        ("1.00<!-- trap: b minus a, length_final -->", "10.00<!-- trap: b minus a, length_final -->"),
        (".5<!-- trap: a -->", "12.0<!-- trap: a -->"),
        ("0 [0, 0]<!-- trap: claim P4 -->", "1 [0, 1]<!-- trap: claim P4 -->"),
        (".1 [.2, .3]<!-- trap: claim P4 -->", ".7 [.5, .9]<!-- trap: claim P4 -->"),
        ("4.0 points<!-- trap: claim M6, room -->", "4.6 points<!-- trap: claim M6, room -->"),
        ("0.00 [0.00, 0.00]<!-- trap: toy attempts -->", "0.65 [0.47, 0.84]<!-- trap: toy attempts -->"),
        ("9 [9, 9]<!-- trap against : b minus a -->", "9 [9, 9]<!-- trap against : b minus a -->"),
        ("+9.0 [+9.0, +9.0]<!-- : b minus a -->", "+10.0 [+5.0, +15.0]<!-- : b minus a -->"),
        ("+9.0<!-- trap against twin: b minus a -->", "+0.0<!-- trap against twin: b minus a -->"),
        ("+7.0<!-- trap: a minus base -->", "+7.0<!-- trap: a minus base -->"),
        ("5 <!-- a remark: no number -->", "5 <!-- a remark: no number -->"),
        ("−.9 [−1.9, 0.1] without a comment", "−.9 [−1.9, 0.1] without a comment"),
    ],
)
def test_signs_decimals_and_spaces_stay_as_they_are(filled, written, expected):
    assert filled(written) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("trap: c minus a", "no ablation c; allowed: a, b, base"),
        ("trap: a − b", "allowed: raft minus dr-grpo, final"),
        ("trap: claim C1", "verdicts.csv has 0 such rows"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(filled, source, message):
    with pytest.raises(ValueError, match=message):
        filled(f"1.0<!-- {source} -->")


def test_a_leading_zero_is_written_only_where_it_was():
    assert prose_numbers._like(".5", 0.25) == ".2"
    assert prose_numbers._like("+.50", 0.25) == "+.25"
    assert prose_numbers._like("0.50", -0.25) == "−0.25"


INTERVAL = re.compile(r"[+−]?\d*\.?\d+(?: %| points| tokens| nats per token)?\s*\[[^]()a-z]*\](?!<!--|\()")
UNMARKED = {
    "README.md": 0,
    "docs/why.md": 2,  # a ratio of gains; a difference at equal updates
    "docs/findings.md": 9,  # what a choice of τ costs; the first series, and with it other tasks
}


@pytest.mark.parametrize("page", UNMARKED)
def test_an_interval_in_prose_says_where_it_comes_from(page):
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    text = re.sub(r"<!-- (findings|map): generated.*?<!-- end of[^>]*-->", "", text, flags=re.DOTALL)
    assert len(INTERVAL.findall(text)) <= UNMARKED[page]
