"""Search traces and references: compact ones for the embedded model, English ones for real models."""

import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from softmax_rewards.data.tasks import _countdown, _equations, _expressions, countdown
from softmax_rewards.data.tasks.countdown import Options

SEARCH = Options(persistence=0.6, insight=0.1, max_attempts=4, largest_step=None)
MINI = Options(low=1, high=12, target_low=1, target_high=100, held_out=0.3)
ENGLISH = ("chat", "base")
TOKEN = re.compile("|".join(map(re.escape, sorted(countdown.ALPHABET, key=len, reverse=True))) + "|(?s:.)")
WORD = re.compile(r" ?[A-Za-z]+| ?[^\sA-Za-z0-9]+|\s|[0-9]")  # roughly what a real tokenizer makes a token


@pytest.fixture(scope="module")
def puzzles():
    return countdown.build(replace(MINI, train=1, test=1, warm_start=6000))["warm_start"].to_dict("records")


@pytest.fixture(scope="module")
def mixed():
    """Puzzles of 2 to 6 numbers up to 99, with all operators, each with a solution."""
    rng = np.random.default_rng(0)
    found = [
        {"nums": list(numbers), "target": target, "solution": solution}
        for count in (2, 3, 4, 5, 6)
        for (numbers, target), solution in list(
            _countdown.generate(range(1, 100), count, range(10, 101), "+-*/", 200, rng).items()
        )[:200]
    ]
    assert len(found) == 1000
    return found


@pytest.mark.parametrize(("insight", "success", "length"), [(0.0, 0.108, 41.9), (0.1, 0.275, 39.0)])
def test_traces_are_fluent_right_in_arithmetic_and_mostly_unsuccessful(puzzles, insight, success, length):
    rng, options = np.random.default_rng(0), replace(SEARCH, insight=insight)
    traces = [countdown.trace(row, rng, options) for row in puzzles]
    scores = [countdown.score(trace, row) for trace, row in zip(traces, puzzles, strict=True)]
    lengths = [len(TOKEN.findall(trace)) for trace in traces]
    assert all(score.formatted for score in scores)
    assert all(score.gave_up != score.correct for score in scores)
    assert all(score.attempts == score.self_checks >= 1 for score in scores)
    assert all(len(set(countdown.arithmetic(trace))) == 1 for trace in traces)
    assert np.mean([score.correct for score in scores]) == pytest.approx(success, abs=0.025)
    assert np.mean(lengths) == pytest.approx(length, abs=2)
    assert max(lengths) <= 112
    for row, trace in zip(puzzles[:500], traces, strict=False):
        text = countdown.prompt(row, "compact") + trace + countdown.reference_answer(row)
        assert set(TOKEN.findall(text)) <= set(countdown.ALPHABET)


def test_an_attempt_is_worked_out_one_operation_at_a_time():
    rng = np.random.default_rng(0)
    for _ in range(300):
        *steps, value = _countdown.attempt([7, 12, 5, 3], "+-*/", rng)
        assert len(steps) == 3
        for spaced in (False, True):
            lines = [_expressions.text(step, spaced=spaced) for step in steps]
            values = [eval(line, {"__builtins__": {}}) for line in lines]  # an independent evaluator
            assert values == pytest.approx([float(value)] * 3)


def test_an_attempt_is_uniform_over_orders_operators_and_shapes():
    rng = np.random.default_rng(0)
    draws = Counter(_expressions.text(_countdown.attempt([100, 10, 1], "+*", rng)[0]) for _ in range(9600))
    # 6 orders x 4 operator pairs x 2 shapes = 48 expressions; sums and products lose their parentheses.
    assert draws["(100+10)*1"] == pytest.approx(200, abs=60)
    assert draws["100+10+1"] == pytest.approx(400, abs=85)
    assert len(draws) == 6 * (8 - 2)


