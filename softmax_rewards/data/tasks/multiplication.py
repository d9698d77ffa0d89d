"""Multiplication: the product of two numbers of k digits.

The prompt has already opened `<think>`. A completion has the form

    THINKING</think>\n<answer>NUMBER</answer>

The warm start imitates search traces (Gandhi et al., Stream of Search, 2024, arXiv 2404.03683). They multiply digit by
digit, slip now and then, say whether the result is right, and try again. This is a trace behind the compact prompt of
the embedded model, `47*86=<think>`. Real models get traces in English.

    47*86=47*80+47*6=3760+292=4052no
    86*47=86*40+86*7=3440+602=4042yes</think>
    <answer>4042</answer>

A small model that imitates them slips as often and makes other mistakes too. So it knows the format, and is seldom
right.
"""

from fractions import Fraction
from functools import reduce
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field, model_validator

from softmax_rewards.common.options import Count, Seed, Share, need, option_class
from softmax_rewards.data.tasks import (
    Attempt,
    Score,
    _answers,
    _conversation,
    _equations,
    _marks,
    _numbers,
    _searches,
)
from softmax_rewards.data.tasks._expressions import Step

if TYPE_CHECKING:
    import pandas as pd

ALPHABET: tuple[str, ...] = (*"0123456789+*=\n", "<think>", "</think>", "<answer>", "</answer>", "no", "yes")
"""The tokens of compact prompts, traces and reference answers."""

MAX_DIGITS = 6

_QUESTION = (
    "Multiply {a} by {b}. Show your work in <think> </think> tags. And return the final answer, one number, in "
    "<answer> </answer> tags, for example <answer> 12 </answer>."
)
# A mark here says that the working has no slip. The product is not in the prompt, so no verdict restates it.
_WRONG = (". That is wrong.", ", which is not right.", ". No, a slip.", ", which is incorrect.")
_PHRASES = _searches.Phrases(
    right=(". That is right.", ", which is correct.", ". Yes.", ", and that is correct."),
    too_big=_WRONG,
    too_small=_WRONG,
)


@option_class("task")
class Options:
    """The keys of `task:` in a config."""

    digits: int = Field(default=2, ge=1, le=MAX_DIGITS, description="Digits of each of the two numbers.")
    train: Count = Field(default=20_000, description="Products for reinforcement learning.")
    warm_start: Count = Field(
        default=20_000, description="Products for the supervised start, from the same pairs of numbers as `train`."
    )
    test: Count = Field(
        default=1024,
        description="Held-out pairs of numbers. In neither order do they occur in the other tables or in a trace. None "
        "of their numbers is a multiple of ten, because such products are steps in the traces of other pairs.",
    )
    seed: Seed = Field(default=0, description="Seed of the pairs.")
    format_reward: Share = Field(
        default=0.1, description="Reward of an answer in the right format. A right answer earns 1.0 in addition."
    )
    slip: Share = Field(
        default=0.25, description="Search traces: probability that a product of one digit has a wrong digit."
    )
    persistence: Share = Field(
        default=0.6, description="Search traces: probability of another attempt after a wrong one."
    )
    max_attempts: Count = Field(
        default=4, description="Search traces: number of attempts after which a trace gives up."
    )

    @model_validator(mode="after")
    def _check_test(self) -> Self:
        most = min(_pairs(self.digits) - 1, _pairs_without_tens(self.digits))
        allowed = f"1 to {most}, so many pairs of numbers of {self.digits} digits can be held out"
        need(self, "test", self.test <= most, allowed)
        return self


def _pairs(digits: int) -> int:
    """The number of unordered pairs of numbers with `digits` digits."""
    numbers = 9 * 10 ** (digits - 1)
    return numbers * (numbers + 1) // 2


def _pairs_without_tens(digits: int) -> int:
    """The number of those pairs without a multiple of ten. The others are partial products in traces of other pairs."""
    numbers = 81 * 10 ** (digits - 2) if digits > 1 else 9
    return numbers * (numbers + 1) // 2


DEFAULTS = Options()


def reward_range(options: Options) -> tuple[float, float]:
    """The lowest and the highest reward."""
    return 0.0, 1.0 + options.format_reward


# --- Data -----------------------------------------------------------------------------------------


def public(options: Options) -> None:
    """None: `build` generates the pairs."""
    return


def identity(row: dict[str, Any]) -> tuple[int, ...]:
    """The two numbers in ascending order, which a test pair may not share with a training pair."""
    return tuple(sorted((int(row["a"]), int(row["b"]))))


def build(options: Options, folder: Path | None = None) -> "dict[str, pd.DataFrame]":
    """The tables `train`, `test` and `warm_start`, with the columns a and b. `folder` is not used.

    The same options give the same tables. Held-out pairs are uniform over unordered pairs without a multiple of ten.
    If there are more rows than other pairs, pairs repeat. Each comes equally often (or once more than another), and its
    numbers are in either order.
    """
    rng = np.random.default_rng(options.seed)
    least, total = 10 ** (options.digits - 1), _pairs(options.digits)
    others = min(max(options.train, options.warm_start), total - options.test)
    # About four pairs of five have no multiple of ten. So among the pairs drawn there are enough to hold out.
    drawn = rng.choice(total, min(3 * options.test + 100 + others, total), replace=False)
    free = np.array([all(number % 10 for number in _pair(index, least)) for index in drawn.tolist()])
    held_out = drawn[free][: options.test]
    rest = drawn[~np.isin(drawn, held_out)][:others]
    return {
        "train": _table(np.resize(rest, options.train), options.digits, rng),
        "test": _table(held_out, options.digits, rng),
        "warm_start": _table(np.resize(rng.permutation(rest), options.warm_start), options.digits, rng),
    }


