"""GSM8K: numbers, verifier, references and the public files."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softmax_rewards.config import experiments
from softmax_rewards.data import dataset
from softmax_rewards.data.tasks import _numbers, gsm8k
from softmax_rewards.data.tasks.gsm8k import Options
from softmax_rewards.models import catalogue, sources
from softmax_rewards.training import base_model, evaluate, trainer

ROW = {"question": "How much?", "solution": "9 * 2 = $18 a day.", "answer": "18"}
TASK = {"name": "gsm8k", "train": 3, "warm_start": 2, "test": 2}
SOLUTIONS = [
    ("Ann has 2 bags of 3 pens. How many pens?", "She has 2*3=<<2*3=6>>6 pens.\n#### 6"),
    ("A house costs twice $40,000. How much?", "It is 40,000*2=$<<40000*2=80000>>80,000\nThat is it\n#### 80,000"),
    ("It is 3 degrees, 5 less at night. How cold?", "3-5=<<3-5=-2>>-2\n#### -2"),
    ("Half of 1/2?", "As 2 < 4, (1/2)/2=<<(1/2)/2=0.25>>1/4\n#### 0.25"),
]
HELD_OUT = [("Bob has 4 pens.  How many?", "4\n#### 4"), ("And 7?", "7\n#### 7"), ("And 8?", "8\n#### 8")]


def write(folder, **splits):
    folder.mkdir(exist_ok=True, parents=True)
    for name, rows in splits.items():
        lines = [json.dumps({"question": question, "answer": answer}) for question, answer in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def public(tmp_path):
    return write(tmp_path / "public", train=SOLUTIONS, test=HELD_OUT)


def answer(text, thinking="9 * 2 = 18"):
    return f"{thinking}</think>\n<answer>{text}</answer>"


# --- Numbers --------------------------------------------------------------------------------------


@given(st.integers(-(10**12), 10**12), st.integers(0, 6), st.booleans(), st.sampled_from(["", "$"]), st.booleans())
def test_decimals_have_their_exact_value_however_they_are_written(digits, places, commas, sign, dot):
    value = Fraction(digits, 10**places)
    whole, part = divmod(abs(digits), 10**places)
    written = f"{whole:,}" if commas else str(whole)
    written += f".{part:0{places}}" if places else ""
    for minus in (f"-{sign}", f"{sign}-") if digits < 0 else (sign,):
        assert _numbers.parse(f"{minus}{written}{'.' * dot}") == value


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_fractions_have_their_exact_value(top, bottom):
    lowest = bottom > 1 and Fraction(top, bottom).denominator == bottom
    assert _numbers.parse(f"{top}/{bottom}") == (Fraction(top, bottom) if lowest else None)


@pytest.mark.parametrize(
    "text",
    [
        "", "-", "$", ".", ",", "1,23", "12,3456", "1234,567", ",123", "1,,234", "1 000", " 1", "1 ", "1\n", "+1",
        "--1", "1..", "1.2.3", "1/2/3", "1/2.5", "1.5/2", "1/-2", "1/", "/2", "1_000", "1e3", "0x10", "inf", "nan",
        "$$1", "-$-1", "1$", "1%", "18 eggs", "9+9", "9*2", "\u0661\u0668", "\uff11\uff18", "\u00bd",
        "\u221218", "9" * 41,
    ],
)  # fmt: skip
def test_what_is_not_one_number(text):
    assert _numbers.parse(text) is None


@given(st.text("0123456789.,/$- ", max_size=12))
def test_what_is_read_as_a_number_is_that_number_to_others(text):
    value = _numbers.parse(text)
    if value is not None:
        assert value == Fraction(text.replace("$", "").replace(",", "").removesuffix("."))


# --- Verifier -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["18", "18.", "18.0", "$18", "$18.00", " 18 ", "\n18\n", "018"])
def test_right_answers(text):
    score = gsm8k.score(answer(text), ROW)
    assert (score.reward, score.correct, score.formatted, score.gave_up) == (1.1, True, True, False)
    assert gsm8k.solution(answer(text), ROW) == "18"


@pytest.mark.parametrize(
    "text",
    [
        "", "1,8", "-18", "18.0000000001", "18 dollars", "18, 19", "17 or 18", "9*2", "18)", "\u0661\u0668",
        "\uff11\uff18", "18/1/1", "18/0",
        "36/2", "18/1", "9" * 10_000, "18" + " " * 10_000 + ".", "0." + "0" * 10_000, "<answer>18",
        "18</answer>", "__import__('os')",
    ],
)  # fmt: skip
def test_hostile_and_wrong_answers(text):
    score = gsm8k.score(answer(text), ROW)
    assert not score.correct
    assert score.reward in (0.0, 0.1)
    assert gsm8k.solution(answer(text), ROW) is None


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("<answer>18</answer></think>", 0.0),
        ("<answer>18</answer></think>\n<answer>17</answer>", 0.1),
        ("I use <answer> </answer> tags.</think>\n<answer>18</answer>", 1.1),
        ("</think>\n<answer>17</answer>\n<answer>18</answer>", 0.0),
        ("</think>\n<answer>18</answer> dollars", 1.0),
        ("#### 18", 0.0),
        ("</think>\n18", 0.0),
        ("", 0.0),
    ],
)
def test_malformed_completions(completion, reward):
    assert gsm8k.score(completion, ROW).reward == reward


@pytest.mark.parametrize(
    ("completion", "flexible"),
    [
        ("So it is $18.", True), ("18", True), ("18 dollars", True), ("1,8", False), ("17, 18,", True), ("18.00", True),
        ("18 and 1", False), ("-18", False), ("-$18", False), ("\\boxed{18}", True), ("#### 18", True), ("", False),
        ("9 * 2", False), ("9*2=18", True), ("18" + ",1" * 5000, False), ("9" * 10_000 + " 18", True), ("\u0661", False),
        ("</think>\n<answer>18</answer>", True), ("</think>\n<answer>18</answer> for 2 days", False),
    ],
)  # fmt: skip
def test_the_flexible_verdict_reads_the_last_number_and_is_not_paid(completion, flexible):
    score = gsm8k.score(completion, ROW)
    assert score.flexible is flexible
    assert score.reward == pytest.approx(score.correct + 0.1 * score.formatted)


def test_the_flexible_verdict_has_values_with_commas():
    assert gsm8k.score("It is $1,800.", ROW | {"answer": "1800"}).flexible


def test_format_reward_is_an_option():
    options = Options(format_reward=0.0)
    assert gsm8k.reward_range(options) == (0.0, 1.0)
    assert gsm8k.score(answer("18"), ROW, options).reward == 1.0
    assert gsm8k.score(answer("1"), ROW, options).reward == 0.0


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "\n", "18", "$", "=", "1,8", "9*2"])))
def test_the_verifier_never_raises_and_pays_only_the_final_answer(words):
    text = "".join(words)
    score = gsm8k.score(text, ROW)
    assert score.reward == pytest.approx(score.correct + 0.1 * score.formatted)
    assert score.correct == (gsm8k.solution(text, ROW) is not None)
    if score.correct:
        _, _, behind = text.rpartition("</think>")
        assert behind.count("<answer>") == 1 and "18" in behind.partition("<answer>")[2]


def test_attempts_and_marks_of_the_thinking():
    thinking = "It is $40,000 * 2 = $80,000, which is too big.\nSo 9 * 2 = 18. That is right."
    score = gsm8k.score(answer("18", thinking), ROW)
    assert (score.attempts, score.self_checks, score.gave_up) == (2, 2, False)
    assert gsm8k.score(answer("1", "9 * 3 = 27. I give up."), ROW).gave_up


# --- Data -----------------------------------------------------------------------------------------


def test_written_arithmetic():
    thinking = "$1,200*2=2400 and 3 + 4 = 8.</think>\n<answer>9*9=81</answer>"
    assert gsm8k.arithmetic(thinking) == (1, 2)


def test_the_public_test_file_is_what_is_held_out(public, tmp_path):
    dataset.write(TASK, tmp_path / "out", public)
    tables = {split: dataset.read(tmp_path / "out", split) for split in dataset.SPLITS}
    assert {split: len(rows) for split, rows in tables.items()} == {"train": 3, "warm_start": 2, "test": 2}
    train, test = ({question for question, _ in rows} for rows in (SOLUTIONS, HELD_OUT))
    assert {row["question"] for row in tables["test"]} < test
    assert {row["question"] for row in tables["train"] + tables["warm_start"]} <= train
    again = gsm8k.build(Options(train=3, warm_start=2, test=2), public)
    assert all(again[split].to_dict("records") == rows for split, rows in tables.items())
    other = gsm8k.build(Options(train=3, warm_start=2, test=2, seed=1), public)
    assert any(other[split].to_dict("records") != rows for split, rows in tables.items())


def test_a_test_problem_in_the_training_file_is_refused(public, tmp_path):
    write(public, train=[*SOLUTIONS, ("bob has 4 pens. How\nMany?", "4\n#### 4")])
    with pytest.raises(ValueError, match=r"test puzzle in row .* is also in train"):
        dataset.write(TASK | {"train": 5, "test": 3}, tmp_path / "out", public)


def test_references_have_no_calculator_marks_and_score_everything(public):
    table = gsm8k.build(Options(train=4, warm_start=4, test=3), public)["train"]
    rows = {row["question"]: row for row in table.to_dict("records")}
    assert {question: rows[question]["answer"] for question, _ in SOLUTIONS} == dict(
        zip([question for question, _ in SOLUTIONS], ["6", "80000", "-2", "1/4"], strict=True)
    )
    assert gsm8k.reference_answer(rows[SOLUTIONS[1][0]]) == (
        "It is 40,000*2=$80,000\nThat is it</think>\n<answer>80000</answer>"
    )
    for row in rows.values():
        for template in gsm8k.TEMPLATES:
            reference = gsm8k.reference_answer(row, template)
            assert gsm8k.score(reference, row).reward == gsm8k.reward_range(Options())[1] == 1.1
            assert gsm8k.trace(row, None, Options(), template) == reference
            assert "<<" not in reference


def test_files_of_both_kinds_are_read_alike(public, tmp_path):
    options = Options(train=4, warm_start=4, test=3)
    expected = gsm8k.build(options, public)
    for split, rows in (("train", SOLUTIONS), ("test", HELD_OUT)):
        (tmp_path / "hub" / "main").mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame(rows, columns=["question", "answer"])
        table.to_parquet(tmp_path / "hub" / "main" / f"{split}-00000-of-00001.parquet")
    found = gsm8k.build(options, tmp_path / "hub")
    assert all(found[split].equals(expected[split]) for split in dataset.SPLITS)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "?"}, r"train\.jsonl, row 2: no column 'answer'; allowed: rows with question, answer"),
        ({"question": None, "answer": "#### 1"}, "row 2, column question: None; allowed: text"),
        ([], r"row 2: \[\]; allowed: one JSON object per line"),
        ({"question": "?", "answer": "18"}, "row 2, column answer: '18'; allowed: a solution that ends with ####"),
        ({"question": "?", "answer": "#### ten"}, "row 2, column answer: ' ten'; allowed"),
        ({"question": "?", "answer": "#### 1/0"}, "row 2, column answer: ' 1/0'; allowed"),
    ],
)
def test_a_bad_row_is_named(public, row, message):
    good = json.dumps({"question": "?", "answer": "#### 1"})
    (public / "train.jsonl").write_text(f"{good}\n{json.dumps(row)}\n")
    with pytest.raises(ValueError, match=message):
        gsm8k.build(Options(train=1, warm_start=1, test=1), public)


def test_too_few_problems_or_no_file(public, tmp_path):
    with pytest.raises(
        ValueError, match=r"task\.train: 5 is not allowed; allowed: up to 4, the problems of the public file"
    ):
        gsm8k.build(Options(train=5, warm_start=1, test=1), public)
    for folder in (None, tmp_path / "nothing"):
        with pytest.raises(ValueError, match=r"needs one file train\*\.parquet or train\*\.jsonl below .*, found 0"):
            gsm8k.build(Options(), folder)
    write(public, **{"test-2": HELD_OUT})
    with pytest.raises(ValueError, match=r"needs one file test.*, found 2"):
        gsm8k.build(Options(train=1, warm_start=1, test=1), public)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 0}, r"task\.train: 0 is not allowed; allowed: an integer of at least 1"),
        ({"test": 1.0}, r"task\.test: 1\.0 is not allowed; allowed: an integer"),
        ({"seed": -1}, r"task\.seed: -1 is not allowed; allowed: an integer of at least 0"),
        ({"format_reward": 2}, r"task\.format_reward: 2 is not allowed; allowed: a number from 0 to 1"),
    ],
)
def test_wrong_options(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(Options(), **changes)


# --- Prompts --------------------------------------------------------------------------------------


def test_prompts_open_the_thinking():
    base, chat = (gsm8k.prompt(ROW, template) for template in ("base", "chat"))
    assert base.endswith("<think>") and "User: How much?\n" in base
    assert [message["role"] for message in chat] == ["system", "user", "assistant"]
    assert chat[1]["content"] in base and chat[2]["content"].endswith("<think>")
    with pytest.raises(ValueError, match="template: 'compact'; allowed: chat, base"):
        gsm8k.prompt(ROW, "compact")


def test_a_language_model_takes_a_step_with_a_warm_start_and_teacher_forcing(public, tmp_path, monkeypatch):
    """Random weights and single bytes as tokens; a whole vocabulary would take a minute."""
    monkeypatch.setitem(catalogue.MODELS["qwen2.5-0.5b"].config, "vocab_size", 1024)
    spec = {
        "task": TASK,
        "model": {
            "source": "random",
            "shape": "qwen2.5-0.5b",
            "layers": 1,
            "warm_start": {"steps": 1, "traces": 2, "device": "cpu"},
        },
        "training": {
            "steps": 1,
            "prompts_per_step": 2,
            "group_size": 2,
            "max_new_tokens": 4,
            "injection": 1.1,
            "device": "cpu",
        },
        "evaluation": {"puzzles": 2, "pass_puzzles": 1, "pass_samples": 16, "samples": 1},
        "seeds": [0],
        "ablations": {"baseline": {"weighting": {"scheme": "linear"}}},
    }
    run = experiments.check("words", spec).run("baseline", 0)
    dataset.write(run.task, tmp_path / "data", public)
    base_model.build(run.model, run.task, tmp_path / "data", tmp_path / "base")
    trainer.train(run, tmp_path / "data", tmp_path / "base", tmp_path / "run")
    (metrics,) = pd.read_csv(tmp_path / "run/metrics.csv").to_dict("records")
    evaluations = pd.read_csv(tmp_path / "run/evaluations.csv")
    assert evaluations["flexible"].between(0, 1).all(), "the second verdict is logged"
    evaluate.final(tmp_path / "run", tmp_path / "data")
    assert 0 <= json.loads((tmp_path / "run/evaluation.json").read_text())["flexible"] <= 1
    assert np.isfinite(metrics["loss"]) and metrics["grad_norm"] > 0
