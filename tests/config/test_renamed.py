"""Old names of settings and ablations become the present ones, and present ones stay."""

import pytest

from softmax_rewards.config import renamed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("centred-0.5", "centered-0.5"),
        ("linear-rate-1e-4", "linear-lr-1e-4"),
        ("softmax-0.5-rate-4e-4", "softmax-0.5-lr-4e-4"),
        ("centered-0.5", "centered-0.5"),
        ("softmax-0.5-lr-4e-4", "softmax-0.5-lr-4e-4"),
        ("baseline", "baseline"),
        ("flat-rate-rule", "flat-rate-rule"),  # no learning rate
        ("decentred-1", "decentred-1"),
    ],
)
def test_names_of_ablations(old, new):
    assert renamed.ablation(old) == new


def test_no_new_key_is_an_old_one_of_its_section():
    for keys in renamed.RENAMED.values():
        assert not set(keys) & set(keys.values()) and len(set(keys.values())) == len(keys)


def test_a_record_has_present_names_whatever_its_age():
    old = {
        "ablation": "centred-0.5",
        "seed": 1,
        "config": {
            "ablation": "centred-0.5",
            "seed": 1,
            "model": {"source": "mini", "warm_start": {"microbatch_tokens": 1024, "steps": 1}},
            "evaluation": {"samples": 8},
            "training": {"samples": 8, "prompts": 64, "normaliser": "sequence", "kl": 0.0, "steps": 80},
        },
    }
    new = {
        "ablation": "centered-0.5",
        "seed": 1,
        "config": {
            "ablation": "centered-0.5",
            "seed": 1,
            "model": {"source": "mini", "warm_start": {"max_microbatch_tokens": 1024, "steps": 1}},
            "evaluation": {"samples": 8},
            "training": {
                "group_size": 8,
                "prompts_per_step": 64,
                "loss_aggregation": "seq-mean",
                "kl_coef": 0.0,
                "steps": 80,
            },
        },
    }
    assert renamed.record(old) == new
    assert renamed.record(new) == new
    assert old["config"]["training"]["normaliser"] == "sequence", "the record itself stays as it is"


def test_a_value_without_a_new_name_stays():
    assert renamed.section("training", {"normaliser": "constant"}) == {"loss_aggregation": "constant"}
    assert renamed.section("task", {"samples": 1}) == {"samples": 1}
