"""Reasoning: behavior in the answers of finished runs, counted at every evaluation, with intervals over seeds.

There are two sources:

* The verifier counts attempts, self-checks and admissions of defeat in the answers to *all* held-out puzzles. It reads
  equations, and the usual words and signs behind them. Runs of earlier code were read with fewer words.
* A *few* texts are kept at each evaluation. They show whether the written arithmetic is right, and how often a language
  model checks itself, starts again or admits defeat in its own words. Phrases are counted, as is usual for
  self-reflection (Liu et al. 2025, arXiv 2503.20783). Other wordings are missed.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from softmax_rewards.common.stats import mean_interval
from softmax_rewards.verdicts.finished import FinishedRun

_CHECK = re.compile(
    r"\b(?:double|re)[- ]?(?:check|verif|examin|evaluat|consider|think)|\b(?:check|verify|think) again\b"
    r"|\b(?:let(?:[’']s| me| us)|i will|i[’']ll|we can) (?:check|verify|confirm|make sure)\b|\bwait\b|\bhold on\b"
    r"|\bhmm+\b|\bon second thought\b|\bi (?:made|see) (?:a|my|the) (?:mistake|error)\b",
    re.IGNORECASE,
)
_RETRY = re.compile(
    r"\btry (?:again|another|a different|something else|other)\b|\balternatively\b|\bstart(?:ing)? over\b"
    r"|\b(?:another|a different) (?:way|approach|combination|order|option|attempt)\b|\b(?:now|next i) try\b",
    re.IGNORECASE,
)
_DEFEAT = re.compile(
    r"\bg(?:ive|ave|iving) up\b|\b(?:can ?not|can[’']t|could not|couldn[’']t|unable to) (?:find|reach|solve|get|make)\b"
    r"|\b(?:impossible|not possible|no (?:valid )?solution|no way to)\b|\bi(?: am|[’']m) stuck\b",
    re.IGNORECASE,
)

COUNTED = ("attempts", "self_checks", "gave_up", "length", "finished")  # over all puzzles
MEASURES = {
    "attempts": "equations tried per answer",
    "self_checks": "self-checks per answer",
    "gave_up": "share of answers that admit defeat",
    "length": "tokens per answer",
    "finished": "share of answers that end before the token limit",
    "arithmetic": "share of the written equations that are right",
    "says_check": "phrases of checking per answer",
    "says_retry": "phrases of starting again per answer",
    "says_defeat": "share of answers with a phrase of defeat",
}

# Completion → (equations that are right, equations written).
Arithmetic = Callable[[str], tuple[int, int]]


def count_phrases(completion: str) -> dict[str, float]:
    """Phrases in the thinking of one completion: number of checks, number of new starts, and 1 or 0 for defeat."""
    # The answer behind the thinking has a fixed form without such phrases.
    thinking = completion.partition("</think>")[0]
    return {
        "says_check": len(_CHECK.findall(thinking)),
        "says_retry": len(_RETRY.findall(thinking)),
        "says_defeat": float(_DEFEAT.search(thinking) is not None),
    }


def measure(runs: Sequence[FinishedRun], arithmetic: Arithmetic | None) -> pd.DataFrame:
    """One row per run and evaluation: ablation, seed, step, MEASURES, `texts` and `written`.

    `texts` and `written` count the answers and the equations behind the measures that are read from texts. `arithmetic`
    is the task's function; None if its answers have no equations. The measure `arithmetic` is NaN without equations.
    """
    rows = []
    for run in runs:
        texts: dict[int, list[str]] = {}
        for sample in run.samples:
            texts.setdefault(sample["step"], []).append(sample["completion"])
        for point in run.evaluations.to_dict("records"):
            rows.append(
                {
                    "ablation": run.ablation,
                    "seed": run.seed,
                    "step": int(point["step"]),
                    **{name: point[name] for name in COUNTED},
                    **_read(texts.get(point["step"], []), arithmetic),
                }
            )
    return pd.DataFrame(rows, columns=["ablation", "seed", "step", *MEASURES, "texts", "written"])


def _read(texts: Sequence[str], arithmetic: Arithmetic | None) -> dict[str, float]:
    """The measures of the texts of one evaluation."""
    phrases = [count_phrases(text) for text in texts]
    equations = [arithmetic(text) for text in texts] if arithmetic else []
    # The pair (0, 0) makes the sums 0 if there are no equations.
    right, written = (sum(counts) for counts in zip((0, 0), *equations, strict=True))
    means = {name: sum(row[name] for row in phrases) / len(phrases) for name in phrases[0]} if phrases else {}
    return means | {
        "arithmetic": right / written if written else math.nan,
        "texts": len(texts),
        "written": written,
    }


def over_seeds(measured: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds with t intervals, from `measure`: ablation, step, measure, mean, low, high, seeds."""
    rows = []
    for (ablation, step), group in measured.groupby(["ablation", "step"], sort=False):
        for name in MEASURES:
            interval = mean_interval(group[name].dropna())
            rows.append((ablation, step, name, interval.estimate, interval.low, interval.high, interval.n))
    return pd.DataFrame(rows, columns=["ablation", "step", "measure", "mean", "low", "high", "seeds"])


def annotated(sample: Mapping[str, Any], arithmetic: Arithmetic | None) -> dict[str, Any]:
    """A row of samples.jsonl. If the task has equations, `right` and `written` count those of its text."""
    if arithmetic is None:
        return dict(sample)
    right, written = arithmetic(sample["completion"])
    return {**sample, "right": right, "written": written}
