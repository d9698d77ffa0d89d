"""Verdicts: the claims of `claims.py`, judged by the rules of `rules.py` on an experiment's evidence.

The first row, `gate`, says whether the baseline learned. If it did not, no claim with `gated` is resolved, whatever it
compares. A claim whose ablations were not trained is not resolved either, and its row has 0 seeds. `effect`, `low` and
`high` are in `unit`; points are percentage points. `sentence` gives every number behind a verdict. `plain` explains the
verdict to a newcomer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from softmax_rewards.verdicts import wording
from softmax_rewards.verdicts.evidence import BASE, LINEAR, Contrast, Evidence, Untested
from softmax_rewards.verdicts.rules import Rule, every
from softmax_rewards.verdicts.wording import SUPPORTED, UNRESOLVED, Words

COLUMNS = ["claim", "statement", "verdict", "plain", "effect", "low", "high", "unit", "seeds"]
COLUMNS += ["experiment", "model", "task", "sentence"]


@dataclass(frozen=True)
class Claim:
    """A claim, its rule, and its outcomes in plain words."""

    id: str
    statement: str
    rule: Rule
    plain: Words
    gated: bool = True  # the claim can be resolved only if the baseline learned
    search: bool = False  # the claim can be resolved only if the base model can search


GATE = Claim(
    "gate",
    "The linear baseline learned",
    every(Contrast(LINEAR, BASE, "final", tolerant=False)),
    Words(
        "GRPO against its own base model",
        "Training with GRPO made the model better{size}",
        "Training with GRPO made the model worse{size}",
    ),
    gated=False,
)


def judge(claims: Iterable[Claim], evidence: Evidence, experiment: str, model: str, task: str) -> pd.DataFrame:
    """One row per claim, columns COLUMNS: first the gate, then `claims` in their order."""
    closed = _closed(evidence)
    subject = {"experiment": experiment, "model": model, "task": task}
    rows = []
    for claim in (GATE, *claims):
        row = {"claim": claim.id, "statement": claim.statement} | subject
        rows.append(row | _row(claim, evidence, closed, f"{model} on {task}"))
    return pd.DataFrame(rows, columns=COLUMNS)


def _closed(evidence: Evidence) -> str:
    """Why the gate is closed, in words. Empty if the baseline learned."""
    try:
        learned = GATE.rule(evidence)
    except Untested as missing:
        return f"this experiment lacks {missing}"
    return "" if learned.verdict == SUPPORTED else learned.sentence


def _row(claim: Claim, evidence: Evidence, closed: str, subject: str) -> dict[str, Any]:
    """The columns of `judge` that hold the result. `closed` is the reason from `_closed`."""
    try:
        finding = claim.rule(evidence)
    except Untested as missing:
        sentence = f"Not tested in this experiment: needs {missing}."
        return {"verdict": UNRESOLVED, "plain": wording.UNTESTED, "seeds": 0, "sentence": sentence}
    verdict, sentence = finding.verdict, finding.sentence
    plain = wording.plain(claim.plain, verdict, finding.interval, finding.measure, finding.close)
    if claim.gated and closed:
        # The measured difference stays in the row. Only the verdict is withheld.
        verdict, sentence = UNRESOLVED, f"the baseline did not learn, so nothing is compared ({closed})"
        plain = wording.CLOSED
    if claim.search and evidence.unable:
        verdict, sentence = UNRESOLVED, f"the base model cannot search, so this cannot be judged ({evidence.unable})"
        plain = wording.UNABLE
    estimate, low, high = (finding.measure.scale * x for x in finding.interval[:3])
    return {
        "verdict": verdict,
        "plain": plain,
        "effect": estimate,
        "low": low,
        "high": high,
        "unit": finding.measure.unit,
        "seeds": finding.interval.n,
        "sentence": f"{subject}: {sentence}.",
    }


def overview(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The verdicts of several experiments in one table, sorted by claim: one row per experiment that tested the claim.

    If no experiment tested a claim, the table has the row of the first one. Its sentence says what is missing.
    """
    every_row = pd.concat(tables, ignore_index=True)
    tested = every_row["seeds"] > 0
    untested = ~every_row["claim"].isin(every_row.loc[tested, "claim"]) & ~every_row.duplicated("claim")
    order = {claim: position for position, claim in enumerate(every_row["claim"].unique())}
    # A stable sort keeps the experiments of a claim in the order of `tables`.
    return every_row[tested | untested].sort_values("claim", key=lambda ids: ids.map(order), kind="stable")
