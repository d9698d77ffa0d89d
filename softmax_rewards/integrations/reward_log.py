"""Reward logs of other trainers: read a log, return its groups of rewards.

A log is a .csv, .jsonl or .parquet file with one row per sample, or a folder of such files. The columns give the
layout:

    plain   group, reward[, correct][, step][, length]: rows in any order; a group name may occur again at another step
    TRL     step, prompt, completion, <one column per reward function>, <extra columns>, advantage: the files
            completions/completions_<step>.parquet that GRPOTrainer writes with `log_completions` (TRL 1.16)
    verl    input, output, gts, score, step, <extra columns>: the files <step>.jsonl in `trainer.rollout_data_dir`

TRL: a group is a block of consecutive rows with the same step and prompt. The reward is the sum of the numeric columns
between completion and advantage, and a missing value counts as 0. A sample without any value was not scored and is left
out, as in TRL. The file does not say which columns are reward functions or how they are weighted, so the sum is checked
against the advantages. With several updates per batch, TRL writes the same samples at several steps. They count once.
Groups of evaluations are left out if `trainer_state.json` says at which steps TRL evaluated.

verl: rows may have been reordered to balance the load, so a group is a step and an input. A prompt that was drawn twice
in one step becomes one larger group, unless a column `uid` keeps the draws apart. A 0/1 column `acc` says what is
right.

Lengths: in a plain log the column `length`, if there is one. TRL and verl write no number of tokens, so the characters
of `completion` and `output` are counted.

`log_files` says which files of a folder belong to the log, `log_samples` which columns are used, `log_restarts` what
counts if the run was resumed.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from softmax_rewards.integrations import log_files, log_groups, log_layouts, log_restarts, log_samples
from softmax_rewards.weighting.study.answer_lengths import Answers
from softmax_rewards.weighting.study.populations import Population


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
    notes     sentences about what was left out, not used or not known
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
    notes: tuple[str, ...] = ()


def read(
    path: Path,
    group: str | None = None,
    reward: str | None = None,
    correct: str | None = None,
    length: str | None = None,
) -> RewardLog:
    """The groups of a log.

    group    column that names the group (plain "group", TRL "prompt", verl "uid" or "input")
    reward   column, or several to be added: "accuracy,format=0.1" is accuracy + 0.1·format
    correct  0/1 column (plain "correct", verl "acc"); without one, a sample is right if its reward is above the middle
             of all rewards in the log
    length   column of an answer's length (plain "length", TRL "completion", verl "output")
    A default column is used if the log has it in all rows. Raises ValueError, one line: file, row (counted from 1),
    column, value and what is allowed.
    """
    notes: list[str] = []
    columns = log_files.columns(log_files.find(path, notes), notes)
    layout = log_layouts.recognize(columns, group, reward, correct, length)
    samples, factors = log_samples.read(list(columns), layout, notes)
    samples = log_restarts.latest(samples, layout.name, notes)
    unscored, repeated = int(np.isnan(samples.reward).sum()), 0
    if layout.name == "TRL":
        groups = log_groups.of_blocks(samples)
        if len(groups.sizes):
            groups, repeated = log_groups.once(groups, path, notes)
        if len(groups.sizes) and reward is None:
            log_groups.check_advantages(groups, path, list(factors), notes)
    else:
        groups = log_groups.of_names(samples)
    if not len(groups.sizes):
        raise ValueError(" ".join([f"{path}: no samples of training; allowed: one row per sample.", *notes]))
    right, verdict = _verdicts(groups.samples, layout.correct)
    return RewardLog(
        layout=layout.name,
        reward=" + ".join(name if factor == 1 else f"{factor:g}·{name}" for name, factor in factors.items()),
        right=verdict,
        inferred=groups.samples.right is None,
        by_size=dict(log_groups.populations(groups, right)),
        single=int((groups.sizes == 1).sum()),
        unscored=unscored,
        repeated=repeated,
        answers=dict(log_groups.answers(groups, right)),
        notes=tuple(notes),
    )


def _verdicts(samples: log_samples.Samples, column: str | None) -> tuple[np.ndarray, str]:
    """Which samples are right [n], and what makes them so, in words."""
    if samples.right is not None:
        return samples.right > 0, f"column {column}"
    low, high = samples.reward.min(), samples.reward.max()
    middle = low / 2 + high / 2  # low + high could overflow
    return samples.reward > middle, f"reward above {middle:.6g}, the middle of the rewards seen"
