"""Countdown: verifier, prompts, solver, generator and the public file."""

import json
import re
import time
from fractions import Fraction
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_rewards.data.tasks import _countdown, _equations, countdown
from softmax_rewards.data.tasks.countdown import Options

ROW = {"nums": [3, 5, 7], "target": 22, "solution": "3*5+7"}
MINI = Options(low=1, high=12, target_low=1, target_high=100, held_out=0.3)


@pytest.fixture(scope="module")
def tables():
    return countdown.build(MINI)


def answer(expression, thinking="3*5+7=22yes"):
    return f"{thinking}</think>\n<answer>{expression}</answer>"


def brute_force(numbers, operators="+-*/"):
    """{value: fully parenthesised expression} over all of `numbers`: join any two until one is left."""
    found = {}

    def join(items):
        if len(items) == 1:
            found.setdefault(*items[0])
        for i, j in permutations(range(len(items)), 2):
            (a, x), (b, y) = items[i], items[j]
            rest = [item for k, item in enumerate(items) if k not in (i, j)]
            for operator in operators:
                if operator != "/" or b:
                    value = {"+": a + b, "-": a - b, "*": a * b}[operator] if operator != "/" else a / b
                    join([*rest, (value, f"({x}{operator}{y})")])

    join([(Fraction(n), str(n)) for n in numbers])
    return found


# --- Verifier -------------------------------------------------------------------------------------


def test_a_right_answer_in_the_right_format():
    score = countdown.score("3+5*7=38no\n3*5+7=22yes</think>\n<answer>3*5+7</answer>", ROW)
    assert score.reward == countdown.reward_range(MINI)[1] == 1.1
    assert (score.correct, score.formatted, score.gave_up) == (True, True, False)
    assert (score.attempts, score.self_checks) == (2, 2)


@pytest.mark.parametrize("expression", ["3*5+7", "7+5*3", "(3*5)+7", " ( 3 * 5 ) + 7 ", "\n3*5+7\n", "((7))+(3*5)"])
def test_right_answers(expression):
    assert countdown.score(answer(expression), ROW).reward == 1.1


@pytest.mark.parametrize(
    "expression",
    [
        "", "22", "3+5+7", "3*5+7=22", "15+7", "3*5+7+0", "3*5+7*1", "3*5+7-3+3", "3*5", "22*3/3+5-5+7-7",
        "9**9**9", "3*5//1+7", "-3*-5+7", "+3*5+7", "--3*5+7", "03*5+7", "3*5+7.0", "3*5+7#", "3*5+7;",
        "3\u00d75+7", "\u0663*5+7", "3*5\u00a0+7", "7/(5-5)", "3/0", "(" * 5000 + "3*5+7" + ")" * 5000,
        "9" * 10_000, "3*5+7)", "(3*5+7", "__import__('os').system('x')", "3*5+7 " * 30, "<answer>3*5+7",
        "3*5+7</answer>", "<think>3*5+7",
    ],
)  # fmt: skip
def test_hostile_and_wrong_answers(expression):
    score = countdown.score(answer(expression), ROW)
    assert not score.correct
    assert score.reward in (0.0, 0.1)
    assert countdown.solution(answer(expression), ROW) is None


@pytest.mark.parametrize(
    ("completion", "correct"),
    [
        ("</think>\n<answer>3*5+7</answer>\n", True),
        ("</think>\n<answer>3*5+7</answer> done", True),
        ("</think><answer>3*5+7</answer>", True),
        ("</think>\n\n<answer>3*5+7</answer>", True),
        ("a</think>b</think>\n<answer>3*5+7</answer>", True),
        ("a<think>b</think>\n<answer>3*5+7</answer>", True),
        ("<answer>3*5+7</answer>", False),
        ("<answer>3*5+7</answer></think>", False),
        ("</think>\n<answer>3*5+7</answer></think>", False),
        ("</think>\n<think><answer>3*5+7</answer>", False),
        ("</think>\n<answer>3*5+7", False),
        ("</think>\n3*5+7</answer>", False),
        ("</think>\n</answer>3*5+7<answer>", False),
        ("</think>\n<answer>3*5+7</answer><answer>3*5+7</answer>", False),
        ("</think>\n<answer>1</answer>\n<answer>3*5+7</answer>", False),
        ("</THINK>\n<ANSWER>3*5+7</ANSWER>", False),
        ("", False),
    ],
)
def test_malformed_completions(completion, correct):
    score = countdown.score(completion, ROW)
    assert (score.formatted, score.correct, score.reward) == (False, correct, float(correct))


