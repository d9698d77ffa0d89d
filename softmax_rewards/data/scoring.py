"""Scoring: a task's verifier judges a batch of answers. A verifier that fails or does not end gives a one-line error.

A verifier is the user's code, and its input is whatever a model writes. So anything can go wrong in it.
"""

import faulthandler
import functools
import math
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import CodeType, FrameType, ModuleType
from typing import Any

from softmax_rewards.data import budget, tasks
from softmax_rewards.data.tasks import Score

EXCERPT = 200  # characters
GRACE = 30.0  # seconds between the signal and the end of the process; a busy machine runs a handler late
AGAIN = 0.1  # seconds between two signals
STDERR = 2  # the descriptor's number, because `sys.stderr` may be an object without a file


class RewardError(RuntimeError):
    """A verifier failed on an answer. The message is one line."""


class _Expired(BaseException):
    """The time is up. This is not an `Exception`: a verifier may catch those and call the answer wrong."""


class _Unusable(Exception):
    """The verifier returned something that is not a verdict."""


def score(
    task: Mapping[str, Any],
    puzzles: Sequence[Mapping[str, Any]],
    texts: Sequence[str],
    *,
    batch: str,
    seconds: float,
    allowed: Sequence[float] | None = None,
) -> list[Score]:
    """The verdicts of `task` (name and options) on Q·N answers to Q puzzles, group by group.

    With `allowed`, the number of attempts of each answer, an answer with more attempts is cut first (`budget.cut`).
    All answers together may take `seconds`. Messages call them `batch`. Raises RewardError if the verifier raises,
    returns something that is not a `Score`, returns a reward that is not finite, or takes longer.

    In the main thread SIGALRM interrupts the verifier. If the signal does not help, the process ends GRACE seconds
    later, and the standard error shows where its threads were.
    """
    module, options = tasks.load(task)
    samples = len(texts) // len(puzzles)
    scores: list[Score] = []
    deadline = time.monotonic() + seconds
    try:
        with _limit(seconds):
            for row, text in enumerate(texts):
                judge = functools.partial(_verdict, module, options, puzzles[row // samples])
                verdict = judge(text)
                if allowed is not None and verdict.attempts > allowed[row]:
                    verdict = judge(budget.cut(text, allowed[row], judge))
                if time.monotonic() > deadline:  # the verifier caught the signal, or ran in a thread without one
                    raise _Expired
                scores.append(verdict)
    except (Exception, SystemExit, _Expired) as error:
        row = min(len(scores), len(texts) - 1)
        puzzle = " ".join(str(dict(puzzles[row // samples])).split())
        raise RewardError(
            f"task {task['name']}: its verifier {_failure(error, seconds, len(texts))}; at puzzle {row // samples}, "
            f"sample {row % samples} of the batch {batch!r}; puzzle {puzzle[:EXCERPT]}; "
            f"answer {_excerpt(texts[row])}; {_location(error, module.score.__code__)}"
        ) from error
    return scores


def _verdict(module: ModuleType, options: Any, puzzle: Mapping[str, Any], text: str) -> Score:
    verdict = module.score(text, puzzle, options)
    if not isinstance(verdict, Score):
        raise _Unusable(f"returned {type(verdict).__name__}; wanted: a Score")
    # Only Python's own numbers: the reward is also written to JSON, which cannot write those of NumPy or PyTorch.
    if not (isinstance(verdict.reward, (int, float)) and math.isfinite(verdict.reward)):
        raise _Unusable(f"returned the reward {verdict.reward!r}; wanted: a finite int or float")
    return verdict


def _failure(error: BaseException, seconds: float, answers: int) -> str:
    if isinstance(error, _Expired):
        return (
            f"took longer than {seconds:g} s for {answers} answers; repair it, or raise training.reward_timeout if it "
            "is only slow"
        )
    if isinstance(error, _Unusable):
        return str(error)
    return "raised " + " ".join("".join(traceback.format_exception_only(error)).split())


def _location(error: BaseException, verifier: CodeType) -> str:
    """File and line of the verifier: the line where it stopped, or its first line."""
    frames = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in frames if frame.f_code.co_filename == verifier.co_filename]
    return f"{verifier.co_filename}:{lines[-1] if lines else verifier.co_firstlineno}"


def _excerpt(text: str) -> str:
    shown = repr(text[:EXCERPT])
    return shown if len(text) <= EXCERPT and len(shown) <= EXCERPT else f"{shown[: EXCERPT - 2]} …"


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise `_Expired` in the block after `seconds` if this is the main thread; end the process GRACE later."""
    # A signal interrupts neither another thread nor a C function that holds Python's lock and does not look for
    # signals. `faulthandler` has a thread of its own in C and can end the process in both cases.
    faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=STDERR)
    try:
        if threading.current_thread() is threading.main_thread():
            with _alarm(seconds):
                yield
        else:
            yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    over = False

    def expired(number: int, frame: FrameType | None) -> None:
        nonlocal over
        if not over:
            over = True
            raise _Expired

    began = time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    handler = signal.signal(signal.SIGALRM, expired)
    try:
        try:
            # A single signal can get lost, so the timer repeats. `_Expired` is raised only once.
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
            yield
        finally:
            over = True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)  # None means that Python did not set the old handler
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1e-6), interval)
