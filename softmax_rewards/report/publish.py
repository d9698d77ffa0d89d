"""A report kept with the repository: executed notebooks, their pages, and the figures as files."""

import base64
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from softmax_rewards.common.files import appearing


def publish(results: Path, docs: Path, names: Sequence[str] = ()) -> list[Path]:
    """Copy the report of `results` (results/<experiment>) into `docs`; returns the files written.

    names  the pages to copy ("index", "controls"); all if empty
    Beside the notebooks, pages, verdicts and, of an experiment, provenance go the figures:
    `figures/<notebook>-<n>.png`, n from 1 in the order of the notebook. Raises FileNotFoundError if a page is missing.
    """
    pages = sorted((results / "report").glob("*.ipynb"))
    missing = set(names) - {page.stem for page in pages}
    if missing or not pages:
        raise FileNotFoundError(
            f"{results}/report: no executed notebook {' '.join(sorted(missing))}; run snakemake first"
        )
    pages = [page for page in pages if not names or page.stem in names]
    written = []
    for source in [*pages, *(page.with_suffix(".html") for page in pages)]:
        written.append(_copy(source, docs / source.name))
    for source in (results / "summary" / "verdicts.csv", results / "summary" / "provenance.json"):
        if source.exists():  # an overview has the provenance of its experiments
            written.append(_copy(source, docs / source.name))
    for page in pages:
        cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
        images = [
            output["data"]["image/png"]
            for cell in cells
            for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})
        ]
        for number, image in enumerate(images, 1):
            written.append(docs / "figures" / f"{page.stem}-{number}.png")
            with appearing(written[-1]) as partial:
                partial.write_bytes(base64.b64decode(image))
    return written


def _copy(source: Path, target: Path) -> Path:
    with appearing(target) as partial:
        shutil.copyfile(source, partial)
    return target
