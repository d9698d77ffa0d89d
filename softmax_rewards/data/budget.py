"""The hidden budget of attempts: each attempt after the first loses the answer with a fixed probability.

The policy never sees the budget. It acts on the text of an answer before the text is scored, never on the tokens.
"""

import math
from collections.abc import Callable

import numpy as np

from softmax_rewards.common.randomness import numpy_stream
from softmax_rewards.data.tasks import Score


def draw(loss: float, samples: int, *key: int | str) -> np.ndarray:
    """The number of attempts that each of the `samples` may make, `[samples]`, at least 1 (float64, may be infinite).

    A sample may make more than k attempts with probability (1 − `loss`)^k, where `loss` is in (0, 1]. With the same
    `key`, a larger `loss` never allows a sample more attempts.
    """
    # An exponential number rounded down is geometric. It is the same draw for every `loss`.
    rate = -math.log1p(-loss) if loss < 1 else math.inf
    return 1 + np.floor(numpy_stream(*key).exponential(size=samples) / rate)


def cut(text: str, allowed: float, judge: Callable[[str], Score]) -> str:
    """The beginning of `text`, cut inside the first attempt over the budget.

    `judge` is the task's verifier, which counts attempts. The result has at most `allowed` attempts, and its thinking is
    not closed. So it has no answer.
    """
    # A task counts only the attempts in the thinking. Without this line, a text could be cut after an early answer.
    thinking = text.partition("</think>")[0]
    if judge(thinking).attempts <= allowed:
        return thinking
    # Bisection needs only the task's own count, so a task need not say where its attempts begin.
    within, over = 0, len(thinking)
    while over - within > 1:
        middle = (within + over) // 2
        if judge(thinking[:middle]).attempts <= allowed:
            within = middle
        else:
            over = middle
    return thinking[:within]
