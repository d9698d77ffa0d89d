"""The section on base models: what each could do before training, and whether it can search."""

from pathlib import Path

import pandas as pd
from IPython.display import HTML

from softmax_rewards.report import display

_FIGURES = "Each base model was evaluated once, with several answers to every held-out puzzle. <em>Error</em> is the "
_FIGURES += (
    "standard error of its success for these puzzles, in percentage points. Success is compared with this number. "
    "<em>Greedy</em>, pass@k and <em>distinct</em> are of the first <code>pass_puzzles</code> puzzles only."
)
_CHECKS = "A claim about search is judged only if its base model passes these checks. They count the attempts in the "
_CHECKS += "sampled answers: the values that the model wrote, and whether it called them right."
_ATTEMPTS = (
    "The <em>m</em>-th attempts: the share of answers that have one, the share of these attempts that hit the right "
)
_ATTEMPTS += (
    "value, the share of the misses behind which the search goes on, and success if answers were cut behind them."
)


def section(summary: Path) -> HTML | None:
    """The tables of an experiment's `summary`; None if its base models were not evaluated."""
    bases = pd.read_csv(summary / "bases.csv")
    if bases.empty:
        return None
    shares = ("success", "greedy", "pass@1", "pass@4", "pass@16", "formatted", "finished", "gave_up")
    figures = bases.drop(columns=["format_length_correlation", "runs"]).assign(
        success_error=100 * bases["success_error"]
    )
    formats = dict.fromkeys(shares, ".1%") | {"success_error": ".2f", "length": ".1f", "distinct": ".2f"}
    checks = pd.read_csv(summary / "base_checks.csv")
    attempts = pd.read_csv(summary / "base_attempts.csv")
    parts = [
        "<h2>The base model</h2>",
        f"<p>{_FIGURES}</p>",
        display.table(figures, formats, {"success_error": "error"}).data,
        f"<p>{_CHECKS}</p>",
        display.table(checks, headings={"passed": "pass"}).data,
    ]
    if not attempts.empty:
        rates = dict.fromkeys(("reached", "hit", "goes_on", "right"), ".1%")
        parts += [f"<p>{_ATTEMPTS}</p>", display.table(attempts, rates, {"attempt": "m", "right": "success"}).data]
    return HTML("\n".join(parts))
