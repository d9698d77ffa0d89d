"""The decision table: its numbers are those of the archive, and a log finds its own rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from softmax_rewards.report import archived_evidence
from softmax_rewards.verdicts import decisions
from softmax_rewards.verdicts.decisions import CASES, Compared, Numbers

ROOT = Path(__file__).parents[2]


def test_the_kept_numbers_are_those_of_the_archive():
    numbers = archived_evidence.numbers(ROOT / "config/experiments")
    assert numbers == decisions.known(), "run `softmax-rewards generate-docs`"
    text = (ROOT / decisions.PAGE).read_text(encoding="utf-8")
    assert decisions.fill(text, numbers) == text, "run `softmax-rewards generate-docs`"


def test_a_number_is_the_paired_mean_of_the_archived_curves():
    """An independent way: the area under the mean of the curves, by seed, with pandas alone."""
    curves = pd.read_parquet(ROOT / "results/archive/countdown-mini-trap/evaluations.parquet").sort_values("step")
    area = curves.groupby(["ablation", "seed"])[["step", "success"]].apply(
        lambda run: np.trapezoid(run["success"], run["step"]) / run["step"].max()
    )
    difference = (area["raft"] - area["baseline"]).mean()
    assert decisions.known()[Compared("countdown-mini-trap", "raft")].difference == pytest.approx(difference, abs=1e-6)


def test_every_case_that_gives_advice_has_evidence_and_every_other_has_none():
    assert all(bool(case.use) == bool(case.evidence) for case in CASES)


TRAPPED = ["divide by the group's σ", "To keep GRPO", "eight base models", "Of the temperatures", "no limit cuts"]
TRAPPED += ["softmax_centered at half", "For long: shrunk", "raft covers less", "With four updates"]


@pytest.mark.parametrize(
    ("success", "costly", "paid", "size", "expected"),
    [
        (0.08, True, True, 8, TRAPPED),
        (
            0.08,
            False,
            True,
            8,
            ["they are equivalent", "half of the answers lack", "linear, or a scheme without a constant"],
        ),
        (0.50, False, True, 8, ["they are equivalent", "linear; softmax with a high τ loses"]),
        (0.08, True, True, 64, ["nothing like this log"]),
        (0.50, True, True, 8, ["nothing like this log"]),
    ],
)
def test_a_log_finds_its_cases(success, costly, paid, size, expected):
    texts = decisions.found(success, costly, paid, size)
    assert len(texts) == len(expected) and all(part in text for part, text in zip(expected, texts, strict=True))


def test_a_log_without_lengths_fits_both():
    both = decisions.found(0.08, None, True, 8)
    assert both == [*decisions.found(0.08, True, True, 8), *decisions.found(0.08, False, True, 8)]


def test_the_evidence_of_a_case_reads_with_its_limits():
    trap, wide = Compared("trap", "raft"), Compared("trap", "raft", "dr-grpo", "pass@16")
    case = decisions.Case(True, True, True, (8, 8), "100", "pass@1", "raft", (trap, Compared("trap", "maxrl"), wide))
    numbers = dict.fromkeys(case.evidence[:2], Numbers(0.0543, -0.0049, 0.066, 5))
    numbers[wide] = Numbers(0.0543, -0.0049, 0.066, 8, "base models")
    assert decisions.because(case, numbers) == (
        "trap, minus linear, 5 seeds: raft +5.4 [−0.5, +6.6]; maxrl +5.4 [−0.5, +6.6]; "
        "trap, minus dr-grpo in pass@16, 8 base models: raft +5.4 [−0.5, +6.6]"
    )
