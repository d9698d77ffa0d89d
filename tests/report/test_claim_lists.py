"""The lists of claims: every claim leads to its rule in the plan and to a section that exists."""

import re
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pandas as pd
import pytest

from softmax_rewards.report import claim_lists, plan_page
from softmax_rewards.verdicts.plan import CLAIMS

ROOT = Path(__file__).parents[2]
PLAN = plan_page.page(ROOT / "docs/analysis-plan.md").data
NAMES = ["gate", *(claim.id for claim in CLAIMS)]


def table(**columns):
    rows = {"claim": ["C1", "C2", "C6a", "M1"], "verdict": ["supported", "contradicted", "not resolved", "supported"]}
    rows |= {"plain": ["Yes. <a>.", "No. b.", "Not resolved. c.", "Yes. d."], "condition": ["trap", None, "", ""]}
    rows["statement"] = [f"claims {claim}" for claim in rows["claim"]]
    return pd.DataFrame(rows | {"seeds": [5, 5, 5, 0]} | columns)


@pytest.mark.parametrize("claim", NAMES)
def test_the_plan_has_the_rule_of_every_claim_once(claim):
    assert PLAN.count(f'id="{plan_page.anchor(claim)}"') == 1


def test_the_plan_links_to_nothing_outside():
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', PLAN))


@pytest.mark.parametrize("claim", NAMES)
def test_every_claim_has_a_figure_on_a_page_with_that_section(claim):
    page, _, section = claim_lists.figure(claim).partition("#")
    cells = nbformat.read(ROOT / "notebooks" / page.replace(".html", ".ipynb"), as_version=4).cells
    headings = [line.lstrip("# ") for cell in cells for line in cell.source.splitlines() if line.startswith("##")]
    assert not section or unquote(section) in [heading.replace(" ", "-") for heading in headings]


def test_each_claim_stands_in_the_list_of_its_verdict():
    shown = claim_lists.lists(table()).data
    parts = re.split(r"<h3[^>]*>", shown)[1:]
    assert [part.partition("</h3>")[0] for part in parts] == ["Supported: 1", "Contradicted: 1", "Open: 1"]
    assert [re.findall(r"plan.html#claim-(\w+)", part) for part in parts] == [["C1"], ["C2"], ["C6a"]]
    assert "(trap): &lt;a&gt;." in parts[0]
    assert "Claimed: claims C2. Found: b." in parts[1]
    assert "Not tested in this experiment: M1." in parts[2]


def test_an_empty_list_is_still_named():
    shown = claim_lists.lists(table(verdict=["supported"] * 4)).data
    assert "Open: 0" in shown
    assert shown.count("<ul>") == 1
