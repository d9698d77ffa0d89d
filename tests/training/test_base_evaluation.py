"""A base model's evaluation: counts of its search worked out by hand, and figures of a tiny model that agree."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from softmax_rewards.config import base_settings, folders
from softmax_rewards.data.tasks import Attempt
from softmax_rewards.training import base_evaluation, search_counts

HIT, MISS, WRONGLY_LIKED, OVERSEEN = (
    Attempt(True, True),
    Attempt(False, False),
    Attempt(False, True),
    Attempt(True, False),
)
# Two puzzles with two answers each.
ANSWERS = [[HIT], [MISS, MISS, HIT], [MISS, WRONGLY_LIKED], [OVERSEEN, MISS]]
RIGHT = np.array([True, True, False, False])


def test_hits_and_misses_are_counted_with_their_marks():
    counts = search_counts.described(ANSWERS, RIGHT, 2)
    assert counts["attempts"] == 2
    assert (counts["hits"], counts["hits_yes"], counts["misses"], counts["misses_yes"]) == (3, 2, 5, 1)
    # Two of four answers are right, and two of four first attempts hit. By puzzle the gains are 0, 1 and 0, −1.
    assert counts["gain"] == 0
    assert counts["gain_error"] == pytest.approx(np.sqrt(2 * 0.5 / 2) / 2)


def test_one_row_per_number_of_attempts():
    rows = search_counts.by_attempt(ANSWERS, RIGHT)
    assert rows == [
        {"attempt": 1, "reached": 1.0, "hit": 0.5, "goes_on": 1.0, "right": 0.25},
        {"attempt": 2, "reached": 0.75, "hit": 0.0, "goes_on": 1 / 3, "right": 0.25},
        {"attempt": 3, "reached": 0.25, "hit": 1.0, "goes_on": None, "right": 0.5},
    ]
    assert search_counts.by_attempt([[], []], np.array([False, False])) == []


def test_how_searches_end_by_the_number_of_attempts():
    # The second answer is cut while it goes on, and the third while it writes its answer.
    answers = [[MISS, MISS, HIT], [MISS], [MISS, MISS], [HIT], []]
    closed, formatted = np.array([True, False, True, True, False]), np.array([True, False, False, True, False])
    names = ("misses", "goes_on", "stops", "closings", "formed")
    rows = [(5, 4, 0, 0, 0), (3, 2, 0, 1, 1), (2, 1, 1, 1, 0), (0, 0, 0, 1, 1)]
    expected = [{"attempt": m} | dict(zip(names, row, strict=True)) for m, row in enumerate(rows)]
    assert search_counts.endings(answers, closed, formatted) == expected


def test_the_tokens_of_an_attempt_are_those_of_finished_answers():
    length, finished = np.array([65, 25, 45, 25, 99]), np.array([True, True, True, True, False])
    answers = [[MISS, MISS, HIT], [MISS], [MISS, MISS], [HIT], [MISS, MISS]]
    tokens = search_counts.attempt_length(answers, length, finished)
    assert tokens == {"attempt": pytest.approx(20), "rest": pytest.approx(5)}
    assert search_counts.attempt_length(answers, length, ~finished) is None


def test_an_attempt_that_the_limit_may_have_cut_does_not_count():
    unmarked = Attempt(False, None)
    assert search_counts.completed([MISS, unmarked], finished=False) == [MISS]
    assert search_counts.completed([MISS, unmarked], finished=True) == [MISS, unmarked]
    assert search_counts.completed([MISS], finished=False) == [MISS]
    assert search_counts.completed([], finished=False) == []


def test_the_sampling_error_is_that_of_a_simulation():
    rng = np.random.default_rng(0)
    chances = np.array([0.1, 0.5, 0.9, 0.0])
    drawn = rng.random((4000, 4, 8)) < chances[:, None]
    estimated = np.mean([search_counts.sampling_error(values) ** 2 for values in drawn.astype(float)])
    assert estimated == pytest.approx(drawn.mean((1, 2)).var(), rel=0.1)


@pytest.fixture(scope="module")
def evaluated(tiny, tmp_path_factory):
    """The settings of the tiny base model's evaluation, and the folder that it was written to."""
    run, data, base = tiny
    settings, out = base_settings.of(run), tmp_path_factory.mktemp("bases") / "mini-12345678"
    base_evaluation.write(settings, data, base, out, 1)
    return settings, out


def test_the_figures_are_those_of_the_table(evaluated):
    settings, out = evaluated
    figures = json.loads((out / "evaluation.json").read_text())
    table = pd.read_csv(out / "puzzles.csv")
    assert (len(table), figures["samples"]) == (settings["puzzles"], 32)
    assert figures["settings"] == settings and figures["name"] == out.name
    assert figures["success"] == pytest.approx(table["right"].sum() / (32 * len(table)))
    assert figures["greedy"] == pytest.approx(table["greedy"].mean())
    first = table[: settings["pass_puzzles"]]
    assert figures["pass@1"] == pytest.approx(first["right"].mean() / 32)
    assert figures["pass@1"] <= figures["pass@4"] <= figures["pass@16"] <= (first["right"] > 0).mean()
    search = figures["search"]
    assert table["attempts"].sum() == search["hits"] + search["misses"] and table["hits"].sum() == search["hits"]
    assert search["by_attempt"][-1]["right"] == pytest.approx(figures["success"])
    for name in ("attempts", "hits"):
        assert [int(number) for number in search["by_puzzle"][name].split()] == table[name].tolist()
    endings = search["endings"]
    assert endings[0]["misses"] == 32 * len(table)
    for row, shown in zip(endings[1:], search["by_attempt"], strict=True):
        assert row["goes_on"] == pytest.approx(row["misses"] * (shown["goes_on"] or 0))
        assert row["stops"] <= min(row["closings"], row["misses"] - row["goes_on"])


def test_the_base_of_a_task_without_attempts_has_no_search(tiny, monkeypatch):
    run, data, base = tiny
    monkeypatch.delattr("softmax_rewards.data.tasks.countdown.attempts")
    figures, table = base_evaluation.measure(base, data, run.task, "compact", max_new_tokens=4, puzzles=2, samples=16)
    assert figures["search"] is None and table["attempts"].tolist() == [0, 0]


def test_runs_share_an_evaluation_unless_a_setting_that_matters_differs(tiny):
    run = tiny[0]
    key = folders.base_evaluation_key(run)
    other = dataclasses.replace(run, ablation="another", seed=7, weighting={"scheme": "linear"})
    faster = dataclasses.replace(run.training, learning_rate=1e-3, steps=3)
    assert folders.base_evaluation_key(dataclasses.replace(other, training=faster)) == key
    shorter = dataclasses.replace(run, training=dataclasses.replace(run.training, max_new_tokens=7))
    fewer = dataclasses.replace(run, evaluation=dataclasses.replace(run.evaluation, puzzles=8))
    seeded = dataclasses.replace(run, model=run.model | {"seed": 1})
    assert len({key, *map(folders.base_evaluation_key, (shorter, fewer, seeded))}) == 4
