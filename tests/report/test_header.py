"""The top of a page: one navigation, made from one list."""

import json
import re
from pathlib import Path

import pytest

from softmax_rewards.report import header

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture
def results(tmp_path):
    summary = tmp_path / "made/summary"
    summary.mkdir(parents=True)
    (summary / "verdicts.csv").write_text("claim,model,task\ngate,<mini>,countdown\n")
    facts = {"seeds": [3, 4], "base": ["a"], "dates": ["2026-01-02", "2026-01-05"], "revision": ["0123456789abc"]}
    (summary / "provenance.json").write_text(json.dumps(facts))
    return tmp_path


def links(text):
    return re.findall(r'<a class="aside" href="([^"]*)">', text)


def test_the_navigation_names_every_notebook():
    assert set(header.PAGES) == {path.stem for path in NOTEBOOKS.glob("*.ipynb")}


def test_a_page_links_to_all_others_and_not_to_itself(results):
    shown = header.header("training", {"experiment": "made", "results": str(results)})
    assert links(shown) == [f"{page}.html" for page in header.PAGES if page != "training"]
    assert "<b>training</b>" in shown
    (results / "overview").mkdir()
    assert header.OVERVIEW in links(header.header("training", {"experiment": "made", "results": str(results)}))


def test_the_facts_are_those_of_the_runs_and_escaped(results):
    shown = header.header("index", {"experiment": "made", "results": str(results)})
    assert "<b>made</b> · model &lt;mini&gt; · task countdown · 2 seeds · 1 base model" in shown
    assert "code of 2026-01-02 to 2026-01-05 · revision 0123456789" in shown


def test_the_overview_links_to_every_experiment(results):
    (results / "overview/summary").mkdir(parents=True)
    (results / "overview/summary/verdicts.csv").write_text("claim\n")
    assert links(header.header("overview", {"results": str(results)})) == ["../../made/report/index.html"]


def test_titles_differ():
    titles = {header.title(page, {"experiment": name}) for page in header.PAGES for name in ("a", "b")}
    assert len(titles) == 2 * len(header.PAGES)
    assert header.title("overview", {"results": "results"}) == "all experiments: overview"
