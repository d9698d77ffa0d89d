"""Numbers in prose: each marked one is computed again, in the form in which it was written."""

import math

import pandas as pd
import pytest

from softmax_rewards.report import prose_numbers
from softmax_rewards.verdicts.evidence import Evidence

SUCCESS = {"a": [0.10, 0.12, 0.14], "b": [0.20, 0.24, 0.22]}


def evidence(name):
    assert name in ("countdown-mini", "countdown-mini-trap")
    rows = [
        {"ablation": ablation, "seed": seed, "auc": value, "length_final": 100 * value, "base": 0.05}
        for ablation, values in SUCCESS.items()
        for seed, value in enumerate(values)
    ]
    return Evidence(pd.DataFrame(rows).set_index(["ablation", "seed"]), {}, "a")


def filled(text):
    return prose_numbers.fill(text, evidence)


# b − a by seed: .10, .12, .08; t(2) = 4.303, so the half width is 4.303 · .02 / √3.
HALF = 4.302653 * 2 / math.sqrt(3)


def test_a_difference_and_its_interval():
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
        (".5 %<!-- trap: a -->", "12.0 %<!-- trap: a -->"),
        ("+7.0<!-- trap: a minus base -->", "+7.0<!-- trap: a minus base -->"),
        ("5 <!-- a remark: no number -->", "5 <!-- a remark: no number -->"),
        ("−.9 [−1.9, 0.1] without a comment", "−.9 [−1.9, 0.1] without a comment"),
    ],
)
def test_signs_decimals_and_spaces_stay_as_they_are(written, expected):
    assert filled(written) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("trap: c minus a", "no ablation c; allowed: a, b, base"),
        ("trap: a − b", "allowed: <!-- trap: raft minus dr-grpo, final -->"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        filled(f"1.0<!-- {source} -->")


def test_a_leading_zero_is_written_only_where_it_was():
    assert prose_numbers._like(".5", 0.25) == ".2"
    assert prose_numbers._like("+.50", 0.25) == "+.25"
    assert prose_numbers._like("0.50", -0.25) == "−0.25"
