"""Countdown: reach a target from k numbers, each used exactly once, with + - * /.

The prompt has already opened `<think>`. A completion has the form

    THINKING</think>\n<answer>EXPRESSION</answer>

The puzzles are generated, or come from the public `Jiayi-Pan/Countdown-Tasks-3to4` (Pan et al., TinyZero, 2025). The
warm start imitates search traces (Gandhi et al., Stream of Search, 2024, arXiv 2404.03683). On the left is a trace
behind the embedded model's compact prompt, `[3,5,7]=22:<think>`. On the right is a trace for real models:

    3+5*7=3+35=38:22no            Let me try 3 + 5 * 7 = 3 + 35 = 38, target 22: no, too big.
    3*5+7=15+7=22:22yes</think>   Now try 3 * 5 + 7 = 15 + 7 = 22, target 22: yes.</think>
    <answer>3*5+7</answer>        <answer>3 * 5 + 7</answer>

A new task is a module like this one. The private modules beside it have what several tasks need.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from softmax_rewards.common.options import Count, Seed, Share, need, option_class
from softmax_rewards.data.tasks import (
    Attempt,
    Public,
    Score,
    _answers,
    _countdown,
    _countdown_file,
    _countdown_verifier,
    _countdown_wording,
    _equations,
    _expressions,
)

if TYPE_CHECKING:
    import pandas as pd

ALPHABET = _countdown_wording.ALPHABET


@option_class("task")
class Options:
    """The keys of `task:` in a config."""

    source: Literal["generate", "public"] = Field(
        default="generate",
        description="`generate`: random puzzles. `public`: the published puzzles, whose own numbers and targets "
        "replace the ranges below.",
    )
    numbers: int = Field(default=3, ge=2, le=_countdown.MAX_NUMBERS, description="How many numbers each puzzle has.")
    low: Count = Field(default=1, description="Smallest number.")
    high: int = Field(default=14, le=1000, description="Largest number. At least `low`.")
    target_low: int = Field(default=30, ge=0, description="Smallest target.")
    target_high: int = Field(default=99, description="Largest target. At least `target_low`.")
    operators: str = Field(
        default="+-*",
        description="Operators of the reference answers and search traces. An answer may use any of + - * /. With "
        '`source: public`, puzzles that have no such reference answer are left out; `"+-*/"` keeps all.',
    )
    train: Count = Field(default=20_000, description="Puzzles for reinforcement learning.")
    warm_start: Count = Field(
        default=20_000, description="Puzzles for the supervised start, from the same multisets of numbers as `train`."
    )
    test: Count = Field(
        default=1024,
        description="Distinct held-out puzzles. Their multisets of numbers occur in neither of the other tables.",
    )
    held_out: float = Field(
        default=0.5, gt=0, lt=1, description="Share of the multisets of numbers that only `test` may use."
    )
    seed: Seed = Field(default=0, description="Seed of the puzzles.")
    format_reward: Share = Field(
        default=0.1, description="Reward of an answer in the right format. A right answer earns 1.0 in addition."
    )
    partial_format: bool = Field(
        default=False,
        description="An answer without the full format earns 0.1 of `format_reward` if it closes the thinking, and 0.5 "
        "if it closes the answer.",
    )
    persistence: Share = Field(
        default=0.5, description="Search traces: probability of another attempt after a wrong one."
    )
    insight: Share = Field(
        default=0.03,
        description="Search traces: probability that an attempt is the reference answer instead of a random one.",
    )
    max_attempts: Count = Field(default=10, description="Search traces: attempts after which a trace gives up.")
    largest_step: Count | None = Field(
        default=99,
        description="Search traces: no step of a random attempt is below 0 or above this number, if the numbers and the "
        "target allow it. `null`: any step.",
    )
    slips: Share = Field(
        default=0.0,
        description="Search traces: probability that the answer is not closed, so that it is wrong and unformatted.",
    )

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        need(self, "high", self.low <= self.high, f"an integer from low ({self.low}) to 1000")
        need(self, "target_high", self.target_low <= self.target_high, f"at least target_low ({self.target_low})")
        valid = 0 < len(self.operators) == len(set(self.operators)) and set(self.operators) <= set("+-*/")
        need(self, "operators", valid, 'some of "+-*/", each once')
        return self


DEFAULTS = Options()


def reward_range(options: Options) -> tuple[float, float]:
    """The lowest and the highest reward."""
    return 0.0, 1.0 + options.format_reward


# --- Data -----------------------------------------------------------------------------------------


def public(options: Options) -> Public | None:
    """The public data set that `build` needs; None if `build` generates the puzzles."""
    if options.source != "public":
        return None
    # It has 490,364 rows of 3 or 4 numbers up to 99, with targets up to 100. Its card states no license.
    return Public("Jiayi-Pan/Countdown-Tasks-3to4", "408f70d177020686d34a56bba5952feb45aaaee4", ("data/*.parquet",))


def identity(row: dict[str, Any]) -> tuple[int, ...]:
    """The multiset of numbers, which a test puzzle may not share with a training puzzle."""
    return tuple(sorted(map(int, row["nums"])))


def build(options: Options, folder: Path | None = None) -> "dict[str, pd.DataFrame]":
    """The tables `train`, `test` and `warm_start`, with the columns nums (list of int), target and solution.

    The same options give the same tables. With `source: public`, `folder` has the public file. Its rows have no
    solution: the chosen ones are solved here, and those without a solution are left out.

    Raises ValueError naming the option, or the file, row and column, that makes the tables impossible.
    """
    rng = np.random.default_rng(options.seed)
    if options.source == "public":
        # `fromkeys` keeps each puzzle once, in the order of the file. The value None means that it is not solved yet.
        puzzles = dict.fromkeys(_countdown_file.read(_countdown_file.find(folder)))
    else:
        # Enough puzzles for both sides of the split into held-out and other multisets, and a fifth more.
        share = max(options.test / options.held_out, max(options.train, options.warm_start) / (1 - options.held_out))
        puzzles = _countdown.generate(
            range(options.low, options.high + 1),
            options.numbers,
            range(options.target_low, options.target_high + 1),
            options.operators,
            int(1.2 * share),
            rng,
        )
    # The split is by multiset of numbers: training on the same numbers with another target would help with the test.
    multisets = sorted({numbers for numbers, _ in puzzles})
    held_out = {multisets[i] for i in rng.permutation(len(multisets))[: round(options.held_out * len(multisets))]}
    test = [puzzle for puzzle in puzzles if puzzle[0] in held_out]
    train = [puzzle for puzzle in puzzles if puzzle[0] not in held_out]
    return {
        "train": _table("train", train, puzzles, options, rng),
        "test": _table("test", test, puzzles, options, rng),
        "warm_start": _table("warm_start", train, puzzles, options, rng),
    }


def _table(
    key: str,
    pool: list[_countdown.Puzzle],
    solutions: dict[_countdown.Puzzle, str | None],
    options: Options,
    rng: np.random.Generator,
) -> "pd.DataFrame":
    """`task.<key>` rows over random puzzles of `pool`. Adds missing solutions to `solutions`."""
    import pandas as pd  # a run only reads puzzles, and starts without waiting for pandas

    rows = getattr(options, key)
    chosen: list[_countdown.Puzzle] = []
    for i in rng.permutation(len(pool)).tolist():
        if len(chosen) == rows:
            break
        if solutions[pool[i]] is None:
            numbers, target = pool[i]
            solutions[pool[i]] = _countdown.solve(numbers, target, options.operators) or ""  # "" means that it has none
        if solutions[pool[i]]:
            chosen.append(pool[i])
    if not chosen or (key == "test" and len(chosen) < rows):
        raise ValueError(
            f"task.{key}: {rows}; allowed: up to {len(chosen)}, the number of distinct puzzles with a solution over "
            f"{len({numbers for numbers, _ in pool})} multisets of numbers (held_out: {options.held_out}); "
            "ask for fewer, widen low..high, or change held_out"
        )
    # With more rows than puzzles, puzzles repeat equally often, up to one. Every row has its numbers in a new order.
    chosen = [chosen[i % len(chosen)] for i in range(rows)]
    return pd.DataFrame(
        {
            "nums": [rng.permutation(numbers).tolist() for numbers, _ in chosen],
            "target": [target for _, target in chosen],
            "solution": [solutions[puzzle] for puzzle in chosen],
        }
    )


# --- Prompts and supervised completions -----------------------------------------------------------


def prompt(row: dict[str, Any], template: str) -> str | list[dict[str, str]]:
    """The prompt of a puzzle. It ends by opening `<think>`.

    `compact` (for the embedded model) and `base` (for pretrained models without instruction tuning) give text. `chat`
    gives messages, and the last message is the beginning of the assistant's reply.
    """
    return _countdown_wording.prompt(row["nums"], row["target"], template)


def reference_answer(row: dict[str, Any], template: str = "compact") -> str:
    """y*, the reference answer: its thinking tries the known solution and finds it right."""
    return _countdown_wording.completion([_known_solution(row)], row["target"], template)


def _known_solution(row: dict[str, Any]) -> list[_expressions.Step]:
    """The row's solution, worked out."""
    tree = _expressions.parse(row["solution"])
    assert tree is not None  # `build` wrote it
    return _countdown.work_out(tree)


