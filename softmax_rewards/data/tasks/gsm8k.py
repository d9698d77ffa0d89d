"""GSM8K: grade-school word problems with a number as the answer (Cobbe et al., 2021, arXiv 2110.14168).

The prompt has already opened `<think>`. A completion has the form

    THINKING</think>\n<answer>NUMBER</answer>

The problems come from the public `openai/gsm8k`: 7,473 for training and 1,319 for testing. Its worked solutions end
with `#### NUMBER` and mark their calculations: `9 * 2 = $<<9*2=18>>18`. Teacher forcing and a warm start imitate the
solutions without these marks. This task is for language models only: the embedded model has no tokens for the problems.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from softmax_rewards.common import table_files
from softmax_rewards.common.option_errors import wrong
from softmax_rewards.common.options import Count, Seed, Share, option_class
from softmax_rewards.data.tasks import Public, Score, _answers, _conversation, _equations, _numbers, data_files

if TYPE_CHECKING:
    import pandas as pd

ALPHABET: tuple[str, ...] = ()
"""Empty, because there is no `compact` prompt."""

TEMPLATES = ("chat", "base")

_QUESTION = (
    "{question}\nShow your work in <think> </think> tags. And return the final answer, a number without a unit, in "
    "<answer> </answer> tags, for example <answer> 12 </answer>."
)
_CALCULATION = re.compile(r"<<[^<>\n]*>>")
_NUMBER_IN_TEXT = re.compile(r"-?\$?[0-9][0-9,]*+(?:\.[0-9]++)?")


@option_class("task")
class Options:
    """The keys of `task:` in a config."""

    train: Count = Field(default=7473, description="Problems for reinforcement learning. The public file has 7473.")
    warm_start: Count = Field(
        default=7473, description="Problems for the supervised start, from the same public file as `train`."
    )
    test: Count = Field(default=1319, description="Held-out problems. The public test file has 1319.")
    seed: Seed = Field(
        default=0, description="Seed of the order of the problems, and of the choice if fewer than all are used."
    )
    format_reward: Share = Field(
        default=0.1, description="Reward of an answer in the right format. A right answer earns 1.0 in addition."
    )


DEFAULTS = Options()


def reward_range(options: Options) -> tuple[float, float]:
    """The lowest and the highest reward."""
    return 0.0, 1.0 + options.format_reward


# --- Data -----------------------------------------------------------------------------------------


def public(options: Options) -> Public:
    """The public data set that `build` needs."""
    # Its other folder, socratic, has the same problems with other solutions. License: MIT.
    return Public("openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866", ("main/*.parquet",))


def identity(row: dict[str, Any]) -> str:
    """The text without case and extra white space, which a test problem may not share with a training problem."""
    return " ".join(row["question"].casefold().split())


def build(options: Options, folder: Path | None = None) -> "dict[str, pd.DataFrame]":
    """The tables `train`, `test` and `warm_start`, with the columns question, solution and answer (a number as text).

    The same options give the same tables. `folder` has two public files, whose names begin with train and test. Raises
    ValueError naming the option, or the file, row and column, that makes the tables impossible.
    """
    rng = np.random.default_rng(options.seed)
    train, test = (list(_read(_find(folder, split))) for split in ("train", "test"))
    return {
        "train": _table("train", train, options, rng),
        "test": _table("test", test, options, rng),
        "warm_start": _table("warm_start", train, options, rng),
    }


def _find(folder: Path | None, split: str) -> Path:
    files = [] if folder is None else [file for file in data_files(folder) if file.name.startswith(split)]
    if len(files) != 1:
        allowed = f"one file {split}*.parquet or {split}*.jsonl"
        raise ValueError(f"task.name: gsm8k needs {allowed} below {folder}, found {len(files)}")
    return files[0]


def _read(path: Path) -> Iterator[dict[str, str]]:
    for where, row in table_files.rows(path, ("question", "answer")):
        for column in ("question", "answer"):
            if not isinstance(row[column], str):
                raise table_files.wrong(where, column, row[column], "text")
        solution, marked, final = row["answer"].rpartition("####")
        answer = _numbers.parse(final.strip())
        if not marked or answer is None:
            raise table_files.wrong(where, "answer", final, "a solution that ends with #### and a number")
        worked = _CALCULATION.sub("", solution).strip()
        yield {"question": row["question"].strip(), "solution": worked, "answer": str(answer)}


def _table(key: str, problems: list[dict[str, str]], options: Options, rng: np.random.Generator) -> "pd.DataFrame":
    """`task.<key>` random rows of `problems`, each at most once."""
    import pandas as pd  # a run only reads puzzles, and starts without waiting for pandas

    rows = getattr(options, key)
    if rows > len(problems):
        raise wrong(f"task.{key}", rows, f"up to {len(problems)}, the problems of the public file")
    return pd.DataFrame([problems[i] for i in rng.permutation(len(problems))[:rows].tolist()])


# --- Prompts and supervised completions -----------------------------------------------------------


def prompt(row: dict[str, Any], template: str) -> str | list[dict[str, str]]:
    """The prompt of a problem: text for `base`, messages for `chat`. It ends by opening `<think>`."""
    _conversation.check(template, TEMPLATES)
    return _conversation.prompt(_QUESTION.format(question=row["question"]), template)


def reference_answer(row: dict[str, Any], template: str = "chat") -> str:
    """y*, the reference answer: the worked solution and its number."""
    _conversation.check(template, TEMPLATES)
    return f"{row['solution']}</think>\n<answer>{row['answer']}</answer>"


def trace(row: dict[str, Any], rng: np.random.Generator, options: Options = DEFAULTS, template: str = "chat") -> str:
    """The text that a warm start imitates, which is the reference answer. `rng` is not used."""
    return reference_answer(row, template)


# --- Verifier -------------------------------------------------------------------------------------


def _right(answer: str | None, row: dict[str, Any]) -> bool:
    return answer is not None and _numbers.parse(answer) == Fraction(row["answer"])


def _flexible(completion: str, row: dict[str, Any]) -> bool:
    """Whether the last number of the whole text is the answer, as lm-evaluation-harness counts (flexible-extract)."""
    numbers = _NUMBER_IN_TEXT.findall(completion)
    return bool(numbers) and _right(numbers[-1].rstrip(","), row)


def score(completion: str, row: dict[str, Any], options: Options = DEFAULTS) -> Score:
    """The verdict on a completion without its end-of-sequence token. Never raises, whatever the text.

    Reward = 1.0 · correct + `format_reward` · formatted, judged separately. An answer is correct if it is one number
    and has exactly the value of the reference answer. Commas, $ and a final dot are allowed; units are not.
    `flexible` is lm-evaluation-harness's more lenient verdict. It is not paid.
    """
    thinking, answer, formatted = _answers.split(completion)
    correct = _right(answer, row)
    equations = _equations.find(thinking)
    return Score(
        reward=correct + options.format_reward * formatted,
        correct=correct,
        formatted=formatted,
        attempts=len(equations),
        self_checks=sum(equation.mark is not None for equation in equations),
        # Solutions of word problems do not mark each result as right. So only the end of the thinking counts.
        gave_up=_equations.gives_up(thinking),
        flexible=_flexible(completion, row),
    )


def solution(completion: str, row: dict[str, Any]) -> str | None:
    """The canonical form of a right answer, the same for all; None for a wrong answer."""
    return row["answer"] if _right(_answers.split(completion).answer, row) else None


def arithmetic(completion: str) -> tuple[int, int]:
    """The number of right equations `expression = number` in the thinking, and the number of all."""
    return _equations.right_and_written(_answers.split(completion).thinking)
