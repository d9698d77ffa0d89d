"""Lengths of logged answers: do long answers lose the format?"""

from typing import NamedTuple

import numpy as np

from softmax_rewards.weighting.study.log_map import Levels


class Answers(NamedTuple):
    """Logged answers [n]: reward, whether it is right, and length in any unit."""

    rewards: np.ndarray
    correct: np.ndarray
    lengths: np.ndarray


class LengthFigures(NamedTuple):
    """Mean length of right, well-formed wrong and unformatted answers; NaN for a kind that does not occur.

    correlation  of the length and of being well formed (1 or 0), among the wrong answers; NaN if one does not vary
    """

    right: float
    formed: float
    unformatted: float
    correlation: float


def measure(answers: Answers, kinds: Levels) -> LengthFigures:
    """The figures of the answers of one log."""
    formed = ~answers.correct & (answers.rewards >= kinds.threshold)
    unformatted = ~answers.correct & ~formed
    right_mean, formed_mean, other_mean = (
        _mean(answers.lengths[kind]) for kind in (answers.correct, formed, unformatted)
    )
    lengths, kept = answers.lengths[~answers.correct], formed[~answers.correct]
    varies = len(lengths) > 1 and np.ptp(lengths) > 0 and 0 < kept.sum() < len(kept)
    correlation = float(np.corrcoef(lengths, kept)[0, 1]) if varies else float("nan")
    return LengthFigures(right_mean, formed_mean, other_mean, correlation)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
