"""Multiplication: verifier, pairs, references and search traces."""

import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_rewards.config import experiments
from softmax_rewards.data import dataset
from softmax_rewards.data.tasks import _equations, multiplication
from softmax_rewards.data.tasks.multiplication import Options

ROW = {"a": 47, "b": 86}
SMALL = Options(train=400, warm_start=300, test=50)
TOKEN = re.compile("|".join(map(re.escape, sorted(multiplication.ALPHABET, key=len, reverse=True))) + "|(?s:.)")
TEMPLATES = ("compact", "chat", "base")


def answer(text, thinking="47*86=47*80+47*6=3760+282=4042yes"):
    return f"{thinking}</think>\n<answer>{text}</answer>"


# --- Verifier -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["4042", "4,042", "4042.", "4042.0", "$4042", " 4042 ", "\n4042\n", "04042"])
def test_right_answers(text):
    score = multiplication.score(answer(text), ROW)
    assert score.reward == multiplication.reward_range(Options())[1] == 1.1
    assert (score.correct, score.formatted, score.gave_up) == (True, True, False)
    assert multiplication.solution(answer(text), ROW) == "4042"


@pytest.mark.parametrize(
    "text",
    [
        "", "4041", "-4042", "47*86", "4042 or 4043", "4042.0001", "40 42", "4042no", "4042/0", "4042/1",
        "8084/2", "404200/100", "4e3", "9" * 10_000,
        "\u0664\u0660\u0664\u0662", "\uff14\uff10\uff14\uff12", "4042" + " " * 10_000 + ".", "<answer>4042",
        "4042</answer>", "__import__('os')", "9**9**9", "(" * 5000,
    ],
)  # fmt: skip
def test_hostile_and_wrong_answers(text):
    score = multiplication.score(answer(text), ROW)
    assert not score.correct
    assert score.reward in (0.0, 0.1)
    assert multiplication.solution(answer(text), ROW) is None


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("</think>\n<answer>4042</answer> done", 1.0),
        ("<answer>4042</answer></think>", 0.0),
        ("<answer>4042</answer></think>\n<answer>1</answer>", 0.1),
        ("I use <answer> </answer> tags.</think>\n<answer>4042</answer>", 1.1),
        ("</think>\n<answer>1</answer>\n<answer>4042</answer>", 0.0),
        ("</think>\n4042", 0.0),
        ("47*86=4042yes", 0.0),
        ("", 0.0),
    ],
)
def test_malformed_completions(completion, reward):
    assert multiplication.score(completion, ROW).reward == reward


def test_format_reward_is_an_option():
    options = Options(format_reward=0.0)
    assert multiplication.reward_range(options) == (0.0, 1.0)
    assert multiplication.score(answer("4042"), ROW, options).reward == 1.0


def test_rows_may_hold_numpy_values():
    assert multiplication.score(answer("4042"), {"a": np.int64(47), "b": np.int64(86)}).correct


@given(st.integers(1, 999_999), st.integers(1, 999_999), st.integers(-2, 2))
def test_an_answer_is_right_if_it_is_the_product(a, b, off):
    score = multiplication.score(answer(str(a * b + off)), {"a": a, "b": b})
    assert score.correct == (off == 0)


pieces = ["<think>", "</think>", "<answer>", "</answer>", "\n", "=", "no", "yes", " ", "4042", "47*86", "/0", "1" * 99]
pieces += ["4,042", ". That is right.", ", which is incorrect.", "\nI give up"]


@given(st.one_of(st.text(), st.lists(st.sampled_from(pieces) | st.text("0123456789+-*/()=.,$ ")).map("".join)))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_no_text_breaks_the_verifier(completion):
    score = multiplication.score(completion, ROW)
    assert score.reward == score.correct + 0.1 * score.formatted
    assert 0 <= score.self_checks <= score.attempts
    assert (multiplication.solution(completion, ROW) is not None) == score.correct


@pytest.mark.parametrize(
    ("thinking", "number", "attempts", "self_checks", "gave_up"),
    [
        ("47*86=47*80+47*6=3760+292=4052no\n86*47=86*40+86*7=3440+602=4042yes", "4042", 2, 2, False),
        ("47*86=47*80+47*6=3760+292=4052no", "4052", 1, 1, True),
        ("47*86=4042yes", "4052", 1, 1, True),
        ("47*86=4042", "4042", 1, 0, False),
        ("47*86=4042yes\n47*86=4042no", "4042", 2, 2, True),
        ("47 * 86 = 4042. That is right.", "4,042", 1, 1, False),
        ("", "4042", 0, 0, True),
        ("47*86=1/0yes", "?", 1, 1, True),
    ],
)
def test_counts_of_the_thinking(thinking, number, attempts, self_checks, gave_up):
    score = multiplication.score(answer(number, thinking), ROW)
    assert (score.attempts, score.self_checks, score.gave_up) == (attempts, self_checks, gave_up)


def test_attempts_hit_by_the_value_that_is_written():
    thinking = "47*86=4052no\n47*86=4042yes\n47*80=4042no\n47*86=4042\n47*86=1/0yes"
    expected = [(False, False), (True, True), (True, False), (True, None), (False, True)]
    assert multiplication.attempts(answer("4042", thinking), ROW) == expected


