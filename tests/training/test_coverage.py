"""The estimate of pass@k."""

import itertools

import pytest

from softmax_rewards.training.coverage import pass_at_k


@pytest.mark.parametrize("samples", [1, 4, 6])
def test_pass_at_k_equals_enumeration(samples):
    for right, k in itertools.product(range(samples + 1), range(1, samples + 1)):
        draws = list(itertools.combinations([True] * right + [False] * (samples - right), k))
        expected = sum(map(any, draws)) / len(draws)
        assert pass_at_k([right], samples, k)[0] == pytest.approx(expected, abs=1e-15)


def test_pass_at_k_refuses_k_above_the_samples():
    with pytest.raises(ValueError, match=r"k = 5 must lie in 1\.\.4"):
        pass_at_k([1], 4, 5)