def test_a_trace_with_full_insight_is_the_reference_at_once(puzzles):
    rng = np.random.default_rng(0)
    for row in puzzles[:300]:
        trace = countdown.trace(row, rng, replace(SEARCH, insight=1.0))
        score = countdown.score(trace, row)
        assert (score.reward, score.attempts, score.self_checks, score.gave_up) == (1.1, 1, 1, False)
        assert trace.startswith(f"{row['solution']}=")
        assert trace.endswith(f"={row['target']}:{row['target']}yes</think>\n<answer>{row['solution']}</answer>")


def test_a_trace_without_insight_does_not_know_the_reference():
    blind = replace(SEARCH, insight=0.0)
    row = {"nums": [3, 5, 7], "target": 22}
    first, again = (countdown.trace(row | {"solution": s}, np.random.default_rng(0), blind) for s in ("3*5+7", "?"))
    assert first == again


def test_insight_is_the_probability_that_an_attempt_is_the_reference():
    rng = np.random.default_rng(0)
    row = {"nums": [10, 11, 12], "target": 33, "solution": "10+11+12"}
    once = Options(insight=0.25, persistence=0.0, operators="*", largest_step=None)  # products alone never reach the target
    found = [countdown.score(countdown.trace(row, rng, once), row).correct for _ in range(4000)]
    assert np.mean(found) == pytest.approx(0.25, abs=0.03)


def test_a_trace_with_one_attempt_and_one_that_never_gives_up():
    rng = np.random.default_rng(0)
    hopeless = {"nums": [1, 1, 1], "target": 99}
    assert countdown.trace(hopeless, rng, Options(insight=0.0, persistence=0)).count("no\n") == 0
    stubborn = Options(insight=0.0, persistence=1.0, max_attempts=4)
    assert countdown.trace(hopeless, rng, stubborn).count("no") == 4


def test_a_compact_trace_restates_the_target_before_each_mark(puzzles):
    rng = np.random.default_rng(0)
    for row in puzzles[:300]:
        thinking = countdown.trace(row, rng, SEARCH).partition("</think>")[0]
        ends = [re.fullmatch(r".*=(-?\d+(?:/\d+)?):(\d+)(no|yes)", line).groups() for line in thinking.split("\n")]
        assert all(int(target) == row["target"] for _, target, _ in ends)
        assert all((value == target) == (mark == "yes") for value, target, mark in ends)
    assert countdown.reference_answer({"target": 22, "solution": "3*5+7"}) == (
        "3*5+7=15+7=22:22yes</think>\n<answer>3*5+7</answer>"
    )


# --- English --------------------------------------------------------------------------------------


def attempts(trace):
    """(expression, steps, value) of each attempt, taken apart without the verifier."""
    chains = re.findall(r"[a-z] ([-+*/() 0-9]+(?:=[-+*/() 0-9]+)+)", trace.partition("</think>")[0])
    return [[side.strip() for side in chain.split("=")] for chain in chains]


@pytest.mark.parametrize("template", ENGLISH)
def test_the_verifier_reads_every_english_trace(mixed, template):
    rng = np.random.default_rng(0)
    options = replace(SEARCH, operators="+-*/", insight=0.3, persistence=0.7)
    seen = Counter()
    for row in mixed * 3:
        trace = countdown.trace(row, rng, options, template)
        score = countdown.score(trace, row)
        found = attempts(trace)
        last = Fraction(found[-1][-1])
        assert score.attempts == score.self_checks == len(found) == len(_equations.find(trace)), trace
        assert [equation.mark for equation in _equations.find(trace)] == [False] * (len(found) - 1) + [score.correct]
        assert score.formatted
        assert score.correct == (last == row["target"]) == (not score.gave_up)
        assert all(Fraction(steps[-1]) != row["target"] for steps in found[:-1])
        assert trace.endswith(f"</think>\n<answer>{found[-1][0]}</answer>")
        assert countdown.arithmetic(trace) == (len(found), len(found))
        assert all(len(steps) == len(row["nums"]) for steps in found), "one operation at a time"
        for steps in found:
            values = [eval(step, {"__builtins__": {}}) for step in steps]  # an independent evaluator
            assert values == pytest.approx([values[-1]] * len(values))
        seen.update(["right" if score.correct else "gave up", f"{len(found)} attempts"])
    assert min(seen.values()) > 100, seen