def trace(row: dict[str, Any], rng: np.random.Generator, options: Options = DEFAULTS, template: str = "compact") -> str:
    """A search to imitate: attempts, each worked out to its exact value and marked as right or wrong.

    An attempt is random, or with probability `insight` the reference answer. After a wrong attempt the search goes on
    with probability `persistence`, up to `max_attempts` attempts. Otherwise it gives up and answers with that attempt.
    So the arithmetic is always right, but the answer may be wrong.

    The same state of `rng` gives the same attempts for every template.
    """
    attempts: list[list[_expressions.Step]] = []
    # A target above the limit could otherwise never be hit.
    largest = None if options.largest_step is None else max(options.largest_step, row["target"])
    for number in range(1, options.max_attempts + 1):
        # With random attempts alone, a small model would hardly ever see a right value and learn to recognize it.
        if rng.random() < options.insight:
            worked = _known_solution(row)
        else:
            worked = _countdown.attempt(row["nums"], options.operators, rng, largest)
        attempts.append(worked)
        if worked[-1] == row["target"] or number == options.max_attempts or rng.random() >= options.persistence:
            break
    text = _countdown_wording.completion(attempts, row["target"], template, rng)
    if options.slips and rng.random() < options.slips:
        return text.removesuffix("</answer>")
    return text


