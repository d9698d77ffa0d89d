"""Properties that hold for any input, and random inputs to check them.

A verifier never raises, and its reward agrees with an independent reading of the completion. Reading a config file, a
checkpoint, a data set or a table gives its content or a ValueError of one line, and executes nothing. `fuzz.py` checks
many inputs, and the tests check a few.
"""

import functools
import itertools
import os
import string
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import oracles
import pandas as pd
import torch
import work

from softmax_rewards.common import plugins, table_files
from softmax_rewards.config import experiments
from softmax_rewards.config.run import ConfigError, Run
from softmax_rewards.data import dataset
from softmax_rewards.models import checkpoint
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.shape import Shape


@dataclass(frozen=True)
class Target:
    """Something that reads input. `make` creates an input, and `check` asserts the property for it."""

    make: Callable[[Random], Any]
    check: Callable[[Any], None]


def targets() -> dict[str, Callable[[Path], Target]]:
    """All targets by name. Each is created with a folder for the files that it reads."""
    tasks = {f"verifier {name}": functools.partial(verifier, name) for name in plugins.names(plugins.TASKS)}
    tables = {f"table {kind}": functools.partial(table, kind) for kind in table_files.SUFFIXES}
    return tasks | tables | {"config": configs, "checkpoint": checkpoints, "dataset": datasets}


# --- Damage ---------------------------------------------------------------------------------------

LETTERS = [*string.printable, "\x00", "\x1b", "\x85", "\u2028", "\u0663", "\u00b2", "\u00d7", "\ud800", "\U0001f600"]


def edited(text: str, pieces: list[str], rng: Random) -> str:
    """`text` with a few pieces removed, doubled, replaced or inserted."""
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
        start = rng.randrange(len(text) + 1)
        end = min(start + rng.choice((0, 0, 1, 2, 10)), len(text))
        put = rng.choice(("", text[start:end] * 2, rng.choice(pieces), rng.choice(LETTERS)))
        text = text[:start] + put + text[end:]
    return text[: rng.randrange(len(text) + 1)] if rng.random() < 0.05 else text


def damaged(data: bytes, rng: Random) -> bytes:
    """`data` cut short, or with some bits flipped, or both. The first and last kilobyte are changed more often."""
    content = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 4, 16))):
        index = rng.randrange(len(content))
        index = rng.choice((index, min(index, rng.randrange(1024)), max(index, len(content) - 1 - rng.randrange(1024))))
        content[index] ^= 1 << rng.randrange(8)
    return bytes(content[: rng.randrange(len(content))] if rng.random() < 0.2 else content)


def refused(read: Callable[[], Any], kind: type[ValueError] = ValueError) -> Any:
    """The result of `read`, or None if it refuses with an error of one line. Any other error is raised."""
    try:
        return read()
    except kind as error:
        assert len(str(error).splitlines()) == 1, "not one line"
        return None


def placed(file: Path, data: bytes) -> Path:
    """Write a new file at `file`. An old file that is still mapped into memory keeps its content."""
    file.unlink(missing_ok=True)
    file.write_bytes(data)
    return file


# --- Verifiers ------------------------------------------------------------------------------------

ROWS: dict[str, dict[str, Any]] = {
    "countdown": {"nums": [3, 5, 7], "target": 22, "solution": "3*5+7"},
    "gsm8k": {"question": "How many?", "solution": "2*617=1,234. Half is 617.", "answer": "1234"},
    "multiplication": {"a": 47, "b": 86},
}
_WORDS = [
    "<think>", "</think>", "<answer>", "</answer>", "</think>\n<answer>", "\n", "=", "no", "yes", " is not 22", "-",
    "$", "1,234", "4042", "3*5+7", "1e3", "/", ".", "**", "//", "(" * 90, ")" * 90, "9" * 120, "\u0661", "I give up",
]  # fmt: skip