def _table(indices: np.ndarray, digits: int, rng: np.random.Generator) -> "pd.DataFrame":
    import pandas as pd  # a run only reads puzzles, and starts without waiting for pandas

    pairs = [rng.permutation(_pair(index, 10 ** (digits - 1))).tolist() for index in indices.tolist()]
    return pd.DataFrame(pairs, columns=["a", "b"])


def _pair(index: int, least: int) -> tuple[int, int]:
    """Number `index` of the unordered pairs, plus `least` in both places: (0, 0), (0, 1), (1, 1), (0, 2), …"""
    # The pairs whose larger number is n have the indices from n(n + 1)/2 on.
    larger = (isqrt(8 * index + 1) - 1) // 2
    return least + index - larger * (larger + 1) // 2, least + larger


# --- Prompts and supervised completions -----------------------------------------------------------


def prompt(row: dict[str, Any], template: str) -> str | list[dict[str, str]]:
    """The prompt of a pair: messages for `chat`, text otherwise. It ends by opening `<think>`."""
    _conversation.check(template)
    if template == "compact":
        return f"{row['a']}*{row['b']}=<think>"
    return _conversation.prompt(_QUESTION.format(a=row["a"], b=row["b"]), template)


def _attempt(a: int, b: int, slip: float, rng: np.random.Generator) -> list[Step]:
    """The steps of one multiplication. Each partial product is wrong with probability `slip`.

    The steps are a * b, the sum of a times each digit of b but 0, the sum of these products, and its value.
    """
    factors = [int(digit) * 10**power for power, digit in enumerate(reversed(str(b))) if digit != "0"][::-1]
    products = [_slipped(a * factor, rng) if rng.random() < slip else a * factor for factor in factors]
    if len(factors) == 1:
        return [("*", a, b), products[0]]
    return [("*", a, b), _sum([("*", a, factor) for factor in factors]), _sum(products), sum(products)]


def _slipped(number: int, rng: np.random.Generator) -> int:
    """`number` with one random digit replaced by another one."""
    digits = [int(digit) for digit in str(number)]
    position = int(rng.integers(len(digits)))
    digits[position] += int(rng.integers(1, 10))  # 1 to 9, modulo 10 below: always another digit
    return int("".join(str(digit % 10) for digit in digits))


def _sum(terms: list[Any]) -> Step:
    return reduce(lambda left, right: ("+", left, right), terms)


def reference_answer(row: dict[str, Any], template: str = "compact") -> str:
    """y*, the reference answer: its thinking works out the product without a slip."""
    a, b = int(row["a"]), int(row["b"])
    worked = _attempt(a, b, 0.0, np.random.default_rng(0))
    return _searches.completion([worked], a * b, worked[-1], _PHRASES, template)


def trace(row: dict[str, Any], rng: np.random.Generator, options: Options = DEFAULTS, template: str = "compact") -> str:
    """A search to imitate: attempts with slips, in either order of the numbers, each marked truly as right or wrong.

    After a wrong attempt the search goes on with probability `persistence`, up to `max_attempts` attempts. Otherwise it
    gives up and answers with that attempt. The same state of `rng` gives the same attempts for every template.
    """
    target = int(row["a"]) * int(row["b"])
    attempts: list[list[Step]] = []
    while not attempts or (
        attempts[-1][-1] != target and len(attempts) < options.max_attempts and rng.random() < options.persistence
    ):
        first, second = rng.permutation([row["a"], row["b"]]).tolist()
        attempts.append(_attempt(first, second, options.slip, rng))
    return _searches.completion(attempts, target, attempts[-1][-1], _PHRASES, template, rng)


# --- Verifier -------------------------------------------------------------------------------------


def _claimed(number: Fraction | None, equations: list[_equations.Equation], thinking: str) -> bool:
    """Whether the thinking claims that `number` is right: its last equation with this value is not called wrong.

    Without such an equation the words at the end decide.
    """
    marks = [item.mark for item in equations if number is not None and _numbers.parse(item.claimed) == number]
    return marks[-1] is not False if marks else _marks.ends_right(thinking)


def score(completion: str, row: dict[str, Any], options: Options = DEFAULTS) -> Score:
    """The verdict on a completion without its end-of-sequence token. Never raises, whatever the text.

    Reward = 1.0 · correct + `format_reward` · formatted, judged separately. An answer is correct if it is one number
    that equals the product. It may have commas: `4,042`.
    """
    thinking, answer, formatted = _answers.split(completion)
    number = None if answer is None else _numbers.parse(answer)
    correct = number == int(row["a"]) * int(row["b"])
    equations = _equations.find(thinking)
    return Score(
        reward=correct + options.format_reward * formatted,
        correct=correct,
        formatted=formatted,
        attempts=len(equations),
        self_checks=sum(equation.mark is not None for equation in equations),
        gave_up=_equations.gives_up(thinking) or (answer is not None and not _claimed(number, equations, thinking)),
    )


def solution(completion: str, row: dict[str, Any]) -> str | None:
    """The canonical form of a right answer, the same for all; None for a wrong answer."""
    return str(int(row["a"]) * int(row["b"])) if score(completion, row).correct else None


def arithmetic(completion: str) -> tuple[int, int]:
    """The number of right equations `expression = number` in the thinking, and the number of all."""
    return _equations.right_and_written(_answers.split(completion).thinking)


def attempts(completion: str, row: dict[str, Any]) -> list[Attempt]:
    """The attempts in the thinking, in order."""
    return _equations.attempts(_answers.split(completion).thinking, int(row["a"]) * int(row["b"]))
