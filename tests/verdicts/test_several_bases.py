"""Verdicts of an experiment with several base models: the base model is the unit, and not the seed."""

import numpy as np
import pandas as pd
import pytest

from softmax_rewards.common.stats import mean_interval
from softmax_rewards.verdicts import paired


def test_a_difference_has_the_interval_of_the_base_models_means():
    """Seeds of one base model share its luck: eight runs of two bases are two observations, not eight."""
    bases = pd.Series(["a"] * 4 + ["b"] * 4)
    values = np.array([0.01, 0.012, 0.011, 0.013, 0.05, 0.052, 0.051, 0.053])
    rows = pd.DataFrame({"base_model": bases, "auc": values, "base": 0.0})
    interval, exact = paired.difference(values, rows, rows, "auc")
    means = mean_interval([values[:4].mean(), values[4:].mean()])
    assert not exact and interval.n == 2
    assert interval[:3] == pytest.approx(means[:3])
    assert mean_interval(values).low > 0 > interval.low  # over seeds it would be clear, over bases it is not
