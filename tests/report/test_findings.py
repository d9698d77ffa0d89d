"""The findings in README.md: equal to what the archive gives, and to the same numbers worked out in another way."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from softmax_rewards.report import findings

ROOT = Path(__file__).parents[2]
ARCHIVE = ROOT / "results/archive/countdown-mini-full"
PLANNED = [
    "softmax-0.25",
    "softmax-0.5",
    "softmax-0.75",
    "softmax-1.0",
    "anneal-0.75-0.25",
    "centered-0.5",
    "centered-1.0",
]


@pytest.fixture(scope="module")
def section() -> str:
    return findings.section()


def test_the_readme_has_the_generated_section(section, monkeypatch):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    monkeypatch.setattr(findings, "section", lambda: section)
    assert findings.fill(text) == text, "run `softmax-rewards generate-docs`"
    damaged = text.replace(section, "| softmax | 100 % |\n")
    assert damaged != text and findings.fill(damaged) == text


def test_the_numbers_agree_with_pandas_and_scipy(section):
    curves = pd.read_parquet(ARCHIVE / "evaluations.parquet").sort_values("step")
    final = curves[curves["step"] == 80].set_index(["ablation", "seed"])["success"]
    # The curve has a point every ten steps, so the trapezoidal rule is the mean of neighbors' means.
    area = curves.groupby(["ablation", "seed"])["success"].agg(
        lambda points: np.convolve(points, [0.5, 0.5], "valid").mean()
    )
    p_values = {name: stats.ttest_1samp(_differences(area, name), 0).pvalue for name in PLANNED}
    ranked = sorted(p_values, key=p_values.get)
    holm, running = {}, 0.0
    for rank, name in enumerate(ranked):
        running = max(running, (len(ranked) - rank) * p_values[name])
        holm[name] = running

    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line[:2] == "| "
    ]
    for ablation, (name, seeds, success, difference, p) in zip(findings.ROWS, rows[1:], strict=True):
        assert name == findings.ROWS[ablation]
        assert (int(seeds), success) == (len(final[ablation]), f"{100 * final[ablation].mean():.1f} %")
        if ablation == "baseline":
            continue
        deltas = 100 * _differences(area, ablation)
        low, high = stats.t.interval(0.95, len(deltas) - 1, deltas.mean(), stats.sem(deltas))
        written = [float(number) for number in re.findall(r"[+-][\d.]+", difference.replace("−", "-"))]
        assert written[0] == pytest.approx(deltas.mean(), abs=0.0501)
        # Sampling the answers alone gives an interval a least width, so it may be wider than the t interval.
        assert written[1] <= low + 0.0501 and high - 0.0501 <= written[2]
        assert written[2] - written[0] == pytest.approx(written[0] - written[1], abs=0.11)
        assert p == "exploratory" if ablation not in PLANNED else float(p) >= 0.7 * holm[ablation]


def _differences(area: pd.Series, ablation: str) -> np.ndarray:
    return (area[ablation] - area["baseline"]).dropna().to_numpy()


def test_the_setting_is_that_of_the_archived_runs(section):
    curves = pd.read_parquet(ARCHIVE / "evaluations.parquet")
    base = curves[(curves["ablation"] == "baseline") & (curves["step"] == 0)]["success"].mean()
    metrics = pd.read_parquet(ARCHIVE / "metrics.parquet")
    groups = pd.read_parquet(ARCHIVE / "groups.parquet")
    per_step = groups[(groups["ablation"] == "baseline") & (groups["seed"] == 0) & (groups["step"] == 1)]
    puzzles = pd.read_parquet(ARCHIVE / "puzzles.parquet")["puzzle"].nunique()
    assert f"Its base answers {100 * base:.1f} %" in section
    assert f"{metrics['step'].max()} updates on " in section
    assert f"every evaluation has {puzzles} puzzles" in section
    (size,) = {len(rewards.split()) for rewards in per_step["rewards"]}
    assert f"updates on {per_step['count'].sum()} × {size} answers" in section
