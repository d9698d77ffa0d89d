"""The mixed model over base models, against a closed form, a likelihood written out, and simulated experiments."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from softmax_rewards.common.stats import mean_interval
from softmax_rewards.verdicts import mixed


def drawn(rng: np.random.Generator, seeds: list[int], between: float, mean: float = 0.0):
    """Differences with standard deviation 1 within bases, and the base of each."""
    bases = np.repeat(np.arange(len(seeds)), seeds)
    return mean + between * rng.normal(size=len(seeds))[bases] + rng.normal(size=len(bases)), bases


def restricted_likelihood(values: np.ndarray, bases: np.ndarray) -> tuple[float, float]:
    """The variances between and within bases, from the profile of the restricted likelihood in their ratio."""
    seeds, count = np.bincount(bases), len(values)
    means = np.bincount(bases, values) / seeds

    def profile(ratio: float) -> tuple[float, float]:
        weights = seeds / (1 + ratio * seeds)
        mean = weights @ means / weights.sum()
        within = (((values - means[bases]) ** 2).sum() + weights @ (means - mean) ** 2) / (count - 1)
        return (count - 1) * math.log(within) + np.log(1 + ratio * seeds).sum() + math.log(weights.sum()), within

    found = optimize.minimize_scalar(lambda log: profile(math.exp(log))[0], bounds=(-9, 9), method="bounded")
    ratio = 0.0 if profile(0)[0] <= found.fun else math.exp(found.x)
    return ratio * profile(ratio)[1], profile(ratio)[1]


@pytest.mark.parametrize("between", [0.0, 2.0])
def test_with_equally_many_seeds_it_is_the_t_interval_of_the_bases_means(between):
    values, bases = drawn(np.random.default_rng(1), [3] * 6, between, mean=0.4)
    means = values.reshape(6, 3).mean(1)
    found = mixed.interval(values, bases)
    assert found == pytest.approx(mean_interval(means), rel=1e-9)
    low, high = stats.t.interval(0.95, 5, means.mean(), stats.sem(means))
    assert (found.low, found.high, found.p) == pytest.approx((low, high, stats.ttest_1samp(means, 0).pvalue), rel=1e-9)
    # Names and order of the bases do not matter.
    names = np.array(["f", "e", "d", "c", "b", "a"])[bases]
    assert mixed.interval(values[::-1], names[::-1]) == pytest.approx(found, rel=1e-9)


def test_with_equally_many_seeds_the_variances_are_those_of_the_analysis_of_variance():
    values, bases = drawn(np.random.default_rng(2), [2] * 8, 1.5)
    table = values.reshape(8, 2)
    within = table.var(axis=1, ddof=1).mean()
    between = table.mean(1).var(ddof=1) - within / 2
    assert between > 0
    found = mixed.fit(values, bases)
    assert (found.between**2, found.within**2) == pytest.approx((between, within), rel=1e-4)


@pytest.mark.parametrize(("seeds", "between"), [([2, 1, 4, 3], 0.5), ([1, 1, 1, 2], 2.0), ([4, 2, 3, 3, 1], 0.0)])
def test_the_variances_have_the_greatest_restricted_likelihood(seeds, between):
    values, bases = drawn(np.random.default_rng(3), seeds, between)
    found = mixed.fit(1e-3 * values, bases)
    expected = restricted_likelihood(values, bases)
    assert (1e6 * found.between**2, 1e6 * found.within**2) == pytest.approx(expected, rel=1e-3, abs=1e-5)
    weights = 1 / (expected[0] + expected[1] / np.array(seeds))
    means = np.array([values[bases == base].mean() for base in range(len(seeds))])
    assert 1e3 * found.interval.estimate == pytest.approx(np.average(means, weights=weights), rel=1e-4)


def test_bases_that_differ_less_than_their_seeds_have_no_variance_between_them():
    values, bases = np.array([1.0, -1.0, 1.1, -1.0, 0.9, -1.1, 2.0]), [0, 0, 1, 1, 2, 2, 2]
    found = mixed.fit(values, bases)
    assert found.between == 0
    assert found.within == pytest.approx(values.std(ddof=1))
    assert found.interval.estimate == pytest.approx(values.mean())  # every seed counts the same
    assert found.interval.low < found.interval.estimate < found.interval.high


def test_without_two_seeds_of_a_base_the_variances_cannot_be_told_apart():
    values = [0.01, 0.03, -0.01, 0.02]
    found = mixed.fit(values, range(4))
    assert found.interval == pytest.approx(mean_interval(values))
    assert found.between == pytest.approx(np.std(values, ddof=1)) and math.isnan(found.within)


def test_seeds_that_agree_within_every_base():
    found = mixed.fit([0.1, 0.1, 0.2, 0.3, 0.3], ["a", "a", "b", "c", "c"])
    assert found.interval == pytest.approx(mean_interval([0.1, 0.2, 0.3]))
    assert (found.between, found.within) == (pytest.approx(0.1), 0)
    equal = mixed.fit([0.1] * 4, [0, 0, 1, 1])
    assert equal.interval == (pytest.approx(0.1), *[pytest.approx(0.1)] * 2, 0, 2, pytest.approx(0, abs=1e-15))
    assert mixed.interval([0.0] * 4, [0, 0, 1, 1]) == (0, 0, 0, 1, 2, 0)


def test_one_base_says_nothing_of_others():
    found = mixed.fit([0.1, 0.3], [5, 5])
    assert found.interval[:1] == (pytest.approx(0.2),) and found.interval.n == 1
    assert np.isnan([found.interval.low, found.interval.high, found.interval.p, found.between]).all()
    assert found.within == pytest.approx(math.sqrt(0.02))
    assert np.isnan(mixed.fit([], []).interval.estimate)
    with pytest.raises(ValueError, match=r"bases: 1 values; allowed: one per difference \(2\)"):
        mixed.fit([0.1, 0.2], [0])


def test_the_table_has_one_row_per_ablation_and_endpoint():
    rng = np.random.default_rng(4)
    index = pd.MultiIndex.from_product([["baseline", "other"], range(6)], names=["ablation", "seed"])
    measures = pd.DataFrame(rng.random((12, 2)), index=index, columns=["auc", "final"]).drop(("baseline", 5))
    runs = [SimpleNamespace(ablation=name, seed=seed, record={"base": f"b{seed % 2}"}) for name, seed in index]
    table = mixed.table(runs, measures, "baseline")
    assert list(table.columns) == mixed.COLUMNS
    assert table[["ablation", "endpoint", "bases", "seeds"]].values.tolist() == [
        ["other", "auc", 2, 5],
        ["other", "final", 2, 5],
    ]
    differences = measures.loc["other", "auc"] - measures.loc["baseline", "auc"]
    expected = mixed.interval(differences[:5], [0, 1, 0, 1, 0])
    assert table.loc[0, ["delta", "low", "high", "p"]].tolist() == pytest.approx(expected[:4])
    one = [SimpleNamespace(ablation=run.ablation, seed=run.seed, record={"base": "b"}) for run in runs]
    assert mixed.table(one, measures, "baseline").empty
    assert list(mixed.table(one, measures, "baseline").columns) == mixed.COLUMNS


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [[2] * 8, [1, 1, 2, 2, 2, 3, 4, 5]], ids=["equal", "unequal"])
@pytest.mark.parametrize("between", [0.0, 1.0, 2.0])
def test_the_intervals_cover_the_mean_of_all_bases(seeds, between):
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(1000):  # a standard error of 0.7 points
        found = mixed.interval(*drawn(rng, seeds, between, mean=0.7))
        covered.append(found.low <= 0.7 <= found.high)
    print(f"coverage {np.mean(covered):.4f}")
    assert np.mean(covered) >= 0.93
