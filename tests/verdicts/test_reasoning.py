"""What answers say: phrases of language models, the arithmetic they write, and means over seeds."""

import dataclasses
import json
import math

import pandas as pd
import pytest
import synthetic

from softmax_rewards.common import stats
from softmax_rewards.data import tasks
from softmax_rewards.verdicts import finished, reasoning

ARITHMETIC = tasks.load(synthetic.TASK)[0].arithmetic


@pytest.mark.parametrize(
    ("text", "check", "retry", "defeat"),
    [
        ("Let me check: 3 + 4 = 7. Wait, that is not 8.", 2, 0, 0),
        ("I double-checked, and let's verify it once more. Hmm.", 3, 0, 0),
        ("Alternatively, try another order. Let me try again: another approach is to start over.", 0, 5, 0),
        ("I can't find a way. It seems impossible, so I give up.", 0, 0, 1),
        ("3 + 4 = 7, so the answer is right.", 0, 0, 0),
        ("The waiter awaits the verification of a checkbook.", 0, 0, 0),
        ("3+4=7no\n3*4=12yes", 0, 0, 0),
        ("nothing</think>\nWait, let me check again. I give up.", 0, 0, 0),  # behind the thinking
        ("", 0, 0, 0),
    ],
)
def test_phrases(text, check, retry, defeat):
    assert reasoning.count_phrases(text) == {"says_check": check, "says_retry": retry, "says_defeat": defeat}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of two ablations; in seed 1 of the softmax ablation every text of step 120 is known."""
    ablations = {name: synthetic.ABLATIONS[name] for name in ("baseline", "softmax-0.5")}
    folders = synthetic.write_experiment(tmp_path_factory.mktemp("runs"), ablations=ablations, seeds=2)
    path = folders[-1] / "samples.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    texts = ["3+4=7. Wait.", "3+4=8, 3*4=12, 3-4=1. I give up.", "no equation"]
    kept = [row for row in rows if row["step"] < 120]
    kept += [{**rows[-1], "puzzle": index, "completion": text} for index, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return [finished.read(folder) for folder in folders]


def test_the_texts_of_an_evaluation_are_counted_together(runs):
    table = reasoning.measure(runs, ARITHMETIC).set_index(["ablation", "seed", "step"])
    row = table.loc["softmax-0.5", 1, 120]
    assert (row["texts"], row["written"]) == (3, 4)
    assert row["arithmetic"] == pytest.approx(2 / 4)  # 7 and 12 of 7, 8, 12 and 1
    assert row["says_check"] == pytest.approx(1 / 3) and row["says_defeat"] == pytest.approx(1 / 3)
    assert (row["attempts"], row["self_checks"], row["gave_up"]) == (2.0, 1.0, 0.3)  # of all puzzles
    assert len(table) == 4 * 13


def test_a_task_without_equations_and_a_step_without_texts_have_none(runs):
    assert reasoning.measure(runs, None)["arithmetic"].isna().all()
    empty = reasoning.measure([dataclasses.replace(runs[0], samples=[])], ARITHMETIC)
    assert empty[["arithmetic", "says_check"]].isna().all(axis=None) and (empty["texts"] == 0).all()
    assert empty["attempts"].notna().all()


def test_means_over_seeds_have_t_intervals():
    rows = [("a", seed, 10, *[value] * len(reasoning.MEASURES)) for seed, value in enumerate((0.1, 0.3, 0.4))]
    table = pd.DataFrame(rows, columns=["ablation", "seed", "step", *reasoning.MEASURES])
    table.loc[0, "arithmetic"] = math.nan
    found = reasoning.over_seeds(table).set_index("measure")
    expected = stats.mean_interval([0.1, 0.3, 0.4])
    assert found.loc["attempts", ["mean", "low", "high", "seeds"]].tolist() == pytest.approx([*expected[:3], 3])
    assert found.loc["arithmetic", "seeds"] == 2


def test_a_sample_is_annotated_with_its_arithmetic():
    sample = {"completion": "1+2=3yes, 2+2=5no</think>", "step": 0}
    assert reasoning.annotated(sample, ARITHMETIC) == {**sample, "right": 1, "written": 2}
    assert reasoning.annotated(sample, None) == sample
