"""The main tables of README.md and docs/findings.md: equal to the archive, and to numbers worked out in another way."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from softmax_rewards.config import experiments
from softmax_rewards.report import findings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=findings.SECTIONS)
def page(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def section(page) -> str:
    return findings.section(page)


@pytest.fixture(scope="module")
def archive(page) -> Path:
    return ROOT / "results/archive" / findings.SECTIONS[page].experiment


def test_the_document_has_the_generated_section(page, section, monkeypatch):
    text = (ROOT / page).read_text(encoding="utf-8")
    monkeypatch.setattr(findings, "section", lambda _: section)
    assert findings.fill(text, page) == text, "run `softmax-rewards generate-docs`"
    damaged = text.replace(section, "| softmax | 100 % |\n")
    assert damaged != text and findings.fill(damaged, page) == text


def test_the_numbers_agree_with_pandas_and_scipy(page, section, archive):
    name, names = findings.SECTIONS[page]
    planned = experiments.load(ROOT / findings.CONFIGS / f"{name}.yaml").primary
    curves = pd.read_parquet(archive / "evaluations.parquet").sort_values("step")
    final = pd.read_parquet(archive / "puzzles.parquet").groupby(["ablation", "seed"])["sampled"].mean()
    # The curve has a point every ten steps, so the trapezoidal rule is the mean of neighbors' means.
    area = curves.groupby(["ablation", "seed"])["success"].agg(
        lambda points: np.convolve(points, [0.5, 0.5], "valid").mean()
    )
    p_values = {name: stats.ttest_1samp(_differences(area, name), 0).pvalue for name in planned}
    ranked = sorted(p_values, key=p_values.get)
    holm, running = {}, 0.0
    for rank, name in enumerate(ranked):
        running = max(running, (len(ranked) - rank) * p_values[name])
        holm[name] = running

    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line[:2] == "| "
    ]
    for ablation, (name, seeds, success, difference, p) in zip(names, rows[1:], strict=True):
        assert name == names[ablation]
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
        assert p == "exploratory" if ablation not in planned else float(p) >= 0.7 * holm[ablation]


def _differences(area: pd.Series, ablation: str) -> np.ndarray:
    return (area[ablation] - area["baseline"]).dropna().to_numpy()


def test_the_setting_is_that_of_the_archived_runs(section, archive):
    curves = pd.read_parquet(archive / "evaluations.parquet")
    evaluated = pd.read_parquet(archive / "runs.parquet").get("base", pd.Series(dtype=object)).dropna()
    base = curves[(curves["ablation"] == "baseline") & (curves["step"] == 0)]["success"].mean()
    if len(evaluated):  # the second series evaluated its base models by themselves
        base = json.loads(evaluated.iloc[0])["success"]
    metrics = pd.read_parquet(archive / "metrics.parquet")
    groups = pd.read_parquet(archive / "groups.parquet")
    first = groups[(groups["ablation"] == "baseline") & (groups["step"] == 1)]
    per_step = first[first["seed"] == first["seed"].min()]
    puzzles = pd.read_parquet(archive / "puzzles.parquet")["puzzle"].nunique()
    assert f"Its base answers {100 * base:.1f} %" in section
    assert f"{metrics['step'].max()} updates on " in section
    assert f"every evaluation has {puzzles} puzzles" in section
    (size,) = {len(rewards.split()) for rewards in per_step["rewards"]}
    assert f"updates on {per_step['count'].sum()} × {size} answers" in section
