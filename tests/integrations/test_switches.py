"""The words of other trainers: their own names and values, and what `advise` says with them."""

import dataclasses
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from softmax_rewards import weighting
from softmax_rewards.integrations import advise, switches
from softmax_rewards.integrations.reward_log import RewardLog
from softmax_rewards.weighting.study.populations import Population


def test_the_settings_of_trl_are_the_installed_versions():
    config = pytest.importorskip("trl").GRPOConfig
    described = {field.name: field.metadata.get("help", "") for field in dataclasses.fields(config)}
    for settings in (*switches.TRL.values(), switches.TRL_AGAINST_CUTS, switches.TRL_LOSS):
        for name, value in settings.items():
            assert isinstance(value, bool) or re.search(rf"[\"'`]{value}[\"'`]", described[name]), (name, value)
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    assert switches.TRL["linear"].items() <= defaults.items() and switches.TRL_LOSS.items() <= defaults.items()
    assert defaults["mask_truncated_completions"] is False  # so the switch says something


def test_the_settings_of_verl_are_the_installed_versions():
    """The generated configuration has every key, so verl need not be imported."""
    found = importlib.util.find_spec("verl")
    if found is None:
        pytest.skip("verl is not installed")
    root = Path(next(iter(found.submodule_search_locations)))
    config = yaml.safe_load((root / "trainer/config/_generated_ppo_trainer.yaml").read_text(encoding="utf-8"))
    estimators = re.findall(
        r"^    [A-Z_]+ = \"(\w+)\"$", (root / "trainer/ppo/core_algos.py").read_text(), re.MULTILINE
    )
    for settings in (*switches.VERL.values(), switches.VERL_LOSS):
        for key, value in settings.items():
            default = config
            for part in key.split("."):
                default = default[part]
            assert type(default) is type(value)
            if key.endswith("adv_estimator"):
                assert value in estimators
    assert config["actor_rollout_ref"]["actor"]["loss_agg_mode"] == "token-mean"
    assert config["algorithm"]["norm_adv_by_std_in_grpo"] is True
    assert not re.search(r"mask_truncated|overlong_filter", yaml.safe_dump(config))


def test_schemes_that_share_a_setting_of_trl_have_the_same_weights_up_to_a_factor():
    rewards = np.random.default_rng(0).normal(size=(5, 4))
    weights = {scheme: weighting.compute(scheme, rewards, rewards > 0) for scheme in switches.TRL}
    # TRL's "none" subtracts the mean, "group" divides by the sample standard deviation as well.
    centered = rewards - rewards.mean(axis=1, keepdims=True)
    expected = {"none": centered, "group": centered / rewards.std(axis=1, ddof=1, keepdims=True)}
    for scheme, settings in switches.TRL.items():
        ratio = weights[scheme] / expected[settings["scale_rewards"]]
        assert np.ptp(ratio) < 1e-3, scheme


def test_a_scheme_that_no_trainer_has_runs_with_this_projects_trainer_and_estimator():
    assert switches.of_scheme("softmax_centered", 0.55, (0.0, 1.1), 1.1)[:2] == [
        'In TRL: WeightedGRPOTrainer(..., scheme=Scheme({"scheme": "softmax_centered", "tau": 0.55}, '
        "reward_range=(0, 1.1)))",
        "In verl: algorithm.adv_estimator=softmax_rewards.softmax_centered +algorithm.softmax_rewards.tau=0.55 "
        "+algorithm.softmax_rewards.reward_range=[0,1.1]",
    ]
    trl, verl, _ = switches.of_scheme("maxrl", None, (0.0, 1.1), 1.0)
    assert "tau" not in trl + verl and "softmax_rewards.maxrl" in verl
    assert "reward_range=(0, 1.1), threshold=1)" in trl and verl.endswith("+algorithm.softmax_rewards.threshold=1")
    assert switches.of_scheme("dr_grpo", None, (0.0, 1.0), None)[:2] == [
        'In TRL: GRPOConfig(scale_rewards="none")',
        "In verl: algorithm.adv_estimator=grpo algorithm.norm_adv_by_std_in_grpo=False",
    ]


def report(rewards, correct):
    groups = Population(rewards, correct, np.ones(len(rewards), dtype=int))
    log = RewardLog("plain", "reward", "column correct", False, {rewards.shape[1]: groups}, 0, 0, 0)
    return " ".join(advise.report(log).split())


def test_advice_ends_with_the_words_of_its_recommendation():
    rng = np.random.default_rng(5)
    rate = rng.beta(0.5, 9.5, (400, 1))
    correct = rng.random((400, 8)) < rate
    rewards = np.where(correct, 1.1, np.where(rng.random((400, 8)) < 0.5, 0.1, 0.0))
    said = report(rewards, correct)
    (name,) = re.findall(r"Suggestion: try (.*?)\. ", said)
    scheme, _, tau = name.partition(" at tau ")
    setting = f'"scheme": "{scheme}"' + (f', "tau": {tau}' if tau else "")
    assert f"How to choose {name}: In TRL: WeightedGRPOTrainer(..., scheme=Scheme({{{setting}}}, " in said
    assert "mask_truncated_completions=True" in said  # format is overpaid, and long answers may lose it
    two = report(correct.astype(float), correct)
    assert "stay with linear" in two and 'How to choose linear: In TRL: GRPOConfig(scale_rewards="group")' in two
    assert "mask_truncated" not in two
    assert "How to choose" not in report(-correct.astype(float), correct)  # nothing is suggested
