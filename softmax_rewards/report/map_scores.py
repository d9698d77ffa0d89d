"""The table of docs/findings.md that sets predicted orders beside those that training found, one row per experiment.

The numbers are those of the published reports, `docs/report/<experiment>/`: P4–P6 in verdicts.csv, and the toy of
search in search_ranks.csv. Experiments of the first series had no predictions.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from softmax_rewards.common import generated_section
from softmax_rewards.report import names
from softmax_rewards.verdicts.wording import signed

PAGE = "docs/findings.md"
BEGIN, END = "<!-- map: generated, see `softmax-rewards generate-docs` -->", "<!-- end of map -->"
CLAIMS = {"P4": "X: length", "P5": "ρ: early success", "P6": "tilt: pass@16"}
FIGURES = {"attempts": "toy: attempts", "formatted": "toy: format", "success": "toy: success"}


def fill(text: str, reports: Path) -> str:
    """The text of the page with the table as it should be. `reports`: the folder of the published reports."""
    return generated_section.replace(text, BEGIN, END, f"\n{table(reports)}\n")


def table(reports: Path) -> str:
    """Rank correlations with their intervals over seeds. An interval that does not contain 0 is bold."""
    headings = ["experiment", *CLAIMS.values(), *FIGURES.values()]
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    for file in sorted(reports.glob("*/search_ranks.csv")):
        folder = file.parent
        scores = _by_condition(pd.read_csv(folder / "verdicts.csv"), "claim", "effect")
        toy = _by_condition(pd.read_csv(file), "figure", "rank")
        for condition in dict.fromkeys([*scores, *toy]):
            cells = [scores.get(condition, {}).get(claim, "–") for claim in CLAIMS]
            cells += [toy.get(condition, {}).get(figure, "–") for figure in FIGURES]
            if any(cell != "–" for cell in cells):
                place = names.place(f"`{folder.name}`", condition)
                lines.append(f"| {place} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _by_condition(frame: pd.DataFrame, key: str, value: str) -> dict[str, dict[str, str]]:
    """Condition → value of `key` → "0.70 [0.50, 0.90]" of the rows that have an interval."""
    found: dict[str, dict[str, str]] = {}
    frame = frame.assign(condition=names.conditions(frame))
    for row in frame[frame[key].isin([*CLAIMS, *FIGURES]) & frame[value].notna()].to_dict("records"):
        found.setdefault(row["condition"], {})[row[key]] = _cell(row, value)
    return found


def _cell(row: Mapping, value: str) -> str:
    estimate, low, high = (signed(row[name], ".2f") for name in (value, "low", "high"))
    text = f"{estimate} [{low}, {high}]"
    return f"**{text}**" if row["low"] > 0 or row["high"] < 0 else text
