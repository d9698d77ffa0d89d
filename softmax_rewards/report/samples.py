"""What the models write: answers of a few ablations to the same puzzles, at the same step, as readable text."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from IPython.display import HTML

from softmax_rewards.report.names import described

PREFERRED = ("softmax τ=0.5", "dr grpo", "softmax centered τ=0.5", "softmax τ=1.0")
SHOWN = 4


def chosen(ablations: pd.DataFrame, baseline: str) -> list[str]:
    """At most `SHOWN` ablations to read: the baseline, then those of PREFERRED, then planned ones.

    ablations  as ablations.csv, of one condition
    """
    members = ablations[ablations["setting"].isna() & (ablations["baseline"] == baseline)]
    order = members["weighting"].map(lambda name: PREFERRED.index(name) if name in PREFERRED else len(PREFERRED))
    ranked = members.assign(order=order).sort_values(["order", "planned"], ascending=[True, False], kind="stable")
    others = [name for name in ranked["ablation"] if name != baseline]
    return [baseline, *others][:SHOWN]


def cards(
    frame: pd.DataFrame, ablations: pd.DataFrame, names: Sequence[str], puzzles: int = 4, title: str = ""
) -> HTML:
    """One block per puzzle (the first `puzzles`), in it one card per ablation of `names`.

    `frame`: ablation, seed, step, puzzle, prompt, completion, correct, of one step. If the task has equations, `right`
    and `written` count them. `title` stands on the cards instead of an ablation's name. A model wrote the text, so it
    is escaped; its line breaks are kept.
    """
    frame = frame[frame["ablation"].isin(names)]
    if frame.empty:
        return HTML("<p><em>No samples were recorded.</em></p>")
    called = described(names, ablations)
    blocks = [f"<p>After step {frame['step'].iloc[0]}, seed {frame['seed'].iloc[0]}.</p>"]
    for _, group in list(frame.groupby("puzzle"))[:puzzles]:
        rows = {row["ablation"]: row for row in group.to_dict("records")}
        shown = "".join(_card(title or called[name].label, rows[name]) for name in names if name in rows)
        prompt = html.escape(group["prompt"].iloc[0])
        blocks.append(f'<section class="puzzle"><pre class="prompt">{prompt}</pre><div>{shown}</div></section>')
    return HTML("\n".join(blocks))


def _card(name: str, row: Mapping[str, Any]) -> str:
    style, mark = ("supported", "✓ right") if row["correct"] else ("contradicted", "✗ wrong")
    equations = f", {row['right']} of {row['written']} equations hold" if row.get("written") else ""
    return (
        f"<article><p><b>{html.escape(name)}</b><br>"
        f'<span class="{style}">{mark}</span>{equations}</p><pre>{html.escape(row["completion"])}</pre></article>'
    )
