"""docs/verdicts.md: every claim with the verdicts of both series, from the published reports."""

from pathlib import Path

import pandas as pd
import pytest

from softmax_rewards.report import verdict_tables
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED

ROOT = Path(__file__).parents[2]
FIRST = {"claim": "C1", "verdict": CONTRADICTED, "effect": -1.04, "low": -1.44, "high": -0.56, "unit": "points"}
FIRST |= {"seeds": 10, "sentence": "mini"}
SECOND = FIRST | {"verdict": SUPPORTED, "effect": 3.62, "low": 2.04, "high": 5.21, "seeds": 5, "outcome": "better"}


def written(folder, name, *rows):
    (folder / name).mkdir()
    table = pd.DataFrame(rows).assign(experiment=name)
    table.to_csv(folder / name / "verdicts.csv", index=False)


@pytest.fixture
def reports(tmp_path):
    written(tmp_path, "countdown-mini-full", FIRST, FIRST | {"claim": "C2", "sentence": "Not tested"})
    open_row = SECOND | {"claim": "C7", "verdict": UNRESOLVED, "unit": "nats per token"}
    open_row |= {"effect": 0.0123, "low": -0.02, "high": 0.04, "outcome": "not resolved", "condition": ""}
    level = SECOND | {"verdict": CONTRADICTED, "outcome": "equivalent", "condition": "room"}
    better = SECOND | {"condition": "trap", "ratio": 1.72}
    written(tmp_path, "countdown-mini", better, level, open_row)
    written(tmp_path, "overview", better)
    return tmp_path


def test_both_series_stand_side_by_side(reports):
    text = verdict_tables.fill(f"before\n{verdict_tables.BEGIN}\nold\n{verdict_tables.END}\nafter\n", reports)
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| **C1**")]
    _, _, first, second, _ = row.split("|")
    assert first.strip() == "`full`: **no** −1.0 [−1.4, −0.6], 10 seeds"
    assert second.strip().split("<br>") == [
        "`countdown-mini, trap`: **yes** +3.6 [+2.0, +5.2], ratio 1.72, 5 seeds",
        "`countdown-mini, room`: **no** (equivalent) +3.6 [+2.0, +5.2], 5 seeds",
    ]


def test_units_and_missing_cells(reports):
    text = verdict_tables.fill(f"{verdict_tables.BEGIN}\n{verdict_tables.END}", reports)
    assert "| – | `countdown-mini`: open +0.0123 [−0.02, +0.04], 5 seeds |" in text
    assert "**C2**" not in text, "not tested anywhere"


def test_the_published_page_is_up_to_date():
    text = (ROOT / verdict_tables.PAGE).read_text(encoding="utf-8")
    assert verdict_tables.fill(text, ROOT / "docs/report") == text, "run `softmax-rewards generate-docs`"
