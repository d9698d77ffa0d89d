"""Three lists of claims on the first page: supported, contradicted, open. Each leads to its rule and its figure."""

import html
import re

import pandas as pd
from IPython.display import HTML

from softmax_rewards.report import names
from softmax_rewards.report.plan_page import anchor
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED, clause

LISTS = {SUPPORTED: "Supported", CONTRADICTED: "Contradicted", UNRESOLVED: "Open"}
FIGURES = (
    (r"gate", "verdicts.html#The-gate"),
    (r"C3", "training.html#Success-at-equal-steps"),
    (r"P[456]", "training.html#Did-the-map-say-so?"),
    (r"P8", "temperature.html"),
    (r"C1 pass@16", "training.html#Does-concentrating-cost-diversity?"),
    (r"C1 best rates", "controls.html#Learning-rates-and-the-law-of-gains"),
    (r"C[6]|P2", "temperature.html"),
    (r"C[789]|M3", "training.html#What-the-update-saw"),
    (r"C10", "reasoning.html#Behaviors-over-training"),
    (r"", "training.html#Differences-from-the-baseline"),
)
"""Pattern of a claim's name → where its figure is; the first that matches counts."""


def lists(verdicts: pd.DataFrame) -> HTML:
    """The claims of verdicts.csv that were tested, and in one line the others."""
    verdicts = verdicts.assign(condition=names.conditions(verdicts))
    tested = verdicts[verdicts["seeds"] > 0]
    parts = []
    for verdict, heading in LISTS.items():
        rows = tested[tested["verdict"] == verdict]
        items = "".join(f"<li>{_claim(row)}</li>" for row in rows.to_dict("records"))
        parts.append(f'<h3 id="{heading}">{heading}: {len(rows)}</h3>' + (f"<ul>{items}</ul>" if items else ""))
    others = verdicts.loc[~verdicts["claim"].isin(tested["claim"]), "claim"].unique()
    if len(others):
        parts.append(f"<p>Not tested in this experiment: {html.escape('; '.join(others))}.</p>")
    return HTML("\n".join(parts))


def _claim(row: dict) -> str:
    return (
        f'<a href="plan.html#{anchor(row["claim"])}">{html.escape(row["claim"])}</a>'
        f"{html.escape(names.place('', row['condition']))}: "
        f'{html.escape(_found(row))} <a class="aside" href="{figure(row["claim"])}">figure</a>'
    )


def _found(row: dict) -> str:
    """What was found. Beside a contradicted claim it would read like the claim, so the claim stands first."""
    found = clause(row["plain"])
    return f"Claimed: {row['statement']}. Found: {found}" if row["verdict"] == CONTRADICTED else found


def figure(claim: str) -> str:
    """The page and section with the figure of a claim."""
    return next(target for pattern, target in FIGURES if re.match(pattern, claim))
