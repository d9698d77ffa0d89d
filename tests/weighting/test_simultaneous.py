"""Simultaneous limits: the central limit theorem, many equal settings, exact truths, and coverage by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from softmax_rewards.weighting.study import settings, signal_noise
from softmax_rewards.weighting.study.populations import Population, composed, weigh
from softmax_rewards.weighting.study.simultaneous import Contributions, imagined, limits, of_settings


def of_signal(signal, square):
    """Contributions of weights with mean 0 in every group, so that the success of prompts does not matter."""
    return Contributions(signal, np.zeros_like(signal), square, np.linspace(0, 1, signal.shape[1]), 8)


def test_limits_of_one_difference_are_those_of_the_central_limit():
    """Noise 1 throughout: better is a mean of 0/1 values; one difference has the usual normal interval."""
    signal, square = np.array([[0.0, 0.0], [0.0, 1.0]]), np.ones((2, 2))
    found = limits(of_signal(signal, square), np.array([300, 100]), 0, draws=4000)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert found["better"].tolist() == [0.0, 0.25] and found["snr"].tolist() == [0.0, 0.25]
    assert found["high"][1] - 0.25 == pytest.approx(half, rel=0.05)
    assert found["low"][0] == found["high"][0] == 0


def test_limits_hold_for_all_settings_at_once():
    """Equal settings with independent noise: none may look better, however many are tried."""
    failed = 0
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(size=(20, 200))
        noise[0] = 0
        found = limits(of_signal(noise, np.ones((20, 200))), np.ones(200, int), seed, draws=300)
        failed += bool((found["low"] > 0).any() or (found["high"] < 0).any())
    assert failed <= 6  # 2 expected; 1 % of seeds would exceed this, and 40 fixed ones do not


class Prompts:
    """Groups of N answers; success of a prompt ~ Beta(a, b); half of the wrong answers well formed, or 0/1 rewards."""

    def __init__(self, a, b, size, three_levels):
        kinds = [(k, f) for k in range(size + 1) for f in range(size + 1 - k) if three_levels or f == 0]
        right, formed = np.array(kinds).T
        self.chance = stats.betabinom.pmf(right, size, a, b)
        if three_levels:
            self.chance = self.chance * stats.binom.pmf(formed, size - right, 0.5)
        self.groups = composed(right, formed, size, (0.0, 1.1), self.chance)
        self.chosen = settings.settings(size, [0.11, 0.275, 0.55, 1.1, 2.2])
        self.chosen.sort(key=lambda setting: setting[0] != "linear")
        self.w = np.array([weigh(self.groups, scheme, chosen) for scheme, chosen in self.chosen])
        # The expected success of a prompt with this many right answers, exactly.
        self.expected = ((a + right) / (a + b + size))[:, None]

    def truth(self):
        """The exact difference of each setting's signal-to-noise to linear's."""
        signal = np.mean(self.w * (self.groups.correct - self.expected), axis=-1) @ self.chance
        noise = np.sqrt(np.mean(self.w**2, axis=-1) @ self.chance)
        snr = np.divide(signal, noise, out=np.zeros(len(noise)), where=noise > 0)
        return snr - snr[0]

    def draw(self, number, rng):
        """A log of `number` groups."""
        counts = rng.multinomial(number, self.chance / self.chance.sum())
        seen = counts > 0
        return Population(self.groups.rewards[seen], self.groups.correct[seen], counts[seen])

    def limits(self, log, seed, draws):
        """As `of_settings`, with weights that are computed once for all logs."""
        added = imagined(log)
        correct = np.concatenate([log.correct, added.correct])
        rewards = np.concatenate([log.rewards, added.rewards])
        rows = [np.flatnonzero((self.groups.rewards == group).all(axis=-1))[0] for group in rewards]
        w = self.w[:, rows]
        parts = np.mean(w * correct, axis=-1), w.mean(axis=-1), np.mean(w**2, axis=-1)
        contributions = Contributions(*parts, correct.mean(axis=-1), correct.shape[1])
        return limits(contributions, np.concatenate([log.counts, added.counts]), seed, draws)


def test_the_prediction_is_that_of_signal_noise():
    """Two computations of one figure: with the mean success of each prompt, and by what each group contributes."""
    prompts = Prompts(0.5, 4.5, 8, True)
    log = prompts.draw(300, np.random.default_rng(1))
    found = of_settings(log, prompts.chosen, 0)["snr"]
    for (scheme, chosen), snr in zip(prompts.chosen, found, strict=True):
        assert snr == pytest.approx(signal_noise.of_groups(scheme, chosen, log), abs=1e-9), scheme


def test_the_prediction_becomes_the_exact_one_as_the_log_grows():
    """The success of prompts is estimated, yet no bias remains if it has a beta distribution."""
    for three_levels in (False, True):
        prompts = Prompts(0.5, 9.5, 8, three_levels)
        counts = np.round(1e9 * prompts.chance).astype(int)
        log = Population(prompts.groups.rewards, prompts.groups.correct, counts)
        found = prompts.limits(log, 0, draws=2)
        assert found["better"].to_numpy() == pytest.approx(prompts.truth(), abs=1e-6)


def test_imagined_groups_have_every_number_of_right_samples_and_logged_rewards():
    log = composed([1, 0], [2, 3], 6, (0.0, 1.1), np.array([3, 5]))
    added = imagined(log)
    assert added.correct.sum(axis=-1).tolist() == list(range(7)) and not added.counts.any()
    # 21 of the 45 wrong answers are well formed.
    assert added.rewards[0].tolist() == [0.1, 0.1, 0.1, 0.0, 0.0, 0.0]
    assert added.rewards[4].tolist() == [1.1, 1.1, 1.1, 1.1, 0.1, 0.0]
    assert not len(imagined(composed([0], [2], 6, (0.0, 1.1), np.array([3]))).counts)


def test_a_difference_in_groups_that_the_log_does_not_have_is_not_excluded():
    """softmax_ess is linear up to a factor in groups with fewer than four right samples of eight."""
    prompts = Prompts(0.5, 9.5, 8, False)
    # By number of right samples, 0 to 3. The log has no group with more.
    log = Population(prompts.groups.rewards[:4], prompts.groups.correct[:4], np.array([70, 20, 8, 2]))
    place = [scheme for scheme, _ in prompts.chosen].index("softmax_ess")
    found = prompts.limits(log, 0, draws=300).loc[place]
    assert found["better"] == pytest.approx(0, abs=1e-4) and found["low"] < prompts.truth()[place] < found["high"]


GRID = [
    (shape, size, three_levels, number)
    for shape in ((0.5, 9.5), (2.0, 18.0), (0.3, 0.7))
    for size in (4, 8, 16)
    for three_levels in (False, True)
    for number in (100, 400, 4000)
]
LOGS = 60


@pytest.mark.slow
def test_coverage_on_a_grid_of_logs():
    """The limits hold for all comparisons at once in at least 93 % of the logs.

    A cell has 60 logs, so its own share is known to about three points. It must not be significantly below .93.
    """
    share = {}
    for cell in GRID:
        shape, size, three_levels, number = cell
        prompts, rng, held = Prompts(*shape, size, three_levels), np.random.default_rng(3), 0
        truth = prompts.truth()
        for seed in range(LOGS):
            found = prompts.limits(prompts.draw(number, rng), seed, draws=300)
            held += bool((found["low"] - 1e-9 <= truth).all() and (truth <= found["high"] + 1e-9).all())
        share[cell] = held / LOGS
        print(*cell, share[cell])
    for cell, found in share.items():
        assert stats.binom.cdf(round(found * LOGS), LOGS, 0.93) > 0.002, cell
    for position in range(4):
        for value in {cell[position] for cell in GRID}:
            assert np.mean([found for cell, found in share.items() if cell[position] == value]) >= 0.93, value