def verifier(name: str, _: Path) -> Target:
    """A task's `score`, `solution` and `arithmetic`. Without an oracle, they are only compared with each other."""
    task = plugins.load(plugins.TASKS, name, "task")
    row = ROWS.get(name) or task.build(task.Options())["test"].to_dict("records")[0]
    low, high = task.reward_range(task.DEFAULTS)
    model = task.reference_answer(row, "compact" if task.ALPHABET else "chat")
    numbers = [str(number) for number in row.get("nums", ())]

    def make(rng: Random) -> str:
        answer = str(row.get("answer", row.get("a", 1) * row.get("b", 1)))
        if numbers:  # an expression with every number once, which sometimes equals the target
            order = rng.sample(numbers, len(numbers))
            answer = "".join(itertools.chain(*zip(order, rng.choices("+-*/*+", k=len(order)), strict=True)))[:-1]
        answered = f"{rng.choice(('', 'so '))}</think>\n<answer>{edited(answer, _WORDS, rng)}</answer>"
        words = "".join(rng.choices(_WORDS, k=rng.randrange(12)))
        return edited(rng.choice((model, answered, answered, words)), _WORDS, rng)

    def check(completion: str) -> None:
        score = task.score(completion, row)
        assert low <= score.reward <= high, "reward outside its range"
        assert 0 <= score.self_checks <= score.attempts, "more self-checks than attempts"
        assert (task.solution(completion, row) is not None) == score.correct, "solution and score differ"
        right, written = task.arithmetic(completion)
        assert 0 <= right <= written, "more equations right than written"
        if name in oracles.ORACLES:
            correct = oracles.is_right(name, completion, row)
            assert score.correct == correct, "correct differs from the independent reading"
            assert score.formatted == bool(oracles.FORMATTED.fullmatch(completion)), (
                "format differs from the independent reading"
            )
            assert score.reward == correct + task.DEFAULTS.format_reward * score.formatted, "reward differs"

    return Target(make, check)


# --- Config ---------------------------------------------------------------------------------------

_EXPERIMENT = """\
task: {name: countdown, numbers: 3, train: 100, test: 64}
model: {source: mini, layers: 2}
training:
  steps: 4
  learning_rate: 4e-4
evaluation: {every: 2, puzzles: 32, pass_puzzles: 8, pass_samples: 16}
seeds: [0, 1]
primary: [soft]
ablations:
  baseline: {weighting: {scheme: linear}}
  soft:
    weighting: {scheme: softmax, tau: {from: 0.75, to: 0.25, steps: 4}}
    training: {group_size: 4}
"""
_YAML = [
    "null", "~", "[]", "{}", "&a ", "*a", "<<: *a", "? ", "- ", "\t", "%YAML 9", "---\n", "...", "'", '"', "|\n", "-1",
    "!!python/object/apply:os.system ['true']", "!!python/object/new:subprocess.Popen [['true']]", "!!binary aGk=",
    "!!python/name:os.system", "!!set {a}", "2001-13-01", ".nan", ".inf", "1e999", "9" * 5000, "0x1f", "1:30", "true",
    "[" * 300, "{a: " * 300, "[" * 5000, "&a [*a]", "!!int ''", "!!bool x", "\"\\e]0;title\\a\": 1\n",
    "on", "extends: base\n", "extends: ../base\n", f"extends: {'x' * 300}\n",
    "extends: [a]\n", "tau: auto", "softmax",
]  # fmt: skip

# Names of audit events, or how they begin.
_ACTS = ("exec", "compile", "import", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "os.rename")
_ACTS += ("os.mkdir", "subprocess.", "socket.", "ctypes.", "pickle.", "shutil.", "marshal.")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Acts:
    """Collects Python's audit events other than reading while it is `open`."""

    def __init__(self) -> None:
        self.open, self.seen = False, []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple) -> None:
        if self.open and (event.startswith(_ACTS) or (event == "open" and arguments[2] & _WRITING)):
            self.seen.append(event)


@functools.cache  # once, because an audit hook cannot be removed
def acts() -> Acts:
    return Acts()


