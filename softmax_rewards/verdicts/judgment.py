"""Verdicts: claims (`claims.py` lists them) judged by their rules (`rules.py`) on what an experiment found.

The first row, `gate`, says whether the baseline learned: if not, every comparison with it is not resolved. A
claim whose ablations were not trained is not resolved either. `effect`, `low` and `high` are in `unit`; points are
percentage points. `sentence` gives every figure behind a verdict, `plain` says it to a newcomer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from softmax_rewards.verdicts import wording
from softmax_rewards.verdicts.evidence import BASE, LINEAR, Contrast, Evidence, Untested
from softmax_rewards.verdicts.rules import Rule, every
from softmax_rewards.verdicts.wording import SUPPORTED, UNRESOLVED

COLUMNS = ["claim", "statement", "verdict", "plain", "effect", "low", "high", "unit", "seeds"]
COLUMNS += ["experiment", "model", "task", "sentence"]


@dataclass(frozen=True)
class Claim:
    """A claim, its rule, and what it says in plain words (`wording.plain`)."""

    id: str
    statement: str
    rule: Rule
    plain: str
    gated: bool = True  # whether it means nothing unless the baseline learned


GATE = Claim(
    "gate",
    "The linear baseline learned",
    every(Contrast(LINEAR, BASE, "final", tolerant=False)),
    "training with the usual weights (GRPO's z-score) makes the model better{size}",
    gated=False,
)


def judge(claims: Iterable[Claim], evidence: Evidence, experiment: str, model: str, task: str) -> pd.DataFrame:
    """One row per claim, columns COLUMNS: first the gate, then `claims` in their order."""
    try:
        learned = GATE.rule(evidence)
        closed = None if learned.verdict == SUPPORTED else learned.sentence
    except Untested as missing:
        closed = f"this experiment lacks {missing}"
    rows = []
    for claim in (GATE, *claims):
        row = {"claim": claim.id, "statement": claim.statement}
        row |= {"experiment": experiment, "model": model, "task": task}
        try:
            finding = claim.rule(evidence)
        except Untested as missing:
            sentence = f"Not tested in this experiment: needs {missing}."
            row |= {"verdict": UNRESOLVED, "plain": wording.untried(claim.plain)}
            rows.append(row | {"seeds": 0, "sentence": sentence})
            continue
        verdict, sentence = finding.verdict, finding.sentence
        plain = wording.plain(claim.plain, verdict, finding.interval.estimate)
        if claim.gated and closed:
            verdict, sentence = UNRESOLVED, f"the baseline did not learn, so nothing is compared ({closed})"
            plain = wording.CLOSED
        estimate, low, high = (finding.measure.scale * x for x in finding.interval[:3])
        row |= {"effect": estimate, "low": low, "high": high, "unit": finding.measure.unit}
        row |= {
            "seeds": finding.interval.n,
            "verdict": verdict,
            "plain": plain,
            "sentence": f"{model} on {task}: {sentence}.",
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def overview(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The verdicts of several experiments, claim by claim; only experiments that tested the claim.

    A claim that none of them tested keeps the row of the first, whose sentence says what it needs.
    """
    every_row = pd.concat(tables, ignore_index=True)
    tested = every_row["seeds"] > 0
    untested = ~every_row["claim"].isin(every_row.loc[tested, "claim"]) & ~every_row.duplicated("claim")
    order = {claim: position for position, claim in enumerate(every_row["claim"].unique())}
    return every_row[tested | untested].sort_values("claim", key=lambda ids: ids.map(order), kind="stable")
