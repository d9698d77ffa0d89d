"""P4, P5, P6 and P8: the order that the map predicts, against planted results."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from softmax_rewards.verdicts import map_claims
from softmax_rewards.verdicts.evidence import LINEAR, Evidence, Untested
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED
from softmax_rewards.weighting.study import scheme_map
from softmax_rewards.weighting.study.log_map import Figures

SCHEMES = {"baseline": LINEAR, "dr": {"scheme": "dr_grpo"}, "raft": {"scheme": "raft"}, "maxrl": {"scheme": "maxrl"}}
X = {"baseline": 0.6, "dr": 0.1, "raft": 0.05, "maxrl": 0.01}
TAUS = (0.25, 0.5, 1.0, 2.0)
TRAINING = {"steps": 10}


def evidence(endpoint, values, places, schemes, jitter=0.001):
    """Every ablation has `values[name]` as `endpoint`, and a little more or less with each of three seeds."""
    rows = {
        (name, seed): {endpoint: value + jitter * (seed - 1), "base": 0.1}
        for name, value in values.items()
        for seed in range(3)
    }
    measures = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["ablation", "seed"])
    configs = {name: {"weighting": weighting, "training": TRAINING} for name, weighting in schemes.items()}
    return Evidence(measures, configs, "baseline", map=places)


def lengths(values):
    return evidence("length_final", values, {name: Figures(0.1, 1.0, x) for name, x in X.items()}, SCHEMES)


@pytest.mark.parametrize(
    ("order", "verdict", "clear"),
    [
        (("baseline", "dr", "raft", "maxrl"), SUPPORTED, "6 have the predicted order"),
        (("maxrl", "raft", "dr", "baseline"), CONTRADICTED, "0 have the predicted order"),
    ],
)
def test_a_larger_exchange_rate_is_predicted_to_give_shorter_answers(order, verdict, clear):
    finding = map_claims.rank("x", "length_final", -1)(lengths({name: 30.0 + 5 * i for i, name in enumerate(order)}))
    assert finding.verdict == verdict and abs(finding.interval.estimate) == pytest.approx(1)
    assert "of 6 pairs that differ clearly" in finding.sentence and clear in finding.sentence


def test_seeds_that_disagree_leave_the_order_open():
    known = lengths(dict.fromkeys(SCHEMES, 30.0))
    for seed, order in enumerate((1, -1, 1)):
        for place, name in enumerate(SCHEMES):
            known.measures.loc[(name, seed), "length_final"] = 30 + order * place
    assert map_claims.rank("x", "length_final", -1)(known).verdict == UNRESOLVED


def test_an_order_needs_four_ablations_that_differ():
    known = lengths(dict.fromkeys(SCHEMES, 30.0))
    with pytest.raises(Untested, match="two seeds in which the ablations differ"):
        map_claims.rank("x", "length_final", -1)(known)
    few = replace(known, map={name: known.map[name] for name in ("baseline", "dr", "raft")})
    with pytest.raises(Untested, match="4 ablations"):
        map_claims.rank("x", "length_final", -1)(few)


@pytest.mark.parametrize("noise", [-1e-15, 1e-15])
def test_figures_that_differ_by_rounding_are_ties(noise):
    """Softmax with and without its constant have the same X. The last digit must not decide their order."""
    schemes = SCHEMES | {"twin": {"scheme": "softmax", "tau": 0.5}}
    places = {name: Figures(0.1, 1.0, x) for name, x in {**X, "twin": X["dr"] + noise}.items()}
    values = {"baseline": 30.0, "twin": 35.0, "dr": 40.0, "raft": 45.0, "maxrl": 50.0}
    finding = map_claims.rank("x", "length_final", -1)(evidence("length_final", values, places, schemes))
    # Ranks 1, 2.5, 2.5, 4, 5 against 1 to 5: Pearson's correlation of the ranks is 9.5 / √(9.5 · 10).
    assert finding.interval.estimate == pytest.approx(0.95**0.5)
    assert "of 9 pairs that differ clearly and are predicted to differ, 9 have" in finding.sentence


def swept(gains, jitter=0.001):
    """Softmax at TAUS ends at the base's success plus `gains`. Its rho falls below half of the baseline's at τ = 1."""
    names = {tau: f"softmax-{tau}" for tau in TAUS}
    schemes = {"baseline": LINEAR} | {names[tau]: {"scheme": "softmax", "tau": tau} for tau in TAUS}
    rho = {"baseline": 0.2} | {names[tau]: value for tau, value in zip(TAUS, (0.19, 0.15, 0.09, 0.04), strict=True)}
    values = {"baseline": 0.2} | {names[tau]: 0.1 + gain for tau, gain in zip(TAUS, gains, strict=True)}
    return evidence("final", values, {name: Figures(rho[name], 1.0, 0.1) for name in schemes}, schemes, jitter)


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((0.05, 0.05, -0.05, -0.05), SUPPORTED),
        ((0.05, 0.05, 0.05, -0.05), CONTRADICTED),  # it breaks later
        ((0.05, -0.05, -0.05, -0.05), CONTRADICTED),  # it breaks earlier
        ((0.05, 0.05, 0.0, -0.05), UNRESOLVED),
    ],
)
def test_the_temperature_that_breaks_softmax(gains, verdict):
    assert map_claims.critical_temperature("softmax")(swept(gains)).verdict == verdict


def test_seeds_that_scatter_do_not_contradict_a_predicted_break():
    """A model that is not *clearly* worse at the predicted τ is no evidence that it is not worse."""
    finding = map_claims.critical_temperature("softmax")(swept((0.05, 0.05, -0.02, -0.05), jitter=0.05))
    assert finding.verdict == UNRESOLVED and finding.interval.low < 0 < finding.interval.high


def test_the_frozen_map_is_that_of_its_base_model():
    frozen = json.loads((Path(__file__).parents[2] / "docs/predictions.json").read_text(encoding="utf-8"))
    for condition in frozen.values():
        base = condition["base"]
        for name, scheme, chosen in (("linear", "linear", {}), ("softmax tau = 0.5", "softmax", {"tau": 0.5})):
            place = scheme_map.figures(scheme, chosen, base["success"], max(base["formatted"], base["success"]))
            assert condition["map"][name] == {key: round(value, 4) for key, value in place._asdict().items()}
