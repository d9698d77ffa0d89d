"""What is kept of a report: each page once, verdicts, provenance, and the figures asked for."""

import base64
import json
from pathlib import Path

import links
import pytest

from softmax_rewards.report.publish import publish

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def results(tmp_path):
    """An experiment with two pages; `training` has two figures."""
    folder = tmp_path / "results/made"
    (folder / "report").mkdir(parents=True)
    (folder / "summary").mkdir()
    first, second = ({"data": {"image/png": base64.b64encode(PNG + end).decode()}} for end in (b"1", b"2"))
    cells = [{"cell_type": "markdown"}, {"outputs": [{"data": {"text/plain": "x"}}, first]}, {"outputs": [second]}]
    (folder / "report/training.ipynb").write_text(json.dumps({"cells": cells}))
    for name in ("training", "index"):
        (folder / f"report/{name}.html").write_text(f"page {name}")
    (folder / "summary/verdicts.csv").write_text("claim\n")
    return folder


def listed(written, docs):
    assert all(file.is_file() for file in written)
    assert {file for file in docs.rglob("*") if file.is_file()} == set(written)
    return sorted(path.relative_to(docs).as_posix() for path in written)


def test_a_page_is_kept_once(results, tmp_path):
    (results / "summary/provenance.json").write_text("{}")
    (results / "summary/comparisons.csv").write_text("ablation\n")
    (results / "summary/curves.csv").write_text("ablation\n")  # large, and in the archive
    docs = tmp_path / "docs"
    assert listed(publish(results, docs), docs) == [
        "report/made/comparisons.csv",
        "report/made/index.html",
        "report/made/provenance.json",
        "report/made/training.html",
        "report/made/verdicts.csv",
    ]
    assert (docs / "report/made/training.html").read_text() == "page training"


def test_chosen_pages_and_figures_of_a_report_without_provenance(results, tmp_path):
    docs = tmp_path / "docs"
    written = publish(results, docs, ["index"], ["training-2"])
    assert listed(written, docs) == [
        "figures/made-training-2.png",
        "report/made/index.html",
        "report/made/verdicts.csv",
    ]
    assert (docs / "figures/made-training-2.png").read_bytes() == PNG + b"2"


@pytest.mark.parametrize(
    ("pages", "figures", "message"),
    [
        (["controls"], [], "no page controls; run snakemake first"),
        ([], ["controls-1"], "no page controls; run snakemake first"),
        ([], ["training-3"], r"training\.ipynb: no figure 3; allowed: 1 to 2"),
        ([], ["training-x"], r"training\.ipynb: no figure x; allowed: 1 to 2"),
    ],
)
def test_what_is_missing_is_refused_before_anything_is_written(results, tmp_path, pages, figures, message):
    with pytest.raises(FileNotFoundError, match=message):
        publish(results, tmp_path / "docs", pages, figures)
    assert not (tmp_path / "docs").exists()


def test_a_report_that_was_not_made_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no pages; run snakemake first"):
        publish(tmp_path / "results/made", tmp_path / "docs")


def test_links_lead_to_published_pages_only(results, tmp_path):
    to_other = "../../other/report/index.html"
    (results / "report/index.html").write_text(
        f'<a href="training.html#x">curves</a> <a href="#here">here</a> <a href="{to_other}">other</a>'
        ' <a class="aside" href="training.html">aside</a>'
    )
    docs = tmp_path / "docs"
    publish(results, docs, ["index"])
    assert (docs / "report/made/index.html").read_text() == 'curves <a href="#here">here</a> other '
    (docs / "report/other").mkdir()
    (docs / "report/other/index.html").write_text("")
    publish(results, docs)
    assert (docs / "report/made/index.html").read_text() == (
        '<a href="training.html#x">curves</a> <a href="#here">here</a> <a href="../other/index.html">other</a>'
        ' <a class="aside" href="training.html">aside</a>'
    )


def test_all_reports_share_the_plan(results, tmp_path):
    (results / "report/plan.html").write_text("<title>made: plan</title><header>model\n</header>rules")
    (results / "report/index.html").write_text('<a href="plan.html#claim-C1">C1</a>')
    docs = tmp_path / "docs"
    files = listed(publish(results, docs, ["index", "plan"]), docs)
    assert files == ["report/made/index.html", "report/made/verdicts.csv", "report/plan.html"]
    assert (docs / "report/plan.html").read_text() == "<title>plan</title>rules"
    assert (docs / "report/made/index.html").read_text() == '<a href="../plan.html#claim-C1">C1</a>'
    publish(results, docs, ["index"])
    assert (docs / "report/made/index.html").read_text() == '<a href="../plan.html#claim-C1">C1</a>'


def test_no_published_page_has_a_dead_link():
    assert not links.dead(sorted((Path(__file__).parents[2] / "docs/report").rglob("*.html")))
