"""What is kept of a report: notebooks, pages, verdicts and figures."""

import base64
import json

import pytest

from softmax_rewards.publish import publish

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