# --- Data -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables():
    return multiplication.build(SMALL)


@pytest.mark.parametrize("digits", [1, 2])
def test_all_pairs_are_drawn_alike(digits):
    """Each unordered pair once over test and train, where these are all that there are."""
    numbers = range(10 ** (digits - 1), 10**digits)
    every = list(combinations_with_replacement(numbers, 2))
    test = len(every) // 3
    sizes = {"train": len(every) - test, "warm_start": 1, "test": test}
    found = multiplication.build(Options(digits=digits, **sizes))
    rows = [row for split in ("train", "test") for row in found[split].to_dict("records")]
    assert sorted(map(multiplication.identity, rows)) == every


@given(st.integers(1, 6), st.integers(0, 5), st.integers(1, 40), st.integers(1, 40), st.integers(1, 44))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_no_held_out_pair_is_anywhere_else(digits, seed, train, warm_start, test):
    options = Options(digits=digits, seed=seed, train=train, warm_start=warm_start, test=test)
    rows = {split: table.to_dict("records") for split, table in multiplication.build(options).items()}
    assert {split: len(entries) for split, entries in rows.items()} == {
        "train": train, "test": test, "warm_start": warm_start
    }  # fmt: skip
    held_out = {frozenset(row.values()) for row in rows["test"]}
    assert len(held_out) == test
    assert digits == 1 or not any(number % 10 == 0 for row in rows["test"] for number in row.values())
    assert not held_out & {frozenset(row.values()) for row in rows["train"] + rows["warm_start"]}
    assert all(len(str(number)) == digits for entries in rows.values() for row in entries for number in row.values())


def test_no_trace_works_out_a_held_out_product():
    found = multiplication.build(Options(train=4000, warm_start=3000, test=1000))
    held_out = {frozenset(row.values()) for row in found["test"].to_dict("records")}
    rng = np.random.default_rng(0)
    for row in found["warm_start"].to_dict("records"):
        trace = multiplication.trace(row, rng)
        products = {frozenset(map(int, pair)) for pair in re.findall(r"(\d+)\*(\d+)", trace)}
        assert not products & held_out, trace


def test_the_tables_on_disk(tmp_path):
    task = {"name": "multiplication", "train": 40, "warm_start": 30, "test": 20}
    dataset.write(task, tmp_path)
    assert dataset.read(tmp_path, "test", 20) == multiplication.build(
        Options(train=40, warm_start=30, test=20)
    )["test"].to_dict("records")  # fmt: skip


def test_the_same_options_give_the_same_tables(tables):
    assert all(table.equals(tables[split]) for split, table in multiplication.build(SMALL).items())
    assert not multiplication.build(replace(SMALL, seed=1))["test"].equals(tables["test"])


