"""Reward logs of other trainers: read a log, return its groups of rewards.

A log is a .csv, .jsonl or .parquet file with one row per sample, or a folder of such files. The columns give the
layout:

    plain   group, reward[, correct][, step]: rows in any order; a group name may occur again at another step
    TRL     step, prompt, completion, <one column per reward function>, <extra columns>, advantage: the files
            completions/completions_<step>.parquet that GRPOTrainer writes with `log_completions` (TRL 1.16)
    verl    input, output, gts, score, step, <extra columns>: the files <step>.jsonl in `trainer.rollout_data_dir`

TRL: a group is a block of consecutive rows with the same step and prompt. So a prompt that was drawn twice
gives two groups. The reward is the sum of the numeric columns between completion and advantage, and a
missing value counts as 0. A sample without any value was not scored and is left out, as in TRL. The file does not say
which columns are reward functions or how they are weighted, so the sum is checked against the advantages. With several
updates per batch, TRL writes the same samples at several steps. They count once.

verl: rows may have been reordered to balance the load, so a group is a step and an input. A prompt that was drawn twice
in one step becomes one larger group. A 0/1 column `acc` says what is right.

Lengths: in a plain log the column `length`, if there is one. TRL and verl write no number of tokens, so the characters
of `completion` and `output` are counted.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from softmax_rewards.common import table_files
from softmax_rewards.integrations.log_layouts import Layout, recognize
from softmax_rewards.weighting.study.answer_lengths import Answers
from softmax_rewards.weighting.study.populations import Population

LARGEST = 1e12  # largest reward; differences, sums and squares stay finite
AFFINE = 1 - 1e-3  # from this correlation within a group on, advantages agree with rewards; both are float32


@dataclass(frozen=True)
class RewardLog:
    """The groups of a log, and how they were read.

    layout    "plain", "TRL" or "verl"
    reward    the columns that make up the reward
    right     what makes a sample right, in words
    inferred  whether `right` is a guess from the rewards, because no column says it
    by_size   N → the groups of N samples, each with the highest reward first
    single    number of groups with one sample; `by_size` leaves them out, because there is nothing to compare
    unscored  number of samples without any reward (TRL)
    repeated  number of groups that were written again at a later step (TRL)
    answers   N → all answers of these groups, with their lengths; empty if the log has no lengths
    """

    layout: str
    reward: str
    right: str
    inferred: bool
    by_size: dict[int, Population]
    single: int
    unscored: int
    repeated: int
    answers: dict[int, Answers] = field(default_factory=dict)


class _Sample(NamedTuple):
    reward: float
    right: bool | None
    advantage: float
    completion: int
    length: float


def read(
    path: Path,
    group: str | None = None,
    reward: str | None = None,
    correct: str | None = None,
    length: str | None = None,
) -> RewardLog:
    """The groups of a log.

    group    column that names the group (plain "group", TRL "prompt", verl "input")
    reward   column, or several to be added: "accuracy,format=0.1" is accuracy + 0.1·format
    correct  0/1 column; without one, a sample is right if its reward is above the middle of all rewards in the log
    length   column of an answer's length (plain "length" if there is one, TRL "completion", verl "output")
    Raises ValueError, one line: file, row (counted from 1), column, value and what is allowed.
    """
    files = table_files.files(path)
    layout = recognize(files[0], group, reward, correct, length)
    groups: dict[tuple, list[_Sample]] = {}
    unscored = 0
    for index, file in enumerate(files):
        run, last = 0, None
        for where, row in table_files.rows(file, layout.needed):
            key = (_key(row, layout.step, where), _key(row, layout.group, where))
            # TRL's log does not name groups, so a new group begins where step or prompt changes.
            run += layout.name == "TRL" and key != last
            last = key
            sample = _sample(row, layout, where)
            if math.isnan(sample.reward):
                unscored += 1
            else:
                groups.setdefault((index, run, *key), []).append(sample)
    if not groups:
        raise ValueError(f"{path}: no samples; allowed: one row per sample")
    count = len(groups)
    if layout.name == "TRL":
        # The prompt is the last part of the key. Equal completions in the same order are the same samples.
        once = {(key[-1], *(sample.completion for sample in rows)): rows for key, rows in groups.items()}
        distinct = list(once.values())
        if reward is None and layout.advantage:
            _check_advantages(distinct, path, list(layout.reward))
    else:
        distinct = list(groups.values())
    right = f"column {layout.correct}"
    if layout.correct is None:
        low, high = (pick(sample.reward for rows in distinct for sample in rows) for pick in (min, max))
        middle = low / 2 + high / 2  # low + high could overflow
        right = f"reward above {middle:.6g}, the middle of the rewards seen"
        distinct = [[sample._replace(right=sample.reward > middle) for sample in rows] for rows in distinct]
    reward_text = " + ".join(name if factor == 1 else f"{factor:g}·{name}" for name, factor in layout.reward.items())
    single = sum(len(rows) == 1 for rows in distinct)
    inferred = layout.correct is None
    return RewardLog(
        layout.name,
        reward_text,
        right,
        inferred,
        _by_size(distinct),
        single,
        unscored,
        count - len(distinct),
        _answers(distinct) if layout.length or layout.answer else {},
    )


def _by_size(groups: Sequence[Sequence[_Sample]]) -> dict[int, Population]:
    """Group size, from 2 on → the distinct groups with counts."""
    populations = {}
    for size in sorted({len(rows) for rows in groups} - {1}):
        alike = [rows for rows in groups if len(rows) == size]
        # Sorted, so that groups that differ only in the order of their samples count as equal.
        ordered = [sorted(((sample.reward, sample.right) for sample in rows), reverse=True) for rows in alike]
        distinct, counts = np.unique(np.array(ordered, dtype=float), axis=0, return_counts=True)
        populations[size] = Population(distinct[..., 0], distinct[..., 1] > 0, counts)
    return populations


def _answers(groups: Sequence[Sequence[_Sample]]) -> dict[int, Answers]:
    """Group size, from 2 on → reward, right and length of every answer."""
    answers = {}
    for size in sorted({len(rows) for rows in groups} - {1}):
        alike = [sample for rows in groups if len(rows) == size for sample in rows]
        rewards, right, lengths = np.array([(sample.reward, sample.right, sample.length) for sample in alike]).T
        answers[size] = Answers(rewards, right > 0, lengths)
    return answers


def _check_advantages(groups: Sequence[Sequence[_Sample]], path: Path, columns: Sequence[str]) -> None:
    """Raise ValueError if advantages are not an increasing affine function of the rewards within every group."""
    # TRL subtracts the group's mean and may divide by a spread. A group of another size than usual has lost unscored
    # samples or consists of two draws of a prompt, so its rewards and advantages need not agree.
    usual = Counter(map(len, groups)).most_common(1)[0][0]
    for rows in groups:
        rewards, advantages = np.array([(sample.reward, sample.advantage) for sample in rows]).T
        covariance = np.mean((rewards - rewards.mean()) * (advantages - advantages.mean()))
        agree = covariance >= AFFINE * rewards.std() * advantages.std() > 0
        level = np.ptp(rewards) == 0 and np.ptp(advantages) < 1e-3
        if len(rows) == usual and not (agree or level):
            raise ValueError(
                f"{path}: the sum of {', '.join(columns)} does not give the advantages; allowed: --reward with "
                "the reward functions and their weights, such as --reward accuracy,format=0.1"
            )


def _sample(row: dict[str, Any], layout: Layout, where: str) -> _Sample:
    total, seen = 0.0, 0
    for column, factor in layout.reward.items():
        value = row[column]
        if layout.name == "TRL" and _missing(value):
            continue
        number = table_files.number(value)
        if number is None:
            raise table_files.wrong(where, column, value, "a finite number")
        total, seen = total + factor * number, seen + 1
    total = round(total, 12)  # 0.1 + 0.2 and 0.3 are the same reward
    if abs(total) > LARGEST:
        raise table_files.wrong(where, " + ".join(layout.reward), total, f"a reward from -{LARGEST:g} to {LARGEST:g}")
    right = None
    if layout.correct is not None:
        right = table_files.truth(row[layout.correct])
        if right is None:
            raise table_files.wrong(where, layout.correct, row[layout.correct], "0 or 1, false or true")
    advantage = math.nan
    if layout.advantage is not None:
        written = table_files.number(row[layout.advantage])
        if written is None:
            raise table_files.wrong(where, layout.advantage, row[layout.advantage], "a finite number")
        advantage = written
    # The text itself is not needed: equal texts have equal hashes, and a long log fits into memory.
    completion = hash(repr(row[layout.completion])) if layout.completion is not None else 0
    return _Sample(total if seen else math.nan, right, advantage, completion, _length(row, layout, where))


def _length(row: dict[str, Any], layout: Layout, where: str) -> float:
    """The number in the column of lengths, else the characters of the answer; NaN if the log has neither."""
    if layout.length is not None:
        number = table_files.number(row[layout.length])
        if number is None or number < 0:
            raise table_files.wrong(where, layout.length, row[layout.length], "a number >= 0")
        return number
    if layout.answer is None:
        return math.nan
    answer = row[layout.answer]
    # TRL writes conversations as lists of messages.
    texts = (
        [part.get("content") if isinstance(part, dict) else part for part in answer]
        if isinstance(answer, list)
        else [answer]
    )
    return float(sum(len(str(text)) for text in texts if text is not None))


def _key(row: dict[str, Any], column: str | None, where: str) -> str:
    """The group's name as text. A prompt may be a list of messages, which could not be a key itself."""
    if column is None:
        return ""
    value = row[column]
    if _missing(value):
        raise table_files.wrong(where, column, value, "a name")
    return repr(value)


def _missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
