"""docs/tasks.md: every example is paid what the page says."""

import re
from pathlib import Path

import pytest

from softmax_rewards.data.tasks import countdown, gsm8k, multiplication

PAGE = Path(__file__).parents[2] / "docs/tasks.md"
SYMBOLS = str.maketrans({"⏎": "\n", "⇥": "\t", "␍": "\r", "⍽": "\u00a0"})
PARTIAL = countdown.Options(partial_format=True)
PUZZLE = {"nums": [3, 5, 7], "target": 22}
PAIR = {"a": 47, "b": 86}
PROBLEM = {"question": "How much?", "solution": "", "answer": "1800"}


def rows(heading):
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    return [pytest.param(completion(cells[1]), cells[2:], id=f"{heading}: {cells[0]}") for cells in lines]


def completion(cell):
    text = "" if cell == "(nothing)" else re.fullmatch("`(.+)`", cell).group(1).translate(SYMBOLS)
    return text if "</think>" in text or "<answer>" in text else f"</think>\n<answer>{text}</answer>"


@pytest.mark.parametrize(("text", "cells"), rows("Countdown"))
def test_countdown(text, cells):
    paid = [countdown.score(text, PUZZLE).reward, countdown.score(text, PUZZLE, PARTIAL).reward]
    assert paid == pytest.approx([float(cell) for cell in cells[:2]])


@pytest.mark.parametrize(("text", "cells"), rows("Multiplication"))
def test_multiplication(text, cells):
    assert multiplication.score(text, PAIR).reward == pytest.approx(float(cells[0]))


@pytest.mark.parametrize(("text", "cells"), rows("GSM8K"))
def test_gsm8k(text, cells):
    score = gsm8k.score(text, PROBLEM)
    assert score.reward == pytest.approx(float(cells[0]))
    assert score.flexible == (cells[1] == "yes")


def test_the_page_has_every_case():
    assert [len(rows(heading)) for heading in ("Countdown", "Multiplication", "GSM8K")] == [30, 28, 31]
