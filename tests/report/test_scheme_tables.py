"""The page of the schemes: its tables are what is generated, and no scheme is missing."""

import re
from pathlib import Path

import pytest

from softmax_rewards import weighting
from softmax_rewards.report import scheme_tables

PAGE = (Path(__file__).parents[2] / scheme_tables.PAGE).read_text(encoding="utf-8")


def test_the_page_is_what_is_generated():
    assert scheme_tables.fill(PAGE) == PAGE, "run `softmax-rewards generate-docs`"


@pytest.mark.parametrize("scheme", weighting.names())
def test_every_scheme_has_a_formula_a_limit_and_figures(scheme):
    (row,) = re.findall(rf"^\| \[`{scheme}`\].*$", PAGE, re.M)
    _, _, formula, paper, limit, _ = re.split(r"(?<!\\)\|", row)
    assert "`" in formula and paper.strip() and limit.strip() != scheme_tables.NONE
    assert re.search(rf"^\| `{scheme}` \| [^|]* \| [\d.]+ \|", PAGE, re.M)


def test_every_hyperparameter_is_described():
    for scheme in weighting.names():
        for name in weighting.hyperparameters(scheme):
            assert re.search(rf"^\|[^|]*`{scheme}`[^|]*\| `{name}` \| \w[^|]+ \| a ", PAGE, re.M), (scheme, name)
