"""The prediction of a gradient from two directions, against simulated scores that follow its model."""

import numpy as np
import pytest

from softmax_rewards import weighting
from softmax_rewards.weighting.study import signal_parts


@pytest.mark.parametrize("scheme", ["linear", "dr_grpo", "raft", "normal_scores"])
def test_the_predicted_signal_is_that_of_simulated_scores(scheme):
    rng = np.random.default_rng(0)
    groups, size, directions = 40_000, 8, rng.normal(size=(2, 3))
    right = rng.random((groups, size)) < 0.15
    formatted = right | (rng.random((groups, size)) < 0.7)
    marks = np.stack([right, formatted])
    w = weighting.compute(scheme, right + 0.1 * formatted, right)
    rates = np.array([0.15, 0.15 + 0.85 * 0.7])
    scores = np.einsum("mgn,mp->gnp", marks - rates[:, None, None], directions)
    # Weights without their mean, because a constant has no signal in expectation.
    gradient = np.einsum("gn,gnp->p", w - w.mean(), scores) / w.size
    of_rates = np.einsum("mgn,gnp->mp", marks - rates[:, None, None], scores) / w.size
    slope, cov = signal_parts.slopes(w, marks), signal_parts.covariance(marks)
    square, along = signal_parts.signal(slope, cov, of_rates @ of_rates.T)
    assert square == pytest.approx(gradient @ gradient, rel=0.05)
    assert along == pytest.approx(of_rates @ gradient, rel=0.05)


def test_a_mark_that_never_varies_is_left_out():
    right = np.random.default_rng(1).random((500, 8)) < 0.3
    marks = np.stack([right, np.ones_like(right)])
    slope, cov = signal_parts.slopes(right.astype(float), marks), signal_parts.covariance(marks)
    square, along = signal_parts.signal(slope, cov, np.array([[4.0, 0.0], [0.0, 0.0]]))
    assert square == pytest.approx(4, rel=0.1)
    assert along[0] == pytest.approx(4, rel=0.1)