@pytest.mark.parametrize(
    ("thinking", "formatted"),
    [
        ("I put it in <answer> </answer> tags.", True),
        ("First the <answer> tag", True),
        ("for example <answer> (1 + 2) / 3 </answer>.", True),
        ("<answer>1</answer>", True),
        ("</answer><answer><answer>", True),
        ("I work in <think> </think> tags.", True),
        ("<think></think>, <think>a</think>", True),
        ("<think>", False),
        ("I close it with </think>.", False),
        ("<think><think></think></think>", False),
        ("</think>\n<answer>1</answer>", False),
        ("<think>a</think>b</think>", False),
    ],
)
def test_thinking_that_mentions_tags_loses_no_right_answer(thinking, formatted):
    score = countdown.score(answer("3*5+7", thinking), ROW)
    assert (score.correct, score.formatted) == (True, formatted)
    wrong = countdown.score(answer("1", f"{thinking}<answer>3*5+7</answer>"), ROW)
    assert (wrong.correct, wrong.formatted) == (False, formatted), "an answer inside the thinking is not paid"


@pytest.mark.parametrize("space", ["\t", "\r", "\v", "\f", "\x1c", "\x85", "\xa0", "\u2003", "\u2028", "\u3000", " \n\t"])
def test_white_space_around_an_answer_is_ignored(space):
    assert countdown.score(answer(f"{space}3*5+7{space}"), ROW).reward == 1.1
    assert countdown.score(f"</think>{space}<answer>3*5+7</answer>", ROW).reward == 1.0, "not around the tags"


def test_only_an_answer_that_is_the_whole_rest_is_formatted():
    assert countdown.score("</think>\n<answer></answer>", ROW).formatted
    assert countdown.score("free text, 1 < 2\n\n</think>\n<answer>anything</answer>", ROW).reward == 0.1


def test_partial_format():
    options = Options(partial_format=True)
    cases = {
        "</think>\n<answer>1</answer>": 0.1,
        "thinking</think>": 0.01,
        "<answer>1</answer>": 0.05,
        "</think> so <answer>1</answer>": 0.06,
        "</answer><answer>": 0.0,
        "</think> so <answer>3*5+7</answer>": 1.06,
    }
    for completion, reward in cases.items():
        assert countdown.score(completion, ROW, options).reward == pytest.approx(reward)


def test_format_reward_is_an_option():
    options = Options(format_reward=0.0)
    assert countdown.reward_range(options) == (0.0, 1.0)
    assert countdown.score(answer("3*5+7"), ROW, options).reward == 1.0


def test_every_expression_over_three_numbers_is_judged_by_its_value():
    for value, expression in brute_force([3, 5, 7]).items():
        if value.denominator == 1:
            assert countdown.score(answer(expression), ROW | {"target": int(value)}).correct
        assert countdown.score(answer(expression), ROW).correct == (value == 22)


def test_rows_may_hold_numpy_values():
    row = {"nums": np.array([3, 5, 7]), "target": np.int64(22)}
    assert countdown.score(answer("3*5+7"), row).correct
    assert not countdown.score(answer("9" * 150), row).correct
    assert countdown.prompt(row, "compact") == countdown.prompt(ROW, "compact")


pieces = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "\n",
    "=",
    "no",
    "yes",
    " ",
    "3*5+7",
    "(",
    ")",
    "/0",
    ", which is too big.",
    ". That works!",
    "\nI give up",
    "1" * 99,
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(pieces) | st.text("0123456789+-*/()=./ ")).map("".join)))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_no_text_breaks_the_verifier(completion):
    score = countdown.score(completion, ROW)
    assert score.reward in (0.0, 0.1, 1.0, 1.1)
    assert score.reward == score.correct + 0.1 * score.formatted
    assert 0 <= score.self_checks <= score.attempts
    assert (countdown.solution(completion, ROW) is not None) == score.correct
    right, total = countdown.arithmetic(completion)
    assert 0 <= right <= total