def configs(folder: Path) -> Target:
    """`config.load`."""
    for kind in (
        plugins.TASKS,
        plugins.SOURCES,
        plugins.SCHEMES,
    ):  # everything is imported now, so that a check sees no import
        for name in plugins.names(kind):
            plugins.load(kind, name)
    placed(folder / "base.yaml", _EXPERIMENT.encode())
    experiments.load(folder / "base.yaml")
    lines = [*_EXPERIMENT.splitlines(keepends=True), *_YAML]

    def make(rng: Random) -> bytes:
        text = edited(_EXPERIMENT, lines, rng).encode("utf-8", errors="surrogatepass")
        return damaged(text, rng) if text and rng.random() < 0.1 else text

    # What only a mistake imports, such as a module that looks for a similar name, is imported now as well.
    for seed in range(100):
        text = make(Random(seed))
        refused(lambda text=text: experiments.load(placed(folder / "experiment.yaml", text)), ConfigError)

    def check(text: bytes) -> None:
        file, watch = placed(folder / "experiment.yaml", text), acts()
        watch.seen.clear()
        watch.open = True
        try:
            experiment = refused(lambda: experiments.load(file), ConfigError)
        finally:
            watch.open = False
        assert not watch.seen, f"acts: {watch.seen}"
        if experiment is not None:
            for run in experiment.runs():
                assert Run.from_json(run.to_json()) == run, "a run that does not survive JSON"

    return Target(make, check)


# --- Files ----------------------------------------------------------------------------------------


def checkpoints(folder: Path) -> Target:
    """`checkpoint.load` of a model in two shards with one damaged file."""
    home = folder / "model"
    home.mkdir(exist_ok=True)
    settings = work.qwen2(hidden=8, inner=8, layers=1, heads=2, kv_heads=1, vocabulary=8)
    model = Decoder.empty(Shape.from_config(settings)).initialize(torch.Generator().manual_seed(0))
    whole = checkpoint.SHARD_BYTES
    try:
        checkpoint.SHARD_BYTES = sum(parameter.nbytes for parameter in model.parameters()) // 2 + 256
        checkpoint.save(model, home, settings)
    finally:
        checkpoint.SHARD_BYTES = whole
    contents = {file.name: file.read_bytes() for file in sorted(home.iterdir())}
    assert len(contents) == 4  # two shards, their index, config.json

    def make(rng: Random) -> tuple[str, bytes]:
        name = rng.choice(list(contents))
        return name, damaged(contents[name], rng)

    def check(case: tuple[str, bytes]) -> None:
        name, data = case
        placed(home / name, data)
        try:
            refused(lambda: checkpoint.load(home))
        finally:
            placed(home / name, contents[name])

    return Target(make, check)


_TABLE = pd.DataFrame(
    {"text": ["", 'a "b", c', "line\nbreak", "é"] * 8, "number": range(32), "list": [[1, 2], []] * 16}
)


def _stored(file: Path, kind: str) -> bytes:
    """`_TABLE` as a file of that kind."""
    if kind == ".csv":
        _TABLE.to_csv(file, index=False)
    elif kind == ".jsonl":
        _TABLE.to_json(file, orient="records", lines=True)
    else:
        _TABLE.to_parquet(file, index=False)
    return file.read_bytes()


def table(kind: str, folder: Path) -> Target:
    """`table_files.rows` of a damaged file."""
    file = folder / f"table{kind}"
    content = _stored(file, kind)

    def check(data: bytes) -> None:
        placed(file, data)
        rows = refused(lambda: list(table_files.rows(file, ("number",))))
        assert rows is None or all(str(file) in where and "number" in row for where, row in rows), "rows without place"

    return Target(lambda rng: damaged(content, rng), check)


def datasets(folder: Path) -> Target:
    """`dataset.read` of a damaged split."""
    home = folder / "data"
    home.mkdir(exist_ok=True)
    content = _stored(home / "test.parquet", ".parquet")

    def check(data: bytes) -> None:
        placed(home / "test.parquet", data)
        rows = refused(lambda: dataset.read(home, "test", 8))
        assert rows is None or len(rows) == 8, "another number of puzzles"

    return Target(lambda rng: damaged(content, rng), check)
