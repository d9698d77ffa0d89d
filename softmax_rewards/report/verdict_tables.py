"""The table of docs/verdicts.md: every claim with its verdicts in the first and in the second series of runs.

The verdicts are those of the published reports, `docs/report/<experiment>/verdicts.csv`. Each series was judged by its
own analysis plan. The second one has four outcomes; a table of the first one lacks the column `outcome`.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from softmax_rewards.common import generated_section
from softmax_rewards.report import names
from softmax_rewards.verdicts.plan import CLAIMS
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED, signed

PAGE = "docs/verdicts.md"
BEGIN, END = "<!-- verdicts: generated, see `softmax-rewards generate-docs` -->", "<!-- end of verdicts -->"
WORDS = {SUPPORTED: "**yes**", CONTRADICTED: "**no**", UNRESOLVED: "open"}
SHORT = re.compile(r"^countdown-mini-?")  # what most names of experiments begin with
UNTESTED = "Not tested"


def fill(text: str, reports: Path) -> str:
    """The text of the page with the table as it should be. `reports`: the folder of the published reports."""
    return generated_section.replace(text, BEGIN, END, f"\n{table(_read(reports))}\n")


def table(verdicts: pd.DataFrame) -> str:
    """One row per claim that was tested. `verdicts`: rows of verdicts.csv, and `series`, 1 or 2."""
    lines = ["| claim | first series | second series |", "|---|---|---|"]
    tested = verdicts[~verdicts["sentence"].str.startswith(UNTESTED) & (verdicts["seeds"] > 0)]
    for claim in CLAIMS:
        rows = tested[tested["claim"] == claim.id]
        if len(rows):
            cells = ["<br>".join(map(_verdict, _rows(rows, series))) or "–" for series in (1, 2)]
            lines.append(f"| **{claim.id}** {claim.statement} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _rows(rows: pd.DataFrame, series: int) -> Iterable[dict[str, object]]:
    rows = rows.assign(condition=names.conditions(rows))
    return rows[rows["series"] == series].to_dict("records")


def _verdict(row: dict) -> str:
    """One verdict in a line: "`trap`: **yes** +3.6 [+2.0, +5.2], ratio 1.72, 5 seeds".

    A claim without a measured effect, such as that of a maximum which is not there, has no number.
    """
    name = SHORT.sub("", row["experiment"]) or row["experiment"]
    where = ", ".join(filter(None, (name, row["condition"])))
    low, high = _number(row["low"], row["unit"]), _number(row["high"], row["unit"])
    interval = f" [{low}, {high}]" if row["low"] == row["low"] else ""
    ratio = f", ratio {row['ratio']:.2f}" if row["ratio"] == row["ratio"] else ""
    level = " (equivalent)" if row["outcome"] == "equivalent" else ""
    effect = f" {_number(row['effect'], row['unit'])}" if row["effect"] == row["effect"] else ""
    return f"`{where}`: {WORDS[row['verdict']]}{level}{effect}{interval}{ratio}, {row['seeds']:.0f} seeds"


def _number(value: float, unit: object) -> str:
    """Points with one decimal, other units with three digits; both with a sign."""
    return signed(value) if unit == "points" else signed(value, "+.3g")


def _read(reports: Path) -> pd.DataFrame:
    """The verdicts of all published experiments. What the first series did not record is missing."""
    tables = []
    for file in sorted(reports.glob("*/verdicts.csv")):
        if file.parent.name != "overview":
            found = pd.read_csv(file)
            tables.append(found.assign(series=2 if "outcome" in found else 1))
    joined = pd.concat(tables, ignore_index=True)
    return joined.reindex(columns=joined.columns.union(["condition", "outcome", "ratio"]))