@pytest.mark.parametrize(
    ("thinking", "expression", "attempts", "self_checks", "gave_up"),
    [
        ("3+5*7=38no\n3*5+7=22yes", "3*5+7", 2, 2, False),
        ("3+5*7=3+35=38:22no\n3*5+7=15+7=22:22yes", "3*5+7", 2, 2, False),
        ("3+5*7=38:22no", "3+5*7", 1, 1, True),
        ("3/5+7=38/5:22no\n3 - 5 - 7 = -9:22 no", "3-5-7", 2, 2, True),
        ("3+5*7=38:22", "3+5*7", 1, 0, True),
        ("3+5*7=38no", "3+5*7", 1, 1, True),
        ("3+5*7=38no\n3*5+7=22yes", "3+5*7", 2, 2, True),
        ("3-5-7=-9no", "3*5+7", 1, 1, True),
        ("", "3*5+7", 0, 0, True),
        ("Numbers 3, 5, 7; target = 22. 3 + 5 = 8 fails, so (3 * 5) + 7 = 22.", "3*5+7", 2, 1, False),
        ("[3,5,7]=22", "3*5+7", 0, 0, True),
        ("3/5+7=38/5no\n3 * 5 + 7 = 22 yes", "3 * 5 + 7", 2, 2, False),
        ("5 = 5, x = 5, 35=35, 3+5=x, 3+5", "3*5+7", 0, 0, True),
        ("3+5=8 nor 22", "3*5+7", 1, 0, True),
    ],
)
def test_counts_of_the_thinking(thinking, expression, attempts, self_checks, gave_up):
    score = countdown.score(answer(expression, thinking), ROW)
    assert (score.attempts, score.self_checks, score.gave_up) == (attempts, self_checks, gave_up)


WRONG = [
    ", which is too big.", " (too high)", ", not 22.", ". That is not 22.", "\nThis is not the target.",
    ", too small.", ". It's too low!", " — no, too far", ". That isn't what we want.", ". That doesn't work.",
    " ≠ 22", ". Wrong.", "no", ". That is not correct.", ", incorrect.", ", no.", ". That is not exactly 22.",
    ". Not right.", ". TOO BIG!",
]  # fmt: skip
RIGHT = [
    ". That works!", ", which is 22 — yes", ", which is 22. Yes!", " yes", ". It works!", ", and that is the target.",
    ". That's correct.", ". Correct!", "\nThis is exactly the target.", ", which equals our target", "yes",
    ". That is right",
]  # fmt: skip
SILENT = [
    "", " and 22", ". Next", ". I have not used 7 yet.", ". Let me see if this works", ". There is no way on.", "nope",
    ". The correct way is another", ". Nothing", ". That is yesterday", ". Now 7 is left" + " over" * 20 + " too big",
    "nor", ". So 4 + 5 = 9 too big",
]  # fmt: skip


@pytest.mark.parametrize(
    ("behind", "mark"),
    [(text, mark) for texts, mark in [(WRONG, False), (RIGHT, True), (SILENT, None)] for text in texts],
)
def test_what_marks_an_equation(behind, mark):
    (first, *_) = _equations.find(f"Let me try 3 * 5 + 7 = 15 + 7 = 22{behind}")
    assert first == ("3 * 5 + 7", "22", mark)
    assert _equations.find(f"3 * 5 + 7 = 22{behind}\nNow try 5 + 7 = 12")[0].mark is mark
    score = countdown.score(answer("3*5+7", f"So (1 + 2) = 3, too small. 3 * 5 + 7 = 22{behind}"), ROW)
    assert score.self_checks == 1 + (mark is not None) + behind.endswith("9 too big")
    assert score.gave_up == (mark is False), "an unmarked equation that reaches the target claims success"


def test_a_mark_belongs_to_the_equation_before_it():
    found = _equations.find("3 + 5 = 8. 8 * 7 = 56, too big. It works. 3 * 5 = 15\n15 + 7 = 22, that works, 4 * 4 = 16")
    assert [equation.mark for equation in found] == [None, False, None, True, None]


