"""Temperatures: constants, shares of the reward range, schedules; errors name the key and the value."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softmax_rewards.weighting import temperature

RANGE = (0.0, 1.1)
LINEAR = {"from": 0.75, "to": 0.25, "steps": 60}
COSINE = LINEAR | {"shape": "cosine"}
positive = st.floats(1e-6, 1e6)


def test_constant():
    assert temperature.resolve(0.5, 0, RANGE) == temperature.resolve(0.5, 10**9, RANGE) == 0.5
    assert isinstance(temperature.resolve(1, 0, RANGE), float)


@pytest.mark.parametrize(("spec", "tau"), [("auto", 0.55), ({"auto": 0.5}, 0.55), ({"auto": 2}, 2.2)])
def test_auto_is_a_share_of_the_declared_range(spec, tau):
    assert temperature.resolve(spec, 7, RANGE) == pytest.approx(tau, rel=1e-15)
    assert temperature.resolve(spec, 7, (-1.1, 0.0)) == pytest.approx(tau, rel=1e-15)


@pytest.mark.parametrize(
    ("step", "tau"), [(0, 0.75), (15, 0.625), (30, 0.5), (59, 0.25 + 0.5 / 60), (60, 0.25), (999, 0.25)]
)
def test_linear_schedule(step, tau):
    assert temperature.resolve(LINEAR, step, RANGE) == pytest.approx(tau, rel=1e-15)


@pytest.mark.parametrize(("step", "tau"), [(0, 0.75), (20, 0.625), (30, 0.5), (40, 0.375), (60, 0.25), (999, 0.25)])
def test_cosine_schedule(step, tau):
    assert temperature.resolve(COSINE, step, RANGE) == pytest.approx(tau, rel=1e-14)


@settings(deadline=None, derandomize=True)
@given(st.one_of(positive, st.just("auto"), st.builds(lambda share: {"auto": share}, positive), st.just(LINEAR)))
def test_a_schedule_is_what_changes_with_the_step(spec):
    changes = len({temperature.resolve(spec, step, RANGE) for step in range(61)}) > 1
    assert temperature.is_schedule(spec) == changes
    assert temperature.is_schedule(COSINE) and not temperature.is_schedule(None)


@settings(deadline=None, derandomize=True)
@given(positive, positive, st.integers(1, 100), st.sampled_from(["linear", "cosine"]))
def test_a_schedule_is_monotone_between_its_ends_and_exact_at_them(start, end, steps, shape):
    spec = {"from": start, "to": end, "steps": steps, "shape": shape}
    taus = [temperature.resolve(spec, step, RANGE) for step in range(steps + 2)]
    assert taus[0] == start and taus[-2] == taus[-1] == end
    assert all(min(start, end) * (1 - 1e-12) <= tau <= max(start, end) * (1 + 1e-12) for tau in taus)
    ordered = sorted(taus, reverse=start > end)
    assert taus == pytest.approx(ordered, rel=1e-12)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (0, r"tau: 0 is not allowed; allowed: a finite number above 0, auto, "),
        (-0.5, r"tau: -0\.5"),
        (math.nan, r"tau: NaN"),
        (math.inf, r"tau: Infinity"),
        (True, r"tau: true"),
        ("0.5", r'tau: "0\.5"'),
        ("atuo", r'tau: "atuo"'),
        (None, r"tau: null"),
        ([0.5], r"tau: \[0\.5\]"),
        ({}, r"tau\.from: missing"),
        ({"auto": 0}, r"tau\.auto: 0"),
        ({"auto": 0.5, "steps": 3}, r"tau\.steps: unknown key 'steps'; allowed: auto"),
        ({"from": 1, "to": 0.5}, r"tau\.steps: missing"),
        (LINEAR | {"too": 1}, r"tau\.too: unknown key 'too' \(nearest: 'to'\); allowed: from, to, steps, shape"),
        (LINEAR | {"from": -1}, r"tau\.from: -1"),
        (LINEAR | {"to": math.nan}, r"tau\.to: NaN"),
        (LINEAR | {"to": "auto"}, r'tau\.to: "auto"'),
        (LINEAR | {"steps": 0}, r"tau\.steps: 0 .*an integer of at least 1"),
        (LINEAR | {"steps": 2.5}, r"tau\.steps: 2\.5"),
        (LINEAR | {"steps": True}, r"tau\.steps: true"),
        (
            LINEAR | {"shape": "cosin"},
            r"tau\.shape: \"cosin\" is not allowed \(nearest: 'cosine'\); allowed: linear, cosine",
        ),
    ],
)
def test_wrong_descriptions_are_named(spec, message):
    with pytest.raises(ValueError, match=message):
        temperature.validate(spec)
    with pytest.raises(ValueError, match=message):
        temperature.resolve(spec, 0, RANGE)


@pytest.mark.parametrize("reward_range", [(1.0, 1.0), (1.0, 0.0), (0.0, math.inf), (math.nan, 1.0)])
def test_auto_needs_a_range(reward_range):
    with pytest.raises(ValueError, match="reward range"):
        temperature.resolve("auto", 0, reward_range)


def test_steps_count_from_zero():
    with pytest.raises(ValueError, match="step: -1"):
        temperature.resolve(LINEAR, -1, RANGE)
