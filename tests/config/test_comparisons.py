"""The comparisons that an experiment plans: baseline, primary family and conditions."""

import dataclasses
import json

import pytest

from softmax_rewards.common.option_errors import ConfigError
from softmax_rewards.config import experiments

TWO = {
    "trap": {"baseline": "baseline", "primary": ["half"], "gate": "reward", "predicted_gap": 0.1},
    "room": {"baseline": "linear-room", "primary": ["half-room"]},
}


def experiment(**changes):
    linear, half = {"scheme": "linear"}, {"scheme": "softmax", "tau": 0.5}
    room = {"max_new_tokens": 192}
    ablations = {
        "baseline": {"weighting": linear},
        "half": {"weighting": half},
        "linear-room": {"weighting": linear, "training": room},
        "half-room": {"weighting": half, "training": room},
    }
    values = {"task": {"name": "countdown"}, "model": {"source": "mini"}, "seeds": [0], "ablations": ablations}
    return experiments.check("trial", values | {"conditions": TWO} | changes)


def test_conditions_are_read_with_their_defaults():
    checked = experiment()
    assert list(checked.conditions) == ["trap", "room"]
    assert dataclasses.asdict(checked.conditions["room"]) == {
        "baseline": "linear-room", "primary": ("half-room",), "gate": "auc", "predicted_gap": None,
    }  # fmt: skip
    assert json.loads(checked.to_json())["conditions"]["trap"]["primary"] == ["half"]
    assert experiment(conditions={}, primary=["half"]).conditions == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"primary": ["half"]}, "primary: not allowed beside conditions; allowed: primary within each condition"),
        ({"baseline": "half"}, 'baseline: "half" is not allowed; allowed: the baseline of the first condition'),
        ({"conditions": []}, "conditions: [] is not allowed; allowed: a mapping from names"),
        ({"conditions": {1: TWO["trap"]}}, "conditions: "),
        ({"conditions": {"trap": "half"}}, 'conditions.trap: "half" is not allowed; allowed: a mapping of keys'),
        ({"conditions": {"trap": {"primary": ["half"]}}}, "conditions.trap.baseline: missing"),
        ({"conditions": {"trap": TWO["trap"] | {"gate": "final"}}}, "conditions.trap.gate: "),
        ({"conditions": {"trap": TWO["trap"] | {"predicted_gap": 0}}}, "conditions.trap.predicted_gap: 0 "),
        ({"conditions": {"trap": TWO["trap"] | {"baselin": "half"}}}, "conditions.trap.baselin: unknown key"),
        ({"conditions": {"trap": TWO["trap"] | {"primary": ["haff"]}}}, "conditions.trap.primary: unknown ablation"),
        ({"conditions": TWO | {"room": TWO["trap"]}}, "conditions.room.baseline: "),
        ({"conditions": {"trap": TWO["trap"] | {"primary": ["half", "half"]}}}, "'half' is named twice"),
        ({"conditions": {}, "primary": ["baseline"]}, "'baseline' is named twice"),
        ({"conditions": {}, "primary": ["haff"]}, "primary: unknown ablation 'haff' (nearest: 'half'"),
        ({"conditions": {}, "baseline": "baselin"}, "baseline: unknown ablation 'baselin' (nearest: 'baseline'"),
    ],
)
def test_a_comparison_that_does_not_fit_is_refused_in_one_line(changes, said):
    with pytest.raises(ConfigError) as error:
        experiment(**changes)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert any(word in str(error.value) for word in ("allowed: ", "nearest", "missing"))