@pytest.mark.parametrize(
    "found",
    [
        "3 * 5 + 7 = 22 (15 + 7)", "**3 * 5 + 7 = 22**", "3 * 5 + 7 = 22 🎉", "\\(3 \\times 5 + 7 = 22\\)", "3 × 5 + 7 = 22 ✅",
        "5 * 3 = 15\n15 + 7 = 22", "$7 + 5 \\cdot 3 = \\boxed{22}$", "| 3 * 5 + 7 | 22 | ✓ |", "7 + (3 * 5) = 22.0", "3*5+7 → 22",
        "- `3 * 5 + 7` = **22** (uses every number)", "3 times 5 is 15, and 15 plus 7 gives 22", "First 15, then 22. That works!",
    ],
)  # fmt: skip
def test_an_answer_that_the_thinking_reaches_is_not_given_up(found):
    for before in ("", "3 + 5 * 7 = 38, too big.\n", "I can't find it with 3 + 5 = 8.\n"):
        score = countdown.score(answer("3*5+7", before + found), ROW)
        assert (score.correct, score.gave_up) == (True, False)
        assert countdown.score(answer("3*5+7", f"{before}{found}\nNo, I give up."), ROW).gave_up


@pytest.mark.parametrize(
    "thinking",
    [
        "3 + 5 * 7 = 38", "**3 + 5 * 7 = 38** ❌", "3 + 5 * 7 = 38. But we need 22.", "I don't know.", "3 + 5 = 8\n8 * 7 = 56",
        "3 * 5 + 7 = 22? No, wrong.", "3 + 5 * 7 = 22 ✗", "3 + 5 * 7 = 38 (close)",
    ],
)  # fmt: skip
def test_an_answer_that_the_thinking_does_not_reach_is_given_up(thinking):
    assert countdown.score(answer("3+5*7", thinking), ROW).gave_up


@pytest.mark.parametrize(
    ("thinking", "counts"),
    [
        ("**79 - 60 + 17 = 36**", (1, 1)), ("- 3 × 5 = 15\n* 3 ÷ 5 = 0.6", (2, 2)), ("2.5 * 4 = 10, 0.5 * 20 = 11", (1, 2)),
        ("10 / 3 = 3.33, 10 / 3 ≈ 3.3, 20 / 3 = 6.66", (2, 3)), ("$40,000 * 2 = $80,000", (1, 1)), ("2 ** 3 = 8", (0, 0)),
        (r"\(\frac{12}{4} \times 2 = 6\)", (1, 1)), ("9 * 2 = <<9*2=18>>18", (1, 1)), ("3 * (-2) = -6", (0, 0)),
        ("3 * 5 = 15, which is 7 less", (1, 1)), ("9 * 2 = 10 + 8 is 18", (1, 1)),
    ],
)  # fmt: skip
def test_arithmetic_as_language_models_write_it(thinking, counts):
    assert countdown.arithmetic(f"{thinking}</think>\n<answer>1</answer>") == counts


@pytest.mark.parametrize(
    ("thinking", "gave_up"),
    [
        ("3 * 5 + 7 = 22. That works!", False),
        ("3 * 5 + 7 = 22. That works! I give up.", True),
        ("I cannot find it. 3*5 + 7 = 22. That works.", False),
        ("3 + 5 * 7 = 38, too big. So I can't find a way", True),
        ("There is no solution, I gave up", True),
    ],
)
def test_giving_up_in_words(thinking, gave_up):
    assert countdown.score(answer("3*5+7", thinking), ROW).gave_up == gave_up


def test_without_an_answer_nothing_was_given_up_unless_the_thinking_says_so():
    score = countdown.score("3+5*7=38no\n3*5", ROW)
    assert (score.attempts, score.self_checks, score.gave_up) == (1, 1, False)
    assert countdown.score("3 + 5 * 7 = 38, too big. I give up.", ROW).gave_up