@pytest.mark.parametrize("template", ENGLISH)
def test_the_same_draws_give_the_same_attempts_in_english_and_compact(mixed, template):
    options = replace(SEARCH, operators="+-*/")
    for seed, row in enumerate(mixed[:600]):
        compact, english = (
            countdown.trace(row, np.random.default_rng(seed), options, name) for name in ("compact", template)
        )
        plain = [[equation.written, equation.claimed] for equation in _equations.find(compact)]
        assert plain == [[steps[0].replace(" ", ""), steps[-1]] for steps in attempts(english)]


def test_english_is_written_as_people_write_it():
    rng = np.random.default_rng(0)
    row = {"nums": [3, 5, 7], "target": 22, "solution": "3*5+7"}
    said = Counter()
    for _ in range(2000):
        trace = countdown.trace(row, rng, replace(SEARCH, operators="+-*/"), "chat")
        thinking, answer = trace.split("</think>\n")
        assert re.fullmatch(r"<answer>[(3-7](?:[()3-7]| [-+*/] )*</answer>", answer)
        for line in thinking.split("\n"):
            said[re.sub(r"[-+*/()0-9]+(?: [-+*/=(]*[0-9()/ ]*)*", "#", line)] += 1
            assert line[0].isupper()
            assert line[-1] in ".!"
            assert "  " not in line
            assert not re.search(r"[-+*/] -", line), "a negative number on the right has parentheses"
        assert thinking.startswith(("Let me try ", "First I try ", "Start with ", "Try "))
    assert len(said) > 30, "varied"


def test_english_traces_fit_a_small_model(puzzles, mixed):
    rng = np.random.default_rng(0)
    lengths = [len(WORD.findall(countdown.trace(row, rng, SEARCH, "chat"))) for row in puzzles[:2000]]
    assert np.mean(lengths) < 90
    assert max(lengths) < 200
    four = [row for row in mixed if len(row["nums"]) == 4]
    lengths = [len(WORD.findall(countdown.trace(row, rng, replace(SEARCH, operators="+-*/"), "chat"))) for row in four]
    assert np.mean(lengths) < 150


@pytest.mark.parametrize("template", ENGLISH)
def test_the_english_reference_is_one_right_attempt(mixed, template):
    for row in mixed:
        reference = countdown.reference_answer(row, template)
        score = countdown.score(reference, row)
        assert (score.reward, score.attempts, score.self_checks, score.gave_up) == (1.1, 1, 1, False)
        assert reference == countdown.reference_answer(row, template), "nothing is drawn"
    assert countdown.reference_answer({"target": 22, "solution": "3*5+7"}, template) == (
        "Let me try 3 * 5 + 7 = 15 + 7 = 22, target 22: yes.</think>\n<answer>3 * 5 + 7</answer>"
    )


def test_steps_of_random_attempts_stay_in_range_if_numbers_and_target_allow_it():
    rng = np.random.default_rng(0)
    values = {_countdown.attempt([3, 5, 100], "+-*", rng, 99)[-1] for _ in range(300)}
    # 100 - 3 * 5, 100 - 3 - 5 and 100 - 5 + 3 are among them, although 100 is above the limit.
    assert {85, 92, 98} <= values and all(0 <= value <= 100 for value in values)
    assert _countdown.attempt([200, 300], "*", rng, 99)[-1] == 60_000  # no expression is in range
    row, blind = {"nums": [50, 50, 2], "target": 102}, Options(insight=0.0, persistence=0.9, operators="+")
    assert countdown.score(countdown.trace(row, rng, blind), row).correct
