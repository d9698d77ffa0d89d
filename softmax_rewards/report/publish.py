"""Copies a report into the repository: each page once, as HTML, its main tables, and figures for other documents."""

import base64
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from softmax_rewards.common.files import appearing

TABLES = ("verdicts.csv", "provenance.json", "comparisons.csv", "search_found.csv", "search_ranks.csv")


def publish(results: Path, docs: Path, pages: Sequence[str] = (), figures: Sequence[str] = ()) -> list[Path]:
    """Copy the report of `results` (results/<experiment>) into `docs`; returns the files written.

    Args:
        results: the folder of an experiment, or of the overview.
        docs: the folder of the documents. Pages and those of TABLES that exist go to `report/<experiment>/` in it.
        pages: the pages to copy ("index", "controls"); all if empty.
        figures: the figures to write to `figures/<experiment>-<page>-<n>.png`, named "<page>-<n>": n counts the page's
            figures from 1.

    Raises FileNotFoundError if a page or a figure is missing.
    """
    available = {page.stem: page for page in sorted((results / "report").glob("*.html"))}
    if missing := sorted({*pages, *(name.rpartition("-")[0] for name in figures)} - set(available)):
        raise FileNotFoundError(f"{results}/report: no page {' '.join(missing)}; run snakemake first")
    if not available:
        raise FileNotFoundError(f"{results}/report: no pages; run snakemake first")
    images = {name: _image(results / "report", name) for name in figures}
    written = []
    tables = [results / "summary" / name for name in TABLES]
    for source in (*(available[page] for page in pages or available), *tables):
        if source.exists():  # an overview has verdicts only
            written.append(docs / "report" / results.name / source.name)
            with appearing(written[-1]) as partial:
                shutil.copyfile(source, partial)
    for name, image in images.items():
        written.append(docs / "figures" / f"{results.name}-{name}.png")
        with appearing(written[-1]) as partial:
            partial.write_bytes(image)
    return written


def _image(report: Path, name: str) -> bytes:
    """The figure "<page>-<n>", as the page's executed notebook has it."""
    page, _, number = name.rpartition("-")
    notebook = json.loads((report / f"{page}.ipynb").read_text(encoding="utf-8"))
    images = [
        output["data"]["image/png"]
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    if not number.isdecimal() or not 1 <= int(number) <= len(images):
        raise FileNotFoundError(f"{report}/{page}.ipynb: no figure {number}; allowed: 1 to {len(images)}")
    return base64.b64decode(images[int(number) - 1])