UNITS = [
    "(", "9", "=", " ", "1+", "1+ =", "1+1=", "1+1=2", "1+1=2no\n", "1+1=2,", "1+1=2 t t t t", "1+1=1/", "too ", "not ",
    "1+1=2 that is that is that is that is", "1+1=2 isn't isn't isn't isn't", "1+1=2" + "n" * 59, "<think>", "<answer>",
    "give give ", "can not ", "1+1=2 it is exactly the it equals exactly our", "\u0663", "-", " yes", "9**9", "/0",
    "\\frac{", "\\", "**", "* ", "1*", "|", "| 1+1 | 2 ", "\n- ", "\n| 1+1 ", "1.", "1,000", "[1+1", "1+1 is ", "1+1 is 2 ",
    "\n", "\n=", "1+1\n=2", " plus 1", "→", "1 →", "✓", "\n✓ 1", "\n✓ 1=", "`", "<<1", "{", "x 1", "1+1 = (2", "×", "= # ",
    "1+1=2 close need to get ", "1+1=2, which is 3", "; //",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_the_verifier_takes_linear_time_on_any_text(unit):
    def seconds(length):
        text = (unit * length)[:length]
        texts = [text + answer("3*5+7"), answer(text), answer(f"3*5+7{text}")]
        start = time.process_time()
        for completion in texts:
            countdown.score(completion, ROW)
        return time.process_time() - start

    least = min(seconds(10_000) for _ in range(3))
    assert least < 0.1  # a quarter of it on an idle processor
    assert min(seconds(40_000) for _ in range(3)) < 10 * max(least, 0.001)  # quadratic would be 16


def test_attempts_hit_by_the_value_that_is_written():
    row = {"nums": [3, 5, 7], "target": 22, "solution": "3*5+7"}
    thinking = "3+5*7=3+35=38no\n3*5+7=15+7=22yes\n3+5+7=22no\n5*7-3=22"
    assert countdown.attempts(thinking, row) == [(False, False), (True, True), (True, False), (True, None)]
    assert countdown.attempts(thinking + "</think>\n<answer>3*5+7=22</answer>", row) == countdown.attempts(thinking, row)


def test_arithmetic_of_the_thinking():
    thinking = "3+5*7=38no\n3*5+7=23no\n3-5-7=-9no\n5/(3*7)=5/21no\n1/2 = 0.5, 1/0=1, 1+=2, 5 = 5, 2+2=4=4, "
    assert countdown.arithmetic(thinking + "</think>\n<answer>1+1=2</answer>") == (5, 7)


def test_solutions_are_counted_up_to_order_and_grouping():
    row = {"nums": [1, 2, 3], "target": 6}
    forms = {e: countdown.solution(answer(e), row) for e in ["1+2+3", "3+(2+1)", "1*2*3", "(3*1)*2", "1+2*3"]}
    assert len(set(forms.values())) == 3
    assert forms["1+2*3"] is None


# --- Prompts --------------------------------------------------------------------------------------


# TinyZero, examples/data_preprocess/countdown.py; its chat is here in the words of GRPO-Zero.
TINY_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant "
    "first thinks about the reasoning process in the mind and then provides the user with the answer.\n"
    "User: Using the numbers [3, 5, 7], create an equation that equals 22. You can use basic arithmetic operations "
    "(+, -, *, /) and each number can only be used once. Show your work in <think> </think> tags. And return the "
    "final answer in <answer> </answer> tags, for example <answer> (1 + 2) / 3 </answer>.\n"
    "Assistant: Let me solve this step by step.\n<think>"
)


def test_prompts():
    assert countdown.prompt(ROW, "compact") == "[3,5,7]=22:<think>"
    assert countdown.prompt(ROW, "base") == TINY_ZERO
    system, user, assistant = countdown.prompt(ROW, "chat")
    assert [m["role"] for m in (system, user, assistant)] == ["system", "user", "assistant"]
    assert system["content"].startswith("You are a helpful assistant. You first think about the reasoning process")
    assert f"User: {user['content']}\nAssistant: {assistant['content']}" == TINY_ZERO[TINY_ZERO.index("User: ") :]


@pytest.mark.parametrize(
    "write",
    [countdown.prompt, countdown.reference_answer, lambda row, t: countdown.trace(row, np.random.default_rng(0), template=t)],
)
def test_unknown_templates_are_refused(write):
    with pytest.raises(ValueError, match="template: 'chatty'; allowed: compact, chat, base"):
        write(ROW, "chatty")


# --- Solver ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("operators", ["+-*/", "+-*", "*/", "-", "+/"])
@pytest.mark.parametrize("numbers", [[4], [7, 7], [1, 2, 3], [3, 5, 5], [8, 3, 8, 3], [1, 5, 5, 5], [2, 2, 1, 1]])
def test_solver_finds_exactly_what_brute_force_finds(numbers, operators):
    reachable = brute_force(numbers, operators)
    for target in range(-10, 60):
        expression = _countdown.solve(numbers, target, operators)
        assert (expression is not None) == (target in reachable), target
        if expression is not None and target >= 0:
            row = {"nums": numbers, "target": target}
            assert countdown.score(answer(expression), row).correct, expression
            assert set(expression) - set("0123456789()") <= set(operators)


