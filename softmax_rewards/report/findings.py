"""The main table of each series, in README.md and docs/findings.md.

It is computed from the archive, so that no number is copied by hand.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from softmax_rewards.common import generated_section
from softmax_rewards.config import experiments
from softmax_rewards.config.experiments import Experiment
from softmax_rewards.report import archived_evidence
from softmax_rewards.verdicts import summary
from softmax_rewards.verdicts.evidence import Evidence
from softmax_rewards.verdicts.finished import FinishedRun
from softmax_rewards.verdicts.wording import signed

BEGIN, END = "<!-- findings: generated, see `softmax-rewards generate-docs` -->", "<!-- end of findings -->"
CONFIGS = Path("config/experiments")


class Section(NamedTuple):
    """What a document shows of an archived experiment.

    rows  ablation → its name in the table; those that a reader compares first
    """

    experiment: str
    rows: Mapping[str, str]


SECTIONS = {
    "README.md": Section(
        "countdown-mini-trap",
        {
            "baseline": "GRPO (z-score), the baseline",
            "softmax-0.5": "softmax τ = 0.5",
            "softmax-1.0": "softmax τ = 1.0",
            "centered-0.5": "centered softmax τ = 0.5",
            "dr-grpo": "Dr. GRPO: not divided by σ",
            "shrunk": "`shrunk`",
            "maxrl": "maxRL",
            "raft": "RAFT: right answers only",
            "linear-skip-unfinished": "GRPO, cut answers left out",
            "batch-std": "GRPO, the batch's σ",
            "linear-refill": "GRPO, equal groups replaced",
            "linear-plus-one": "GRPO, plus one",
        },
    ),
    "docs/findings.md": Section(
        "countdown-mini-full",
        {
            "baseline": "GRPO (z-score), the baseline",
            "softmax-0.1": "softmax τ = 0.1",
            "softmax-0.25": "softmax τ = 0.25",
            "softmax-0.5": "softmax τ = 0.5",
            "softmax-0.75": "softmax τ = 0.75",
            "softmax-1.0": "softmax τ = 1.0",
            "softmax-2.0": "softmax τ = 2.0",
            "anneal-0.75-0.25": "softmax τ 0.75 → 0.25",
            "centered-0.5": "centered softmax τ = 0.5",
            "centered-1.0": "centered softmax τ = 1.0",
            "centered-2.0": "centered softmax τ = 2.0",
            "linear-plus-one": "z-score + 1",
            "uniform": "the constant 1 alone",
            "rloo": "RLOO",
            "dr-grpo": "Dr. GRPO",
        },
    ),
}
COLUMNS = (
    "ablation",
    "seeds",
    "success at the end",
    "mean success over training, minus GRPO's, in points [95 %]",
    "Holm's p",
)


def fill(text: str, page: str) -> str:
    """The text of `page`, a key of SECTIONS, with the section as it should be."""
    return generated_section.replace(text, BEGIN, END, section(page))


def section(page: str) -> str:
    """The section of `page` as Markdown: what was run, and a table. The runs come from the archive."""
    name, rows = SECTIONS[page]
    file = CONFIGS / f"{name}.yaml"
    experiment = experiments.load(file)
    if experiment.archive is None:
        raise ValueError(f"{file}: archive: missing; allowed: the folder of the finished runs")
    runs, evidence = archived_evidence.read(experiment, experiment.archive)
    return _setting(experiment, evidence.measures) + _table(rows, runs, evidence, experiment.primary)


def _setting(experiment: Experiment, measured: pd.DataFrame) -> str:
    training = experiment.run(experiment.baseline, experiment.seeds[0]).training
    base = 100 * measured.loc[experiment.baseline, "base"].mean()
    return (
        f"`{experiment.name}`: the embedded model on Countdown. Its base answers {base:.1f} % of held-out puzzles "
        f"right. An answer has at most {training.max_new_tokens} tokens. Training is {training.steps} updates on "
        f"{training.prompts_per_step} × {training.group_size} answers, and every evaluation has "
        f"{experiment.evaluation.puzzles} puzzles. All ablations of a seed start from the same model and see the same "
        f"prompts and noise. A difference is the mean over paired seeds, with its 95 % interval. *Exploratory* "
        f"comparisons were not planned, and are not adjusted.\n\n"
    )


def _table(rows: Mapping[str, str], runs: Sequence[FinishedRun], evidence: Evidence, primary: Sequence[str]) -> str:
    compared = summary.comparisons(runs, evidence.baseline, primary, evidence)
    differences = compared[compared["endpoint"] == "auc"].set_index("ablation").to_dict("index")
    success = evidence.measures["final"].groupby("ablation").agg(["mean", "count"])
    lines = [
        f"| {name} | {success.loc[ablation, 'count']} | {100 * success.loc[ablation, 'mean']:.1f} % "
        f"| {_difference(differences.get(ablation))} |\n"
        for ablation, name in rows.items()
    ]
    return f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n" + "".join(lines)


def _difference(row: Mapping[str, float] | None) -> str:
    if row is None:
        return "– | –"
    delta, low, high = (signed(100 * row[key]) for key in ("delta", "low", "high"))
    p = "exploratory" if pd.isna(row["p_holm"]) else _plain(row["p_holm"])
    return f"{delta} [{low}, {high}] | {p}"


def _plain(p: float) -> str:
    """0.88, 0.003, 0.00002: two decimals, or the first digit that is not 0."""
    return f"{p:.2f}" if p >= 0.1 else np.format_float_positional(p, precision=1, fractional=False)
