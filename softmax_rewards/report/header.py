"""What stands on top of every page: which experiment it is about, and the way to the other pages."""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

PAGES = {
    "index": "answer",
    "verdicts": "verdicts",
    "training": "training",
    "controls": "controls",
    "temperature": "temperature",
    "reasoning": "samples and reasoning",
    "weight_analysis": "weights before training",
    "bandit": "bandit",
    "plan": "plan",
}
"""Page → its name in the navigation, in this order. A page has the name of its notebook."""

OVERVIEW = "../../overview/report/overview.html"


def title(page: str, parameters: Mapping[str, Any]) -> str:
    """The title of a page, different for every page of every experiment."""
    return f"{parameters.get('experiment', 'all experiments')}: {PAGES.get(page, page)}"


def header(page: str, parameters: Mapping[str, Any]) -> str:
    """The top of a page as HTML: the facts of its experiment, and the navigation. Empty for a notebook of no report.

    parameters  of the notebook: `results` and, on a page about one experiment, `experiment`
    """
    if "results" not in parameters:
        return ""
    results = Path(parameters["results"])
    if "experiment" not in parameters:
        return _header("all experiments", "", _experiments(results))
    links = {f"{name}.html": text for name, text in PAGES.items()}
    if (results / "overview").is_dir():
        links[OVERVIEW] = "all experiments"
    name = parameters["experiment"]
    return _header(name, _facts(results / name / "summary"), links, f"{page}.html")


def _header(name: str, facts: str, links: Mapping[str, str], here: str = "") -> str:
    entries = [
        f"<b>{html.escape(text)}</b>"
        if link == here
        else f'<a class="aside" href="{html.escape(link)}">{html.escape(text)}</a>'
        for link, text in links.items()
    ]
    return f"<header><p><b>{html.escape(name)}</b>{html.escape(facts)}</p><nav>{' '.join(entries)}</nav></header>"


def _facts(summary: Path) -> str:
    """Model, task, seeds, bases, and the code behind the runs."""
    verdicts = pd.read_csv(summary / "verdicts.csv")
    provenance = json.loads((summary / "provenance.json").read_text(encoding="utf-8"))
    model, task = verdicts[["model", "task"]].iloc[0]
    seeds, bases = len(provenance["seeds"]), len(provenance["base"])
    facts = [f"model {model}", f"task {task}", _count(seeds, "seed"), _count(bases, "base model")]
    if dates := provenance.get("dates"):
        facts.append(f"trained with code of {' to '.join(sorted({dates[0], dates[-1]}))}")
    revisions = [str(revision)[:10] for revision in provenance["revision"] if revision]
    if revisions:
        facts.append(f"revision {revisions[0]}" if len(revisions) == 1 else f"{len(revisions)} revisions")
    return "".join(f" · {fact}" for fact in facts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _experiments(results: Path) -> dict[str, str]:
    """The first page of every experiment whose verdicts are known."""
    names = sorted(file.parents[1].name for file in results.glob("*/summary/verdicts.csv"))
    return {f"../../{name}/report/index.html": name for name in names if name != "overview"}