@pytest.mark.parametrize("count", [4, 5, 6])
def test_solver_with_many_numbers(count):
    rng = np.random.default_rng(0)
    puzzles = _countdown.generate(range(1, 100), count, range(10, 101), "+-*/", 20, rng)
    for numbers, target in list(puzzles)[:20]:
        row = {"nums": numbers, "target": target}
        assert countdown.score(answer(_countdown.solve(numbers, target)), row).correct
    assert _countdown.solve([1] * count, 37) is None


def test_solver_needs_fractions():
    row = {"nums": [3, 3, 8, 8], "target": 24}  # 8/(3-8/3) is the only way
    assert countdown.score(answer(_countdown.solve([3, 3, 8, 8], 24)), row).correct


def test_solver_refuses_what_it_does_not_cover():
    for numbers in ([1] * 7, [0, 1], []):
        with pytest.raises(ValueError, match="allowed: 1 to 6 positive integers"):
            _countdown.solve(numbers, 1)


# --- Generated data -------------------------------------------------------------------------------


def multisets(table):
    return {tuple(sorted(nums)) for nums in table["nums"]}


def test_tables_have_the_asked_sizes_and_solvable_rows(tables):
    assert {key: len(table) for key, table in tables.items()} == {
        "train": MINI.train,
        "test": MINI.test,
        "warm_start": MINI.warm_start,
    }
    for table in tables.values():
        assert list(table.columns) == ["nums", "target", "solution"]
        for row in table.iloc[:2000].to_dict("records"):
            assert countdown.score(countdown.reference_answer(row), row).reward == 1.1
            assert len(row["nums"]) == 3
            assert all(1 <= n <= 12 for n in row["nums"])
            assert 1 <= row["target"] <= 100


def test_test_multisets_are_in_no_other_table(tables):
    assert not multisets(tables["test"]) & (multisets(tables["train"]) | multisets(tables["warm_start"]))
    assert len({(tuple(sorted(n)), t) for n, t in zip(tables["test"].nums, tables["test"].target, strict=True)}) == 1024
    assert any(nums != sorted(nums) for nums in tables["test"]["nums"])


def test_where_every_puzzle_can_be_listed_none_is_missing():
    found = _countdown.generate(range(1, 5), 3, range(1, 21), "+-*", 1, np.random.default_rng(0))
    expected = {
        (a, b, c): {int(v) for v in brute_force((a, b, c), "+-*") if 1 <= v <= 20}
        for a in range(1, 5)
        for b in range(a, 5)
        for c in range(b, 5)
    }
    assert set(found) == {(numbers, target) for numbers, targets in expected.items() for target in targets}


def test_the_seed_decides(tables):
    small = {"train": 50, "test": 50, "warm_start": 50}
    first, again = countdown.build(Options(**small)), countdown.build(Options(**small))
    other = countdown.build(Options(**small, seed=1))
    for key in first:
        pd.testing.assert_frame_equal(first[key], again[key])
        assert not first[key].equals(other[key])


@pytest.mark.parametrize("numbers", [2, 4, 5, 6])
def test_other_sizes_and_division(numbers):
    options = Options(
        numbers=numbers,
        operators="+-*/",
        high=40,
        train=60,
        test=40,
        warm_start=60,
        target_low=10,
        held_out=0.4,
    )
    tables = countdown.build(options)
    assert not multisets(tables["test"]) & (multisets(tables["train"]) | multisets(tables["warm_start"]))
    rng = np.random.default_rng(0)
    for row in pd.concat(tables.values()).to_dict("records"):
        assert len(row["nums"]) == numbers
        assert countdown.score(countdown.reference_answer(row), row).reward == 1.1
        assert countdown.score(countdown.trace(row, rng, options), row).formatted


