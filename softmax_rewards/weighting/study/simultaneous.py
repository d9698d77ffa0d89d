"""Simultaneous limits: how sure a log is of the difference in signal-to-noise between each setting and the first one.

The limits come from a bootstrap over groups and hold for all settings at once: better ± q·s, where s is the bootstrap's
standard deviation and q the 95 % quantile of the largest |deviation|/s (Romano and Wolf 2005, Econometrica 73:1237). So
the best setting may be picked afterwards. Two things make them hold for small logs and unequal prompts too:

* The success of a prompt is an estimate (`signal_noise.prompts`), so each draw estimates it again.
* Two schemes may differ only in groups that the log does not have, such as groups with five right samples. A plain
  bootstrap would then be sure of their difference. So each draw has IMAGINED more groups, with any number of right
  samples.

The limits are those of the log's prediction as the log grows. If the success of prompts has a beta distribution, this
is the exact signal-to-noise. Otherwise it differs for schemes whose mean weight is not a linear function of the number
of right samples, because N samples do not determine how success is distributed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from softmax_rewards.common.stats import CONFIDENCE
from softmax_rewards.weighting.study import signal_noise
from softmax_rewards.weighting.study.populations import Population, quantiles, weigh

DRAWS = 1000  # bootstrap samples
# The rule of three: a kind of group that a log of M groups does not have may still be 3/M of all groups.
IMAGINED = 3


class Contributions(NamedTuple):
    """What each distinct group adds to signal and noise of S settings.

    right   [S, G], mean over the group's samples of weight times right (1) or wrong (0)
    weight  [S, G], mean weight
    square  [S, G], mean squared weight
    rates   [G], share of right samples
    size    N
    """

    right: np.ndarray
    weight: np.ndarray
    square: np.ndarray
    rates: np.ndarray
    size: int

    def snr(self, counts: np.ndarray) -> np.ndarray:
        """Predicted signal-to-noise [S] if group g occurs counts[g] times, as `signal_noise.of_groups`."""
        share = counts / counts.sum()
        mean, credibility = signal_noise.prompts(self.rates, counts, self.size)
        weight = self.weight @ share
        # E[w (c - p)] with p = mean + credibility (rate - mean) for each prompt. A constant weight cancels here.
        together = (self.weight * self.rates) @ share - mean * weight
        signal = self.right @ share - mean * weight - credibility * together
        noise = np.sqrt(self.square @ share)
        # Rounding makes a missing signal exactly 0 and proportional schemes exactly equal on every machine.
        return np.round(np.divide(signal, noise, out=np.zeros(len(noise)), where=noise > 0), 12)


def of_settings(groups: Population, chosen: Sequence[tuple[str, dict[str, Any]]], seed: int) -> pd.DataFrame:
    """`limits` of a log. `chosen`: (scheme, hyperparameters) of each setting."""
    added = imagined(groups)
    both = Population(
        np.concatenate([groups.rewards, added.rewards]),
        np.concatenate([groups.correct, added.correct]),
        np.concatenate([groups.counts, added.counts]),
    )
    parts = []
    for scheme, hyperparameters in chosen:
        w = weigh(both, scheme, hyperparameters)
        parts.append((np.mean(w * both.correct, axis=-1), w.mean(axis=-1), np.mean(w**2, axis=-1)))
    right, weight, square = (np.array(part) for part in zip(*parts, strict=True))
    contributions = Contributions(right, weight, square, both.correct.mean(axis=-1), both.rewards.shape[1])
    return limits(contributions, both.counts, seed)


def imagined(groups: Population) -> Population:
    """One group with count 0 for each number of right samples, 0 … N. Its rewards are quantiles of logged ones.

    No group if the log has no right or no wrong sample, because the log does not say what such a sample earns.
    """
    size = groups.rewards.shape[1]
    counts = np.repeat(groups.counts[:, None], size, axis=1)
    if not all(counts[kind].any() for kind in (groups.correct, ~groups.correct)):
        return Population(np.zeros((0, size)), np.zeros((0, size), dtype=bool), np.zeros(0, dtype=int))

    def earned(kind: np.ndarray, number: int) -> np.ndarray:
        # Evenly spaced in the logged rewards of this kind, highest first.
        return quantiles(groups.rewards[kind], counts[kind], (np.arange(number)[::-1] + 0.5) / max(number, 1))

    right = np.arange(size + 1)
    rewards = [np.concatenate([earned(groups.correct, k), earned(~groups.correct, size - k)]) for k in right]
    return Population(np.array(rewards), np.arange(size) < right[:, None], np.zeros(size + 1, dtype=int))


def limits(contributions: Contributions, counts: np.ndarray, seed: int, draws: int = DRAWS) -> pd.DataFrame:
    """snr, better, low and high of S settings. `better` is the difference to the first setting.

    counts  [G], how often each group occurs; those with count 0 are the imagined ones
    """
    rng = np.random.default_rng(seed)
    total, extra = counts.sum(), counts == 0
    sampled = []
    for _ in range(draws):
        drawn = rng.multinomial(total, counts / total)
        if extra.any():
            drawn = drawn + rng.multinomial(IMAGINED, extra / extra.sum())
        sampled.append(contributions.snr(drawn))
    snr = contributions.snr(counts)
    better, spread = snr - snr[0], np.array(sampled) - np.array(sampled)[:, :1]
    deviation = spread.std(axis=0)
    varies = deviation > 1e-9  # a scheme proportional to the first has no difference, and would divide by 0
    quantile = 0.0
    if varies.any():
        quantile = np.quantile(np.max(np.abs(spread - better)[:, varies] / deviation[varies], axis=1), CONFIDENCE)
    half = np.where(varies, quantile * deviation, 0.0)
    return pd.DataFrame({"snr": snr, "better": better, "low": better - half, "high": better + half})