# --- Verifier -------------------------------------------------------------------------------------


def _right(expression: str | None, row: dict[str, Any]) -> _expressions.Tree | None:
    """The tree of `expression` if it is a right answer, otherwise None."""
    return _countdown_verifier.right(expression, [int(number) for number in row["nums"]], int(row["target"]))


def score(completion: str, row: dict[str, Any], options: Options = DEFAULTS) -> Score:
    """The verdict on a completion without its end-of-sequence token. Never raises, whatever the text.

    Reward = 1.0 · correct + `format_reward` · formatted. The two are judged separately, as usual for this task: a right
    answer with text behind it is correct and not formatted. docs/tasks.md shows what is paid, example by example.
    """
    thinking, expression, formatted = _answers.split(completion)
    correct = _right(expression, row) is not None
    credit = float(formatted)
    if options.partial_format and not formatted:
        credit = 0.1 * ("</think>" in completion) + 0.5 * ("</answer>" in completion.partition("<answer>")[2])
    equations = _equations.find(thinking)
    return Score(
        reward=correct + options.format_reward * credit,
        correct=correct,
        formatted=formatted,
        attempts=len(equations),
        self_checks=sum(equation.mark is not None for equation in equations),
        gave_up=_countdown_verifier.gave_up(thinking, equations, expression, int(row["target"])),
    )


def solution(completion: str, row: dict[str, Any]) -> str | None:
    """The canonical form of a right answer, by which distinct solutions are counted; None for a wrong answer."""
    tree = _right(_answers.split(completion).answer, row)
    return None if tree is None else _expressions.canonical(tree)


def arithmetic(completion: str) -> tuple[int, int]:
    """The number of right equations `expression = number` in the thinking, and the number of all."""
    return _equations.right_and_written(_answers.split(completion).thinking)


def attempts(completion: str, row: dict[str, Any]) -> list[Attempt]:
    """The attempts in the thinking, in order."""
    return _equations.attempts(_answers.split(completion).thinking, int(row["target"]))
