"""Numbers in prose that come from the archive: each stands in front of a comment that says what it is.

    RAFT is ahead of Dr. GRPO by 0.4 [−0.4, 1.2]<!-- trap-short: raft minus dr-grpo, final -->

The comment, which no reader sees, names an experiment of the archive without its "countdown-mini-", one ablation or the
difference of two (`base` is the base model), and a column of the measures; without one it is the mean success over
training. `fill` writes the number and its 95 % interval again, with the signs and decimals that it finds.
"""

import re
from collections.abc import Callable

from softmax_rewards.common.stats import Interval, mean_interval
from softmax_rewards.verdicts import paired
from softmax_rewards.verdicts.evidence import ENDPOINTS, Evidence
from softmax_rewards.verdicts.wording import signed

FAMILY = "countdown-mini"
_NUMBER = r"[+−]?\d*\.?\d+"
_MARKED = re.compile(
    rf"(?P<number>{_NUMBER})(?P<unit>(?: %| points| tokens| nats per token)?)"
    rf"(?P<interval>\s*\[(?P<low>{_NUMBER}),\s+(?P<high>{_NUMBER})\])?"
    r"(?P<marker><!-- (?P<source>[\w.-]*: [^>]*) -->)"
)
_SOURCE = re.compile(
    r"(?P<experiment>[\w.-]*): (?P<first>[\w.-]+)(?: minus (?P<second>[\w.-]+))?(?:, (?P<column>\S+))?"
)


def fill(text: str, evidence: Callable[[str], Evidence]) -> str:
    """`text` with every marked number as it should be. `evidence`: name of an experiment → what it measured.

    Raises ValueError, one line with the comment, for a source that cannot be read.
    """

    def number(found: re.Match) -> str:
        interval, scale = _interval(found["source"], evidence)
        parts = [found["number"], found["low"], found["high"]]
        values = [_like(old, scale * new) if old else "" for old, new in zip(parts, interval[:3], strict=True)]
        limits = found["interval"] or ""
        if limits:
            limits = limits.replace(f"[{found['low']}", f"[{values[1]}").replace(f"{found['high']}]", f"{values[2]}]")
        return values[0] + found["unit"] + limits + found["marker"]

    return _MARKED.sub(number, text)


def _interval(source: str, evidence: Callable[[str], Evidence]) -> tuple[Interval, float]:
    """What a comment names, and the factor to the unit in which it is printed."""
    named = _SOURCE.fullmatch(source.strip())
    if named is None:
        raise ValueError(f"<!-- {source} -->: allowed: <!-- trap: raft minus dr-grpo, final -->")
    experiment = f"{FAMILY}-{named['experiment']}".removesuffix("-")
    known, column = evidence(experiment), named["column"] or "auc"
    ablations = set(known.measures.index.get_level_values(0)) | {"base"}
    if missing := {named["first"], named["second"] or "base"} - ablations:
        raise ValueError(f"<!-- {source} -->: no ablation {' '.join(missing)}; allowed: {', '.join(sorted(ablations))}")
    if named["second"] is None:
        values = known.measures.loc[named["first"], column]
        interval = mean_interval(values.to_numpy(float))
    elif named["second"] == "base":
        interval = paired.gain(known, named["first"], column)
    else:
        interval = paired.between(known, named["first"], named["second"], column)
    return interval, ENDPOINTS[column].scale if column in ENDPOINTS else 1.0


def _like(old: str, value: float) -> str:
    """`value` with the decimals of `old`, with its plus and without its leading zero, if it has none."""
    decimals = len(old.partition(".")[2])
    text = signed(value, f"{'+' if old.startswith('+') else ''}.{decimals}f")
    return re.sub(r"^([+−]?)0\.", r"\1.", text) if re.match(r"[+−]?\.", old) else text
