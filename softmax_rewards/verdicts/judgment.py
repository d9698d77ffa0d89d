"""Verdicts: claims, judged by their rules on an experiment's evidence.

The first row, `gate`, says whether training worked: whether the baseline or a planned ablation became better than the
base model. If none did, no claim with `gated` is resolved, whatever it compares. A claim whose ablations were not
trained is not resolved either, and its row has 0 seeds. `effect`, `low` and `high` are in `unit`; points are percentage
points. `ratio` is the gain of the ablation over that of the other side, with Fieller's limits. `sentence` gives every
number behind a verdict. `plain` explains the verdict to a newcomer.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from softmax_rewards.common import stats
from softmax_rewards.verdicts import wording
from softmax_rewards.verdicts.evidence import Evidence, Untested
from softmax_rewards.verdicts.rules import Rule, learned
from softmax_rewards.verdicts.wording import SUPPORTED, UNRESOLVED, Words

COLUMNS = ["claim", "statement", "verdict", "outcome", "plain", "effect", "low", "high", "unit", "p"]
COLUMNS += ["ratio", "ratio_low", "ratio_high", "seeds", "experiment", "condition", "model", "task", "sentence"]


@dataclass(frozen=True)
class Claim:
    """A claim, its rule, and its outcomes in plain words."""

    id: str
    statement: str
    rule: Rule
    plain: Words
    gated: bool = True  # the claim can be resolved only if a planned ablation learned
    search: bool = False  # the claim can be resolved only if the base model can search


GATE = Claim(
    "gate",
    "The baseline or a planned ablation learned",
    learned(),
    Words(
        "The planned weightings against the base model",
        "Training made the model better than it was before{size}",
        "Training made the model worse than it was before, whatever the weighting{size}",
    ),
    gated=False,
)


def judge(claims: Iterable[Claim], evidence: Evidence, experiment: str, model: str, task: str) -> pd.DataFrame:
    """One row per claim, columns COLUMNS: first the gate, then `claims` in their order."""
    closed = _closed(evidence)
    subject = {"experiment": experiment, "condition": evidence.condition, "model": model, "task": task}
    where = f"{model} on {task}" + (f" ({evidence.condition})" if evidence.condition else "")
    rows = []
    for claim in (GATE, *claims):
        row = {"claim": claim.id, "statement": claim.statement} | subject
        rows.append(row | _row(claim, evidence, closed, where))
    return pd.DataFrame(rows, columns=COLUMNS)


def _closed(evidence: Evidence) -> str:
    """Why the gate is closed, in words. Empty if a planned ablation learned."""
    try:
        finding = GATE.rule(evidence)
    except Untested as missing:
        return f"this needs {missing}"
    return "" if finding.verdict == SUPPORTED else finding.sentence


def _row(claim: Claim, evidence: Evidence, closed: str, subject: str) -> dict[str, Any]:
    """The columns of `judge` that hold the result. `closed` is the reason from `_closed`."""
    try:
        finding = claim.rule(evidence)
    except Untested as missing:
        sentence = f"Not tested in this experiment: needs {missing}."
        return {
            "verdict": UNRESOLVED,
            "outcome": UNRESOLVED,
            "plain": wording.UNTESTED,
            "seeds": 0,
            "sentence": sentence,
        }
    verdict, outcome, sentence = finding.verdict, finding.outcome, finding.sentence
    plain = wording.plain(claim.plain, verdict, finding.interval, finding.measure, finding.close)
    if claim.gated and closed:
        # The measured difference stays in the row. Only the verdict is withheld.
        verdict, outcome = UNRESOLVED, UNRESOLVED
        sentence = f"no planned ablation learned, so nothing is compared ({closed})"
        plain = wording.CLOSED
    if claim.search and evidence.unable:
        verdict, outcome = UNRESOLVED, UNRESOLVED
        sentence = f"the base model cannot search, so this cannot be judged ({evidence.unable})"
        plain = wording.UNABLE
    estimate, low, high = (finding.measure.scale * x for x in finding.interval[:3])
    ratio = finding.ratio[:3] if finding.ratio else (math.nan,) * 3
    return {
        "verdict": verdict,
        "outcome": outcome or verdict,
        "plain": plain,
        "effect": estimate,
        "low": low,
        "high": high,
        "unit": finding.measure.unit,
        "p": finding.interval.p,
        **dict(zip(("ratio", "ratio_low", "ratio_high"), ratio, strict=True)),
        "seeds": finding.interval.n,
        "sentence": f"{subject}: {sentence}.",
    }


def overview(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The verdicts of several experiments in one table, sorted by claim: one row per experiment that tested the claim.

    If no experiment tested a claim, the table has the row of the first one. Its sentence says what is missing. Column
    `q` is p, adjusted for the false discovery rate over all rows of the table: of the rows with q < 0.05, at most 5 %
    are expected to be chance. Many claims share runs, so their errors are correlated, mostly positively.
    """
    every_row = pd.concat(tables, ignore_index=True)
    tested = every_row["seeds"] > 0
    untested = ~every_row["claim"].isin(every_row.loc[tested, "claim"]) & ~every_row.duplicated("claim")
    order = {claim: position for position, claim in enumerate(every_row["claim"].unique())}
    # A stable sort keeps the experiments of a claim in the order of `tables`.
    rows = every_row[tested | untested].sort_values("claim", key=lambda ids: ids.map(order), kind="stable")
    return rows.assign(q=stats.false_discovery(rows["p"]))
