"""The rule that compares two weightings, each at its best learning rate."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from softmax_rewards.common.stats import Interval, mean_interval, strictest_confidence
from softmax_rewards.verdicts import paired
from softmax_rewards.verdicts.evidence import ENDPOINTS, Evidence, Untested, label
from softmax_rewards.verdicts.paired import Comparison
from softmax_rewards.verdicts.rules import Finding, Rule, decide, describe


def best_rates(first: Mapping[str, Any], second: Mapping[str, Any]) -> Rule:
    """The AUC of `first` is higher than that of `second`, each at its best learning rate.

    The rate of a seed is chosen by the mean AUC of the *other* seeds. Chosen by all seeds, the best of several rates
    would profit from its own luck.
    """

    def rule(evidence: Evidence) -> Finding:
        sides = []
        for pattern in (first, second):
            rates = evidence.rates(pattern)
            if len(rates) < 2:
                raise Untested(f"{label(pattern)} at two or more learning rates")
            sides.append(evidence.measures["auc"].unstack("seed").loc[list(rates.values())].dropna(axis=1))
        seeds = sides[0].columns.intersection(sides[1].columns)
        if len(seeds) < 2:
            raise Untested("two seeds that every learning rate of both has")
        values = [side[seeds].to_numpy(float) for side in sides]
        noises = [paired.noise(evidence.measures.loc[list(side.index)], "auc") for side in sides]
        interval = best_difference(values[0], values[1], math.hypot(*noises))
        means = [float(at_best_rate(side).mean()) for side in values]
        compared = Comparison(interval, means[0], means[1], paired.margin(evidence, "auc"))
        verdict, reason = decide(compared, 1)
        words = f"{label(first)} against {label(second)}, each at the learning rate that is best for the other seeds"
        sentence = f"{words}: {describe(ENDPOINTS['auc'], interval)}, {reason}"
        close = compared.outcome == paired.EQUIVALENT
        return Finding(verdict, interval, sentence, ENDPOINTS["auc"], close, compared.outcome)

    return rule


def at_best_rate(values: np.ndarray) -> np.ndarray:
    """The values [S] of the seeds, each at the rate with the highest mean over the other seeds. `values` [rates, S]."""
    others = values.sum(axis=1, keepdims=True) - values
    return np.take_along_axis(values, others.argmax(axis=0)[np.newaxis], axis=0)[0]


def best_difference(first: np.ndarray, second: np.ndarray, floor: float = 0.0) -> Interval:
    """The difference at the best rates, of `first` [rates, S] minus `second` [rates, S], paired by seed.

    The estimate has each seed at the rate that is best for the other seeds. Its own t interval is too narrow, because
    the seeds share these choices. So the limits also hold whichever rates are truly best: `first` is better if one of
    its rates is better than *every* rate of `second`, with Bonferroni's correction for choosing that one.
    """
    crossed = mean_interval(at_best_rate(first) - at_best_rate(second), floor=floor)
    better = [[mean_interval(a - b, strictest_confidence(len(first)), floor) for b in second] for a in first]
    worse = [[mean_interval(a - b, strictest_confidence(len(second)), floor) for a in first] for b in second]
    low = max(min(pair.low for pair in row) for row in better)
    high = min(max(pair.high for pair in row) for row in worse)
    above = len(first) * min(max(_one_sided(pair) for pair in row) for row in better)
    below = len(second) * min(max(1 - _one_sided(pair) for pair in row) for row in worse)
    p = min(1.0, 2 * min(above, below))
    return crossed._replace(low=min(low, crossed.low), high=max(high, crossed.high), p=max(p, crossed.p))


def _one_sided(interval: Interval) -> float:
    """p of "the true value is at most 0"."""
    return interval.p / 2 if interval.estimate > 0 else 1 - interval.p / 2