def test_too_many_test_puzzles():
    with pytest.raises(ValueError, match=r"task\.test: 5000; allowed: up to 1\d\d\d, .* ask for fewer"):
        countdown.build(Options(test=5000))
    with pytest.raises(ValueError, match=r"task\.train: 20000; allowed: up to 0"):
        countdown.build(Options(low=5, high=5, target_low=16, target_high=19))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("numbers", 7), ("low", 0), ("high", 0), ("target_high", 0), ("operators", "+^"), ("operators", "++"),
        ("operators", ""), ("test", 0), ("held_out", 1.0), ("source", "web"), ("seed", -1),
        ("persistence", 1.5), ("slips", -0.5), ("insight", 1.5), ("insight", -0.1), ("train", "many"),
        ("train", True), ("partial_format", 1), ("format_reward", 2), ("max_attempts", 0),
    ],
)  # fmt: skip
def test_options_name_the_wrong_key(key, value):
    with pytest.raises(ValueError, match=rf"^task\.{key}: {re.escape(json.dumps(value))} is not allowed; allowed: "):
        Options(**{key: value})


# --- Public data ----------------------------------------------------------------------------------

PUBLIC = Options(source="public", operators="+-*/", train=30, warm_start=30, test=10)


def public_rows():
    rng = np.random.default_rng(0)
    rows = [{"target": int(rng.integers(10, 101)), "nums": rng.integers(1, 100, 3).tolist()} for _ in range(500)]
    puzzles = _countdown.generate(range(1, 100), 4, range(10, 101), "+-*/", 200, rng)
    return rows + [{"target": target, "nums": list(numbers)} for numbers, target in puzzles]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_public_file(tmp_path, kind):
    frame = pd.DataFrame(public_rows())
    if kind == "parquet":
        (tmp_path / "data").mkdir()
        frame.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    else:
        frame.to_json(tmp_path / "train.jsonl", orient="records", lines=True)
    tables = countdown.build(PUBLIC, tmp_path)
    assert [len(tables[key]) for key in ("train", "test", "warm_start")] == [30, 10, 30]
    assert {len(nums) for nums in tables["train"]["nums"]} == {3, 4}
    assert not multisets(tables["test"]) & (multisets(tables["train"]) | multisets(tables["warm_start"]))
    for row in pd.concat(tables.values()).to_dict("records"):
        for template in ("compact", "chat", "base"):
            assert countdown.score(countdown.reference_answer(row, template), row).reward == 1.1
            assert countdown.score(countdown.trace(row, np.random.default_rng(0), PUBLIC, template), row).formatted


def test_what_is_needed_of_the_hub():
    assert countdown.public(MINI) is None
    wanted = countdown.public(PUBLIC)
    assert wanted.repository == "Jiayi-Pan/Countdown-Tasks-3to4"
    assert re.fullmatch("[0-9a-f]{40}", wanted.revision)  # a commit, which nobody can move


def test_identity_is_the_multiset_of_numbers():
    assert countdown.identity({"nums": np.array([7, 3, 5]), "target": 1}) == countdown.identity(ROW) == (3, 5, 7)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"target": 5, "nums": [2, "3"]}',
            "column nums: [2, '3']; allowed: a list of 2 to 6 integers from 1",
        ),
        ('{"target": 5, "nums": [2]}', "column nums: [2]; allowed"),
        ('{"target": 5, "nums": [2, 0]}', "column nums: [2, 0]; allowed"),
        ('{"target": 5, "nums": null}', "column nums: None; allowed"),
        ('{"target": 5.5, "nums": [2, 3]}', "column target: 5.5; allowed: an integer from 0 to 1000000000"),
        ('{"target": true, "nums": [2, 3]}', "column target: True; allowed"),
        ('{"nums": [2, 3]}', "no column 'target'; allowed: rows with nums, target"),
        ("[1, 2]", "[1, 2]; allowed: one JSON object per line"),
        ('{"target": 5,', "not JSON"),
    ],
)
def test_malformed_public_rows_are_named(tmp_path, line, message):
    path = tmp_path / "train.jsonl"
    path.write_text('{"target": 5, "nums": [2, 3]}\n' + line + "\n")
    with pytest.raises(ValueError, match="row 2") as caught:
        countdown.build(PUBLIC, tmp_path)
    assert str(caught.value).startswith(f"{path}, row 2")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_public_parquet_that_is_none(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match=r"train\.parquet: not a parquet file"):
        countdown.build(PUBLIC, tmp_path)


@pytest.mark.parametrize("files", [[], ["a.parquet", "b.jsonl"]])
def test_public_needs_one_file(tmp_path, files):
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"task\.source: public needs one .* found {len(files)}$"):
        countdown.build(PUBLIC, tmp_path)
