"""Search counts: how a model searches, counted in its sampled answers.

A task whose thinking consists of attempts says for each whether it hits the answer, and whether the text calls it
right. The counts show whether the model recognizes a hit, and whether more attempts find more right answers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from softmax_rewards.data.tasks import Attempt

DEEPEST = 16
"""Attempts per answer that are listed one by one. Texts of language models may have hundreds."""

Answers = Sequence[Sequence[Attempt]]  # the attempts of each answer, in order


def completed(attempts: Sequence[Attempt], finished: bool) -> list[Attempt]:
    """The attempts, without the last one if the token limit may have cut its value or its mark."""
    cut = not finished and attempts and attempts[-1].mark is None
    return list(attempts[:-1] if cut else attempts)


def described(answers: Answers, right: np.ndarray, samples: int) -> dict[str, Any]:
    """All counts of the answers, as JSON. `right[R]` says which are right; a puzzle has `samples` answers in a row.

    attempts             attempts per answer
    hits, hits_yes       attempts that hit the right answer, and how many of them the text calls right
    misses, misses_yes   attempts that miss it, and how many of them the text calls right
    gain, gain_error     success minus the share of first attempts that hit: what all later attempts bring; its
                         standard error for these puzzles and other samples
    by_attempt           see `by_attempt`
    """
    every = [attempt for attempts in answers for attempt in attempts]
    hits = [attempt.mark for attempt in every if attempt.hit]
    misses = [attempt.mark for attempt in every if not attempt.hit]
    gains = right.astype(float) - np.array([bool(attempts) and attempts[0].hit for attempts in answers], float)
    return {
        "attempts": len(every) / len(answers),
        "hits": len(hits),
        "hits_yes": hits.count(True),
        "misses": len(misses),
        "misses_yes": misses.count(True),
        "gain": float(gains.mean()),
        "gain_error": sampling_error(gains.reshape(-1, samples)),
        "by_attempt": by_attempt(answers, right),
    }


def by_attempt(answers: Answers, right: np.ndarray) -> list[dict[str, Any]]:
    """One row per number of attempts m = 1, 2, …: `attempt` (m) and

    reached  share of answers with an m-th attempt
    hit      share of these m-th attempts that hit
    goes_on  share of the m-th attempts that miss and are followed by another one; None if none misses
    right    success if every answer is cut behind its m-th attempt: right answers with at most m attempts
    """
    numbers = np.array([len(attempts) for attempts in answers])
    rows = []
    for m in range(1, min(DEEPEST, int(numbers.max(initial=0))) + 1):
        hit = np.array([attempts[m - 1].hit for attempts in answers if len(attempts) >= m])
        missed = numbers[numbers >= m][~hit]
        rows.append(
            {
                "attempt": m,
                "reached": float(np.mean(numbers >= m)),
                "hit": float(hit.mean()),
                "goes_on": float(np.mean(missed > m)) if len(missed) else None,
                "right": float(np.mean(right & (numbers <= m))),
            }
        )
    return rows


def endings(answers: Answers, closed: np.ndarray, formatted: np.ndarray) -> list[dict[str, int]]:
    """How answers go on and end behind a miss: one row per number of attempts m = 0, 1, 2, …: `attempt` (m) and

    misses    answers whose m-th attempt misses; all answers for m = 0
    goes_on   of the misses, those that are followed by another complete attempt
    stops     of the misses, those behind which the thinking is closed. All others were cut while they went on
    closings  answers whose thinking is closed behind m attempts, whether or not the last one hits
    formed    of the closings, those in the right format. The others were mostly cut while they wrote the answer

    `closed[R]` says whether an answer closes its thinking, `formatted[R]` whether it has the right format.
    """
    numbers = np.array([len(attempts) for attempts in answers])
    rows = []
    for m in range(min(DEEPEST, int(numbers.max(initial=0))) + 1):
        missed = numbers >= m
        if m:
            missed = np.array([len(attempts) >= m and not attempts[m - 1].hit for attempts in answers])
        closing = closed & (numbers == m)
        counted = {
            "misses": missed,
            "goes_on": missed & (numbers > m),
            "stops": missed & closing,
            "closings": closing,
            "formed": closing & formatted,
        }
        rows.append({"attempt": m} | {name: int(chosen.sum()) for name, chosen in counted.items()})
    return rows


def attempt_length(answers: Answers, length: np.ndarray, finished: np.ndarray) -> dict[str, float] | None:
    """The tokens of an attempt and of everything else in an answer, by least squares over the finished answers.

    None if all finished answers have equally many attempts.
    """
    numbers = np.array([len(attempts) for attempts in answers])[finished]
    if not len(numbers) or np.ptp(numbers) == 0:
        return None
    slope, intercept = np.polyfit(numbers, length[finished], 1)
    return {"attempt": float(slope), "rest": float(intercept)}


def sampling_error(values: np.ndarray) -> float:
    """Standard error of the mean of `values` [puzzles, samples], for these puzzles and other samples."""
    puzzles, samples = values.shape
    return float(np.sqrt(values.var(axis=1, ddof=1).sum() / samples) / puzzles)
