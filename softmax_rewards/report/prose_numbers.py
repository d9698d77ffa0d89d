"""Numbers in prose that come from the archive: each stands in front of a comment that says what it is.

    RAFT is ahead of Dr. GRPO by 0.4 [−0.4, 1.2]<!-- trap-short: raft minus dr-grpo, final -->

The comment, which no reader sees, names an experiment of the archive (without "countdown-mini-"), and a measurement:

    raft, final             an ablation's mean over seeds; a column of the measures, or else success over training
    raft minus dr-grpo      the difference of two, paired by seed; `base` is the base model
    claim P4, room          the effect of a claim, in a condition if the experiment has several
    raft minus dr-grpo      behind "slips against slips-unpaid:", how much larger that difference is in the first
    toy attempts            the rank correlation of what the toy of search predicted with what was found

`fill` writes the number and its 95 % interval again, with the signs and decimals that it finds.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from softmax_rewards.common.stats import Interval, mean_interval
from softmax_rewards.report import names
from softmax_rewards.verdicts import paired
from softmax_rewards.verdicts.evidence import ENDPOINTS, Evidence
from softmax_rewards.verdicts.wording import signed

FAMILY, OTHERS = "countdown-mini", "multiplication"
_NUMBER = r"[+−]?\d*\.?\d+"
_MARKED = re.compile(
    rf"(?P<number>{_NUMBER})(?P<unit>(?: %| points| tokens| nats per token)?)"
    rf"(?P<interval>\s*\[(?P<low>{_NUMBER}),\s+(?P<high>{_NUMBER})\])?"
    r"(?P<marker><!-- (?P<experiment>[\w.-]*)(?: against (?P<other>[\w.-]+))?: (?P<measured>[^>]*) -->)"
)
_PUBLISHED = re.compile(r"(?P<table>claim|toy) (?P<key>[^,]+)(?:, (?P<condition>\w+))?")
_MEASURED = re.compile(r"(?P<first>[\w.-]+)(?: minus (?P<second>[\w.-]+))?(?:, (?P<column>\S+))?")
_TABLES = {"claim": ("verdicts.csv", "claim", "effect"), "toy": ("search_ranks.csv", "figure", "rank")}


class Archive(NamedTuple):
    """Where numbers come from.

    evidence  name of an experiment → what it measured
    reports   the folder of the published reports
    """

    evidence: Callable[[str], Evidence]
    reports: Path


def fill(text: str, archive: Archive) -> str:
    """`text` with every marked number as it should be.

    Raises ValueError, one line with the comment, for a comment that cannot be read.
    """

    def number(found: re.Match) -> str:
        try:
            new = _values(_name(found["experiment"]), found["other"], found["measured"], archive)
        except ValueError as error:
            raise ValueError(f"{found['marker']}: {error}") from None
        old = (found["number"], found["low"], found["high"])
        estimate, low, high = (_like(*pair) if pair[0] else "" for pair in zip(old, new, strict=True))
        limits = found["interval"] or ""
        if limits:
            limits = limits.replace(f"[{found['low']}", f"[{low}").replace(f"{found['high']}]", f"{high}]")
        return estimate + found["unit"] + limits + found["marker"]

    return _MARKED.sub(number, text)


def _name(experiment: str) -> str:
    return experiment if experiment.startswith(OTHERS) else f"{FAMILY}-{experiment}".removesuffix("-")


def _values(experiment: str, other: str | None, measured: str, archive: Archive) -> tuple[float, float, float]:
    """Estimate and limits in the unit in which they are printed; the limits are NaN where there are none."""
    if named := _PUBLISHED.fullmatch(measured):
        return _published(archive.reports / experiment, **named.groupdict(""))
    if (named := _MEASURED.fullmatch(measured)) and other:
        sides = [archive.evidence(name).measures for name in (experiment, _name(other))]
        column = named["column"] or "auc"
        first, second = (side.loc[named["first"], column] - side.loc[named["second"], column] for side in sides)
        return _scaled(mean_interval((first - second).dropna().to_numpy(float)), column)
    if named:
        return _difference(archive.evidence(experiment), named["first"], named["second"], named["column"] or "auc")
    raise ValueError("allowed: raft minus dr-grpo, final")


def _published(report: Path, table: str, key: str, condition: str) -> tuple[float, float, float]:
    file, column, value = _TABLES[table]
    frame = pd.read_csv(report / file)
    rows = frame[(frame[column] == key) & (names.conditions(frame) == condition)]
    if len(rows) != 1:
        raise ValueError(f"{report / file} has {len(rows)} such rows; allowed: one")
    estimate, low, high = rows[[value, "low", "high"]].iloc[0]
    return float(estimate), float(low), float(high)


def _difference(evidence: Evidence, first: str, second: str | None, column: str) -> tuple[float, float, float]:
    ablations = {*evidence.measures.index.get_level_values(0), "base"}
    if missing := {first, second or "base"} - ablations:
        raise ValueError(f"no ablation {' '.join(sorted(missing))}; allowed: {', '.join(sorted(ablations))}")
    if second is None:
        interval = mean_interval(evidence.measures.loc[first, column].to_numpy(float))
    elif second == "base":
        interval = paired.gain(evidence, first, column)
    else:
        interval = paired.between(evidence, first, second, column)
    return _scaled(interval, column)


def _scaled(interval: Interval, column: str) -> tuple[float, float, float]:
    scale = ENDPOINTS[column].scale if column in ENDPOINTS else 1.0
    return scale * interval.estimate, scale * interval.low, scale * interval.high


def _like(old: str, value: float) -> str:
    """`value` with the decimals of `old`, with its plus and without its leading zero, if it has none."""
    decimals = len(old.partition(".")[2])
    text = signed(value, f"{'+' if old.startswith('+') else ''}.{decimals}f")
    return re.sub(r"^([+−]?)0\.", r"\1.", text) if re.match(r"[+−]?\.", old) else text