def test_more_rows_than_pairs_repeat_them_evenly_in_both_orders():
    table = multiplication.build(Options(digits=1, train=1000, warm_start=100, test=5))["train"]
    counts = Counter(map(multiplication.identity, table.to_dict("records")))
    assert len(counts) == 40 and max(counts.values()) - min(counts.values()) <= 1
    assert {tuple(pair) for pair in table.to_numpy().tolist()} > {(a, b) for a, b in counts if a != b}
    assert {(b, a) for a, b in counts} <= {tuple(pair) for pair in table.to_numpy().tolist()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digits": 0}, r"task\.digits: 0 is not allowed; allowed: an integer from 1 to 6"),
        ({"digits": 7}, r"task\.digits: 7 is not allowed; allowed: an integer from 1 to 6"),
        (
            {"digits": 1},
            r"task\.test: 1024 is not allowed; allowed: 1 to 44, so many pairs of numbers of 1 digits can be held out",
        ),
        ({"train": 0}, r"task\.train: 0 is not allowed; allowed: an integer of at least 1"),
        ({"test": 3322}, r"task\.test: 3322 is not allowed; allowed: 1 to 3321"),
        ({"slip": 1.5}, r"task\.slip: 1\.5 is not allowed; allowed: a number from 0 to 1"),
        ({"slip": True}, r"task\.slip: true is not allowed; allowed: a number"),
        ({"seed": -1}, r"task\.seed: -1 is not allowed; allowed: an integer of at least 0"),
    ],
)
def test_wrong_options(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(Options(), **changes)


# --- Prompts, references, traces ------------------------------------------------------------------


def test_prompts_open_the_thinking():
    assert multiplication.prompt(ROW, "compact") == "47*86=<think>"
    base, chat = (multiplication.prompt(ROW, template) for template in ("base", "chat"))
    assert base.endswith("<think>") and "User: Multiply 47 by 86. " in base
    assert [message["role"] for message in chat] == ["system", "user", "assistant"]
    assert chat[1]["content"] in base and chat[2]["content"].endswith("<think>")
    for write in (multiplication.prompt, multiplication.reference_answer):
        with pytest.raises(ValueError, match="template: 'chatty'; allowed: compact, chat, base"):
            write(ROW, "chatty")


def steps(line):
    """The sums and products of one compact line, each by its own exact value."""
    parts = re.sub("yes|no", "", line).split("=")
    return [sum(Fraction(np.prod([int(n) for n in term.split("*")])) for term in part.split("+")) for part in parts]


@pytest.mark.parametrize("digits", [1, 2, 3, 6])
def test_references_are_right_in_every_step_and_score_everything(digits):
    options = Options(digits=digits, train=40, warm_start=1, test=5)
    for row in multiplication.build(options)["train"].to_dict("records"):
        line = multiplication.reference_answer(row).partition("</think>")[0]
        assert line.endswith("yes") and set(steps(line)) == {row["a"] * row["b"]}
        for template in TEMPLATES:
            score = multiplication.score(multiplication.reference_answer(row, template), row)
            assert (score.reward, score.attempts, score.self_checks, score.gave_up) == (1.1, 1, 1, False)


def test_references_word_for_word():
    assert multiplication.reference_answer(ROW) == "47*86=47*80+47*6=3760+282=4042yes</think>\n<answer>4042</answer>"
    assert multiplication.reference_answer({"a": 47, "b": 80}) == "47*80=3760yes</think>\n<answer>3760</answer>"
    assert multiplication.reference_answer(ROW, "chat") == (
        "Let me try 47 * 86 = 47 * 80 + 47 * 6 = 3760 + 282 = 4042. That is right.</think>\n<answer>4042</answer>"
    )


def test_the_alphabet_spells_everything(tables):
    rng = np.random.default_rng(0)
    for row in tables["warm_start"].to_dict("records"):
        text = multiplication.prompt(row, "compact") + multiplication.trace(row, rng) + multiplication.reference_answer(row)
        assert set(TOKEN.findall(text)) <= set(multiplication.ALPHABET)


def test_a_trace_multiplies_with_slips_and_judges_itself_truly(tables):
    rng = np.random.default_rng(0)
    slips = 0
    for row in tables["warm_start"].to_dict("records"):
        trace, target = multiplication.trace(row, rng), row["a"] * row["b"]
        *lines, last = trace.partition("</think>")[0].split("\n")
        for line in [*lines, last]:
            exact = steps(line)
            assert exact[0] == target and (len(exact) == 2 or exact[-1] == exact[-2])
            assert set(exact[:-2]) <= {target}, "the working is right up to the products"
            assert line.endswith("yes" if exact[-1] == target else "no")
            slips += exact[-1] != target
        assert all(line.endswith("no") for line in lines) and len(lines) < SMALL.max_attempts
        assert trace.endswith(f"</think>\n<answer>{steps(last)[-1]}</answer>")
        score = multiplication.score(trace, row)
        assert score.formatted and score.correct != score.gave_up
        assert score.attempts == score.self_checks == len(lines) + 1
    assert slips > 100


def test_how_often_a_trace_is_right():
    """One attempt at two products of one digit: right with (1 - slip)², but for slips that cancel out."""
    rng, options = np.random.default_rng(0), Options(slip=0.5, max_attempts=1)
    found = [
        multiplication.score(multiplication.trace({"a": 47, "b": 86}, rng, options), ROW).correct for _ in range(2000)
    ]
    assert abs(np.mean(found) - 0.25) < 0.04
    stubborn = Options(slip=1.0, persistence=1.0)
    assert multiplication.trace({"a": 47, "b": 80}, rng, stubborn).count("no") == stubborn.max_attempts
    assert multiplication.trace({"a": 47, "b": 80}, rng, replace(stubborn, persistence=0)).count("no") == 1
    assert multiplication.score(multiplication.trace(ROW, rng, Options(slip=0.0)), ROW).reward == 1.1


@pytest.mark.parametrize("template", ["chat", "base"])
def test_english_traces_say_the_same(tables, template):
    for seed, row in enumerate(tables["warm_start"].to_dict("records")[:200]):
        compact, english = (
            multiplication.trace(row, np.random.default_rng(seed), SMALL, name) for name in ("compact", template)
        )
        # Phrases are drawn after the attempts, which are the same.
        equations = [[(e.claimed, e.mark) for e in _equations.find(text)] for text in (compact, english)]
        assert equations[0] == equations[1]
        assert multiplication.score(compact, row) == multiplication.score(english, row)


def test_written_arithmetic():
    completion = "47*86=47*80+47*6=3760+292=4052no\n86*47=86*40+86*7=3440+602=4042yes</think>\n<answer>4042</answer>"
    assert multiplication.arithmetic(completion) == (1, 2)


def test_the_experiment_has_room_for_every_trace():
    experiment = experiments.load(Path(__file__).parents[2] / "config/experiments/multiplication-mini.yaml")
    options = experiments.options("tasks", experiment.task)
    longest = replace(options, slip=1.0, persistence=1.0)
    rng = np.random.default_rng(0)
    lengths = [len(TOKEN.findall(multiplication.trace({"a": 99, "b": 98}, rng, longest))) for _ in range(200)]
    assert max(lengths) < experiment.training.max_new_tokens
