"""The table of predicted and found orders."""

import pandas as pd

from softmax_rewards.report import map_scores


def report(folder, condition, claims, ranks):
    folder.mkdir(parents=True)
    verdicts = [(condition, claim, *numbers) for claim, numbers in claims.items()]
    pd.DataFrame(verdicts, columns=["condition", "claim", "effect", "low", "high"]).to_csv(folder / "verdicts.csv")
    found = [(condition, figure, *numbers) for figure, numbers in ranks.items()]
    pd.DataFrame(found, columns=["condition", "figure", "rank", "low", "high"]).to_csv(folder / "search_ranks.csv")


def test_each_condition_of_an_experiment_has_a_row_and_clear_orders_are_bold(tmp_path):
    report(tmp_path / "a", "trap", {"P4": (0.7, 0.5, 0.9), "C1": (3, 2, 4)}, {"attempts": (-0.3, -0.4, -0.2)})
    report(tmp_path / "b", None, {"P4": (None, None, None), "P6": (0.1, -0.2, 0.4)}, {})
    report(tmp_path / "c", None, {"C1": (3, 2, 4)}, {})  # nothing was predicted
    lines = map_scores.table(tmp_path).splitlines()
    assert lines[2:] == [
        "| `a` (trap) | **0.70 [0.50, 0.90]** | – | – | **−0.30 [−0.40, −0.20]** | – | – |",
        "| `b` | – | – | 0.10 [−0.20, 0.40] | – | – | – |",
    ]
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
