"""docs/compared.md: the README shows the same cells, and this project's own numbers are those of the code."""

import re
from pathlib import Path

import pytest

from softmax_rewards.common import plugins
from softmax_rewards.verdicts.plan import CLAIMS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compared.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Beside other projects\n")[1].split("\n## ")[0]


def table(text: str) -> dict[str, list[str]]:
    """The first table of a text: first cell of each row → its other cells. The head's first cell is empty."""
    lines = re.search(r"(?:^\|.*\n)+", text, re.M).group().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if not line.startswith("|---")]
    assert {len(row) for row in rows} == {7} and all(all(row[1:]) for row in rows)
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: row[1:] for row in rows}


FULL = table(PAGE)
PROJECTS = FULL[""]


def python_lines(*folders: str) -> int:
    files = (file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def own_number(row: str, pattern: str = r"[\d,]+") -> int:
    """The first number in this project's cell of a row that fits the pattern."""
    cell = FULL[row][PROJECTS.index("this project")]
    return int(re.findall(pattern, cell)[0].replace(",", ""))


def test_the_readme_has_rows_of_the_full_table():
    shown = table(README)
    assert shown.items() <= FULL.items()
    assert 5 <= len(shown) - 1 <= 10 and shown[""] == PROJECTS


def test_every_row_has_evidence_about_every_project():
    blocks = re.split(r"^\*\*(.+)\*\*$", PAGE.split("\n## Evidence\n")[1], flags=re.M)[1:]
    evidence = dict(zip(blocks[::2], blocks[1::2], strict=True))
    assert list(evidence) == [row for row in FULL if row]
    for row, text in evidence.items():
        missing = [name for name in PROJECTS if name.lower() not in text.lower()]
        assert "the others" in text or not missing, f"{row}: nothing about {missing}"


def test_the_files_of_this_project_that_are_evidence_exist():
    folders = "softmax_rewards|benchmarks|tests/(?:integrations|policy|training)"
    named = re.findall(rf"`((?:{folders})/[\w./-]+)`", PAGE)
    assert len(named) > 15
    assert not [path for path in named if not (ROOT / path).exists()]


def test_schemes_and_claims_are_counted_right():
    schemes = plugins.names(plugins.SCHEMES)
    assert own_number("Weightings that a config can choose") == len(schemes)
    assert own_number("Softmax of a group's rewards") == len([name for name in schemes if name.startswith("softmax")])
    assert own_number("Claims with a plan") == len({claim.id for claim in CLAIMS})


@pytest.mark.parametrize(
    ("row", "pattern", "counted"),
    [
        ("Lines of the training path", r"[\d,]+", python_lines("softmax_rewards/policy", "softmax_rewards/training")),
        ("Lines of the training path", r"(?<=of )[\d,]+", python_lines("softmax_rewards")),
    ],
)
def test_lines_are_counted_to_a_tenth(row, pattern, counted):
    assert own_number(row, pattern) == pytest.approx(counted, rel=0.1)


def test_the_number_of_tests_is_rounded_down():
    texts = (file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    counted = sum(len(re.findall(r"^\s*def test_", text, re.M)) for text in texts)
    assert own_number("Tests") <= counted < 1.25 * own_number("Tests")
