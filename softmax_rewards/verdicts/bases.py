"""Bases: the base models of an experiment's runs, each evaluated once, and the checks that a base has to pass.

A claim about search is judged only if the base model can search: it recognizes a right value, seldom takes a wrong one
for right, and finds more with more attempts. Runs of the first series have no evaluation of their base model. Then
nothing is checked, and the base's success is the one measured at the run's step 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from softmax_rewards.common import files
from softmax_rewards.config import base_settings
from softmax_rewards.config.run import Run
from softmax_rewards.verdicts.finished import FinishedRun

RECOGNIZED = 0.9  # least share of the attempts that hit which the text calls right
MISTAKEN = 0.05  # the share of the attempts that miss which the text calls right stays below
ERRORS = 2.0  # standard errors by which later attempts must add to success

FIGURES: tuple[str, ...] = (
    "puzzles",
    "samples",
    "success",
    "success_error",
    "greedy",
    "pass@1",
    "pass@4",
    "pass@16",
    "distinct",
)
FIGURES += ("formatted", "finished", "gave_up", "length", "format_length_correlation")
CHECKED = ["base", "check", "measured", "wanted", "passed"]
ATTEMPTS = ["base", "attempt", "reached", "hit", "goes_on", "right"]


def read(evaluations: Iterable[Path]) -> list[dict[str, Any]]:
    """The evaluations in these files. Raises ValueError, which names a file that cannot be read."""
    return [files.read_json(file) for file in evaluations]


def find(record: Mapping[str, Any], evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The evaluation of the base model of the run with this `record` (run.json); None if it is not among them."""
    if not evaluations:
        return None
    settings = base_settings.of(Run.from_dict(record["config"]))
    for evaluation in evaluations:
        if evaluation["settings"] == settings and all(evaluation[key] == record[key] for key in ("base", "data")):
            return dict(evaluation)
    return None


def distinct(runs: Sequence[FinishedRun]) -> list[dict[str, Any]]:
    """The evaluations of the runs' base models, each once, by name."""
    named = {run.base["name"]: run.base for run in runs if run.base}
    return [named[name] for name in sorted(named)]


def table(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """One row per base model: its name, the number of runs that start from it, and its figures."""
    rows = [
        {"base": base["name"], "runs": sum(run.base is not None and run.base["name"] == base["name"] for run in runs)}
        | {name: base[name] for name in FIGURES}
        for base in distinct(runs)
    ]
    return pd.DataFrame(rows, columns=["base", "runs", *FIGURES])


def attempts(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """One row per base model and number of attempts m; `right` is success if answers are cut behind m attempts."""
    rows = [
        {"base": base["name"]} | row
        for base in distinct(runs)
        if base["search"]
        for row in base["search"]["by_attempt"]
    ]
    return pd.DataFrame(rows, columns=ATTEMPTS)


def checks(runs: Sequence[FinishedRun]) -> pd.DataFrame:
    """One row per base model and check. `passed` is "yes", "no", or "–" for what is only reported."""
    rows = [{"base": base["name"], **row} for base in distinct(runs) for row in _checks(base)]
    return pd.DataFrame(rows, columns=CHECKED)


def unable(runs: Sequence[FinishedRun]) -> str:
    """Which checks of search the base models fail, in words. Empty if they pass, or if nothing was checked."""
    checked = checks(runs)
    failed = checked[checked["passed"] == "no"]
    return "; ".join(f"{row['check']}: {row['measured']}, wanted {row['wanted']}" for row in failed.to_dict("records"))


def _checks(base: Mapping[str, Any]) -> list[dict[str, str]]:
    correlation = base["format_length_correlation"]
    only = {"check": "correlation of format and length", "wanted": "–", "passed": "–"}
    reported = only | {
        "measured": "not applicable: format or length is constant" if correlation is None else f"{correlation:+.2f}"
    }
    search = base["search"]
    if not search:
        missing = {"check": "search", "measured": "not applicable: this task has no attempts", "wanted": "–"}
        return [missing | {"passed": "–"}, reported]
    shares = [
        ("calls a right value right", "hits", f"above {100 * RECOGNIZED:g} %", lambda share: share > RECOGNIZED),
        ("calls a wrong value right", "misses", f"below {100 * MISTAKEN:g} %", lambda share: share < MISTAKEN),
    ]
    rows = []
    for check, kind, wanted, passes in shares:
        count, yes = search[kind], search[f"{kind}_yes"]
        measured = f"{100 * yes / count:.1f} % ({yes} of {count})" if count else "no such attempt"
        rows.append(
            {"check": check, "measured": measured, "wanted": wanted, "passed": _yes(count and passes(yes / count))}
        )
    curve = ", ".join(f"{100 * row['right']:.1f}" for row in search["by_attempt"][:6])
    gain, error = search["gain"], search["gain_error"]
    rows.append(
        {
            "check": "success grows with the attempts allowed",
            "measured": f"{curve} % with 1, 2, … attempts; {100 * gain:+.1f} points over first attempts alone",
            "wanted": f"a gain above {ERRORS:g} standard errors ({100 * ERRORS * error:.1f} points)",
            "passed": _yes(gain > ERRORS * error),
        }
    )
    return [*rows, reported]


def _yes(passed: Any) -> str:
    return "yes" if passed else "no"
