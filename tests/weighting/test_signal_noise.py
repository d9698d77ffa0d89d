"""Signal-to-noise of a batch, predicted from rewards and weights."""

import pytest

from softmax_rewards.weighting.study import signal_noise
from softmax_rewards.weighting.study.populations import by_right

RANGE = (0.0, 1.1)


@pytest.mark.parametrize(
    ("scheme", "chosen"),
    [("linear", {}), ("softmax", {"tau": 0.5}), ("softmax_centered", {"tau": 1.0}), ("rloo", {}), ("raft", {})],
)
def test_groups_in_exact_proportions_have_the_ratio_of_their_success_rate(scheme, chosen):
    signal, noise = signal_noise.at_success(scheme, chosen, 0.09, 8)
    assert signal_noise.of_groups(scheme, chosen, by_right(0.09, 8)) == pytest.approx(signal / noise, rel=1e-6)


def test_no_weight_is_no_signal():
    assert signal_noise.of_groups("raft", {}, by_right(1e-300, 8)) == pytest.approx(0, abs=1e-12)
