"""Products of expected gradients against sums over all pairs of batches, and against known expectations."""

import itertools

import numpy as np
import pytest
import torch

from softmax_rewards.training.gradient_moments import BlockSums, Products


def products(values: np.ndarray, blocks: int, directions: slice) -> Products:
    """Those of the batches `values[batches, V, P]`."""
    sums = BlockSums(len(values), blocks, directions)
    for batch in values:
        sums.add(torch.from_numpy(batch).float())
    return sums.products()


def test_estimates_are_means_over_all_pairs_of_different_batches():
    values = np.random.default_rng(0).normal(size=(11, 3, 5))
    found = products(values, 4, slice(1, 3))
    pairs = list(itertools.permutations(range(11), 2))
    for v in range(3):
        columns = [v, 1, 2]
        expected = [np.mean([values[a, v] @ values[b, other] for a, b in pairs]) for other in columns]
        assert found.expected()[v] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert found.mean_squares() == pytest.approx(np.square(values).sum(2).mean(0), rel=1e-5)
    assert found.sizes.tolist() == [3, 3, 3, 2]


def test_leaving_out_a_block_is_the_same_as_not_having_it():
    values = np.random.default_rng(1).normal(size=(9, 2, 4))
    left = products(values, 3, slice(0, 1)).without(1)
    alone = products(np.delete(values, [3, 4, 5], axis=0), 2, slice(0, 1))
    assert left.expected() == pytest.approx(alone.expected(), rel=1e-4, abs=1e-6)
    assert left.mean_squares() == pytest.approx(alone.mean_squares(), rel=1e-5)


def test_squares_have_no_bias_and_an_honest_error():
    """The mean of g is (1, 0, …), its noise has length 4: the square of a mean of 20 batches alone would be 1.8."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(300):
        values = rng.normal(size=(20, 1, 16)) + np.eye(1, 16)
        estimate, error = products(values, 10, slice(0, 1)).jackknife(lambda kept: kept.expected()[:, 0])
        found.append((estimate[0], error[0]))
    estimates, errors = np.array(found).T
    assert estimates.mean() == pytest.approx(1, abs=4 * estimates.std() / np.sqrt(300))
    # The jackknife's error is on average not too small (Efron and Stein, 1981). For squares it is somewhat too large.
    assert 0.95 < np.sqrt(np.mean(errors**2)) / estimates.std() < 1.5
