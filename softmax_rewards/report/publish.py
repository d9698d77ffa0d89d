"""Copies a report into the repository: each page once, as HTML, its main tables, and figures for other documents.

A report whose pages are published only in part has no dead links. The plan is the same in every report, so all reports
share one page of it.
"""

import base64
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from softmax_rewards.common.files import appearing

PLAN = "plan.html"
TABLES = ("verdicts.csv", "provenance.json", "comparisons.csv", "search_found.csv", "search_ranks.csv")


def publish(results: Path, docs: Path, pages: Sequence[str] = (), figures: Sequence[str] = ()) -> list[Path]:
    """Copy the report of `results` (results/<experiment>) into `docs`; returns the files written.

    Args:
        results: the folder of an experiment, or of the overview.
        docs: the folder of the documents. Pages and those of TABLES that exist go to `report/<experiment>/` in it,
            the plan to `report/`.
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
            written.append(docs / "report" / ("" if source.name == PLAN else results.name) / source.name)
            with appearing(written[-1]) as partial:
                if source.name == PLAN:
                    partial.write_text(_without_experiment(source), encoding="utf-8")
                else:
                    shutil.copyfile(source, partial)
    for page in (docs / "report" / results.name).glob("*.html"):
        with appearing(page) as partial:
            partial.write_text(_linked(page), encoding="utf-8")
    for name, image in images.items():
        written.append(docs / "figures" / f"{results.name}-{name}.png")
        with appearing(written[-1]) as partial:
            partial.write_bytes(image)
    return written


def _linked(page: Path) -> str:
    """The text of a published page, whose links lead to published pages.

    Of a link to any other page the words stay; a link of class `aside`, as in the navigation, is left out.
    """

    def link(found: re.Match) -> str:
        # A report's folder is results/<experiment>/report, a published one report/<experiment>.
        target = re.sub(r"^\.\./\.\./([^/]+)/report/", r"../\1/", found["target"])
        if target == PLAN:
            target = f"../{PLAN}"
        if (page.parent / target).exists():
            return found[0].replace(found["target"], target, 1)
        return "" if found["aside"] else found["words"]

    return re.sub(
        r'<a (?P<aside>class="aside" )?href="(?P<target>[^":#]+\.html)(?:#[^"]*)?">(?P<words>.*?)</a>',
        link,
        page.read_text(encoding="utf-8"),
    )


def _without_experiment(page: Path) -> str:
    """The text of a page without what names its experiment: the header, and that part of the title."""
    text = re.sub(r"<header>.*?</header>", "", page.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
    return re.sub(r"<title>[^:<]*: ", "<title>", text, count=1)


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
