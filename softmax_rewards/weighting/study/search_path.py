"""Where training ends in the toy of search: the expected policy gradient is followed until it vanishes.

Adam cancels the scale of a gradient, and the toy has no noise. So only its direction is used: the path is measured by
how far the logits move, not in updates.
"""

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from softmax_rewards.weighting.study.search_toy import Learner, Outcome, Search, gradient, outcome

LEAST = 1e-4
"""The probability of going on stays between this number and one minus it: a logit never arrives at 0 or 1."""
STRIDE = 0.5  # of the logit, in the search for the first point where the gradient vanishes
HALVINGS = 10


def slope(search: Search, learner: Learner, q: float) -> float:
    """The expected gradient on the logit of `q`, the one probability of going on after every miss."""
    return float(gradient(search, learner, np.full(len(search.fits), q)).sum())


def stop(search: Search, learner: Learner, start: float) -> float:
    """The q at which training from `start` comes to rest: the first zero of `slope` in its direction.

    Returns LEAST or 1 − LEAST if there is none before.
    """
    start = float(np.clip(start, LEAST, 1 - LEAST))
    direction = np.sign(slope(search, learner, start))
    if direction == 0:
        return start
    here, end = logit(start), direction * logit(1 - LEAST)
    while here != end:
        ahead = np.clip(here + direction * STRIDE, -abs(end), abs(end))
        if direction * slope(search, learner, expit(ahead)) <= 0:
            return _between(search, learner, here, ahead, direction)
        here = ahead
    return float(expit(end))


def _between(search: Search, learner: Learner, before: float, behind: float, direction: float) -> float:
    """The zero of the slope between two logits, by bisection: the weights of a coupled scheme may jump."""
    for _ in range(HALVINGS):
        middle = (before + behind) / 2
        if direction * slope(search, learner, expit(middle)) > 0:
            before = middle
        else:
            behind = middle
    return float(expit((before + behind) / 2))


def at(search: Search, q: float, format_reward: float = 0.1) -> Outcome:
    """What a policy achieves that goes on with probability `q` after every miss."""
    return outcome(search, np.full(len(search.fits), q), format_reward)


def walk(search: Search, learner: Learner, start: float, distance: float, stride: float = 0.05) -> pd.DataFrame:
    """Training with one logit per attempt, so that the policy may count its attempts.

    All start at `start`. Each step moves the logits by `stride` along the gradient, measured at the logit that moves
    most. One row per step: distance, go_on_1 … go_on_B, success, formatted, attempts, reward.
    """
    logits = np.full(len(search.fits), logit(start))
    bound = logit(1 - LEAST)
    rows = []
    for number in range(round(distance / stride) + 1):
        go_on = expit(logits)
        policy = {f"go_on_{k}": value for k, value in enumerate(go_on, 1)}
        reached = outcome(search, go_on, learner.format_reward)
        rows.append({"distance": number * stride} | policy | reached._asdict())
        direction = gradient(search, learner, go_on)
        largest = np.abs(direction).max()
        if largest > 0:
            logits = np.clip(logits + stride * direction / largest, -bound, bound)
    return pd.DataFrame(rows)
