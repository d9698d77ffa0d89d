"""What is kept of a report: notebooks, pages, verdicts and figures."""

import base64
import json

import pytest

from softmax_rewards.report.publish import publish

PNG = b"\x89PNG\r\n\x1a\n"


def test_the_report_is_copied_and_its_figures_become_files(tmp_path):
    results, docs = tmp_path / "results", tmp_path / "docs"
    with pytest.raises(FileNotFoundError, match="run snakemake first"):
        publish(results, docs)
    (results / "report").mkdir(parents=True)
    (results / "summary").mkdir()
    image = {"data": {"image/png": base64.b64encode(PNG).decode()}}
    cells = [{"cell_type": "markdown"}, {"outputs": [{"data": {"text/plain": "x"}}, image]}, {"outputs": [image]}]
    (results / "report/training.ipynb").write_text(json.dumps({"cells": cells}))
    (results / "report/training.html").write_text("page")
    (results / "summary/verdicts.csv").write_text("claim\n")
    (results / "summary/provenance.json").write_text("{}")
    written = {path.relative_to(docs).as_posix() for path in publish(results, docs)}
    assert written == {
        "training.ipynb",
        "training.html",
        "verdicts.csv",
        "provenance.json",
        "figures/training-1.png",
        "figures/training-2.png",
    }
    assert (docs / "figures/training-2.png").read_bytes() == PNG
    assert (docs / "training.html").read_text() == "page"


def test_chosen_pages_and_a_report_without_provenance(tmp_path):
    for name in ("overview", "training"):
        (tmp_path / "report").mkdir(exist_ok=True)
        (tmp_path / f"report/{name}.ipynb").write_text(json.dumps({"cells": []}))
        (tmp_path / f"report/{name}.html").write_text("page")
    (tmp_path / "summary").mkdir()
    (tmp_path / "summary/verdicts.csv").write_text("claim\n")
    written = publish(tmp_path, tmp_path / "docs", ["overview"])
    assert {path.name for path in written} == {"overview.ipynb", "overview.html", "verdicts.csv"}
    with pytest.raises(FileNotFoundError, match="no executed notebook controls"):
        publish(tmp_path, tmp_path / "docs", ["controls"])
