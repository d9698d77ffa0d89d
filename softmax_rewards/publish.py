"""A report kept with the repository: executed notebooks, their pages, and the figures as files."""

import base64
import json
import shutil
from pathlib import Path

from softmax_rewards.files import appearing


def publish(results: Path, docs: Path) -> list[Path]:
    """Copy the report of `results` (results/<experiment>) into `docs`; returns the files written.

    Beside the notebooks, pages, verdicts and provenance go the figures: `figures/<notebook>-<n>.png`, n from 1 in
    the order of the notebook. Raises FileNotFoundError if the report is not there.
    """
    pages = sorted((results / "report").glob("*.ipynb"))
    if not pages:
        raise FileNotFoundError(f"{results}/report: no executed notebook; run snakemake first")
    written = []
    for source in [*pages, *(page.with_suffix(".html") for page in pages)]:
        written.append(_copy(source, docs / source.name))
    for name in ("verdicts.csv", "provenance.json"):
        written.append(_copy(results / "summary" / name, docs / name))
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
