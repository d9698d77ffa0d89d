"""Schemes as verl's advantage estimators: against formulas written out here, and verl's own where it is installed."""

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch

from softmax_rewards import weighting
from softmax_rewards.integrations import imported
from softmax_rewards.integrations.scheme import Scheme
from softmax_rewards.integrations.verl import advantages, estimator, settings

# Groups of 3, 2, 4 and 1 responses, mixed; uids as verl makes them, objects.
UIDS = np.array(["u9", "a1", "u9", "zz", "zz", "a1", "zz", "u9", "zz", "solo"], dtype=object)
REWARDS = [1.1, 0.0, 0.1, 0.0, 1.0, 0.1, 0.1, 0.0, 0.1, 1.1]
LENGTHS = [3, 1, 5, 2, 4, 5, 1, 2, 3, 2]
MASK = (torch.arange(5) < torch.tensor(LENGTHS)[:, None]).long()
TOKENS = torch.zeros(10, 5)
TOKENS[range(10), [length - 1 for length in LENGTHS]] = torch.tensor(REWARDS)  # verl pays at the last token
RANGE = {"reward_range": [0.0, 1.1], "threshold": 1.0}


def by_group(formula):
    """`formula` (rewards, right) -> weights, on each group of UIDS for itself; 0 for the group of one."""
    found = np.zeros(len(UIDS))
    for uid in set(UIDS) - {"solo"}:
        rows = [i for i, other in enumerate(UIDS) if other == uid]
        r = np.array([REWARDS[i] for i in rows])
        found[rows] = formula(r, (r >= 1).astype(float))
    return found


def soft(r, tau):
    return len(r) * np.exp(r / tau) / np.exp(r / tau).sum()


FORMULAS = {
    "linear": lambda r, c: (r - r.mean()) / (r.std() + 1e-4),
    "linear_plus_one": lambda r, c: (r - r.mean()) / (r.std() + 1e-4) + 1,
    "dr_grpo": lambda r, c: r - r.mean(),
    "rloo": lambda r, c: np.array([r[i] - np.delete(r, i).mean() for i in range(len(r))]),
    "softmax": lambda r, c: soft(r, 0.55),
    "softmax_centered": lambda r, c: soft(r, 0.55) - 1,
    "softmax_scaled": lambda r, c: 0.55 * (soft(r, 0.55) - 1),
    "maxrl": lambda r, c: (c - c.mean()) / c.mean() if c.any() else 0 * c,
    "raft": lambda r, c: c,
    "uniform": lambda r, c: np.ones(len(r)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_ragged_groups_in_any_order_and_masked_tokens(name):
    tau = {"tau": "auto"} if "tau" in weighting.hyperparameters(name) else {}
    config = {"softmax_rewards": {**RANGE, **tau}}
    found, returns = estimator(name)(token_level_rewards=TOKENS, response_mask=MASK, index=UIDS, config=config)
    assert found.dtype == torch.float32 and torch.equal(found, returns)
    assert np.allclose(found, by_group(FORMULAS[name])[:, None] * MASK.numpy(), rtol=1e-5, atol=1e-6)


def test_exact_fractions():
    """Right once in four, twice in three: MaxRL's weights are rational."""
    rewards = torch.tensor([1.0, 0, 0, 0, 1, 1, 0]).unsqueeze(1)
    index = np.array([0, 0, 0, 0, 1, 1, 1])
    found = advantages(rewards.double(), torch.ones(7, 1), index, Scheme({"scheme": "maxrl"}, (0.0, 1.0)))
    wanted = [Fraction(3), *[Fraction(-1)] * 3, Fraction(1, 2), Fraction(1, 2), Fraction(-1)]
    assert found.ravel().tolist() == pytest.approx([float(weight) for weight in wanted], abs=1e-15)


def test_the_batchs_own_verdict_comes_before_the_reward():
    config = {"softmax_rewards": {"reward_range": [0.0, 1.1]}}
    own = {"acc": np.array([0, 1, 0, 0, 0, 1, 1, 1, 0, 0])}
    arguments = {"token_level_rewards": TOKENS, "response_mask": MASK, "index": UIDS, "config": config}
    found, _ = estimator("raft")(**arguments, non_tensor_batch=own)
    assert found[:, 0].tolist() == own["acc"].tolist()
    found, _ = estimator("raft")(**arguments, non_tensor_batch={"uid": UIDS})
    assert found[:, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]  # 1.1 is the highest; the group of one has weight 0


def test_unknown_arguments_of_other_estimators_are_taken():
    arguments = {"token_level_rewards": TOKENS, "response_mask": MASK, "index": UIDS}
    estimator("uniform")(**arguments, config={"softmax_rewards": RANGE}, reward_baselines=None)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("softmax", {"tau": {"from": 1, "to": 0.5, "steps": 9}}, "no schedule"),
        ("softmax", {}, "needs the hyperparameter 'tau'"),
        ("softmax", {"tau": 0.5, "rewardrange": [0, 1]}, "unknown hyperparameter"),
        ("linear", {"reward_range": [1, 0]}, "reward_range"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(name, given, said):
    with pytest.raises(ValueError, match=said):
        settings(name, {"softmax_rewards": given})


@pytest.mark.parametrize(("name", "given"), [("softmax", {"tau": "auto"}), ("raft", {})])
def test_rewards_that_verls_default_range_does_not_hold_are_refused(name, given):
    """The default is 0 to 1, the rewards reach 1.1."""
    with pytest.raises(ValueError, match=r"^reward 1.1 is outside reward_range \(0, 1\), and "):
        estimator(name)(TOKENS, MASK, UIDS, config={"softmax_rewards": given})


def test_the_module_needs_no_verl():
    code = "import sys; import softmax_rewards.integrations.verl; print('verl' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---- beside verl ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def core():
    return pytest.importorskip(
        "verl.trainer.ppo.core_algos", reason="needs verl and what it imports", exc_type=ImportError
    )


def test_verl_finds_every_scheme(core):
    """In a fresh process, as verl's workers start: its package imports what the variable names."""
    code = (
        "from verl.trainer.ppo.core_algos import get_adv_estimator_fn as get; from softmax_rewards import weighting;"
        "print(all(callable(get('softmax_rewards.' + name)) for name in weighting.names()))"
    )
    variables = {"VERL_USE_EXTERNAL_MODULES": "softmax_rewards.integrations.verl_plugin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **variables})
    assert done.stdout.split()[-1:] == ["True"], done.stderr


def test_the_settings_come_from_verls_kind_of_config(core):
    from omegaconf import OmegaConf

    given = {"gamma": 1.0, "softmax_rewards": {**RANGE, "tau": {"auto": 0.25}}}
    config = OmegaConf.create(given)
    OmegaConf.set_struct(config, True)
    assert settings("softmax", config) == Scheme({"scheme": "softmax", "tau": {"auto": 0.25}}, (0.0, 1.1), 1.0)
    assert settings("linear", OmegaConf.create({"gamma": 1.0})) == Scheme({"scheme": "linear"}, (0.0, 1.0))


def test_its_own_log_can_be_judged(core, tmp_path, monkeypatch):
    tracking = pytest.importorskip("verl.utils.tracking", reason="needs verl", exc_type=ImportError)
    key = "val-core/countdown/acc/mean@1"
    (tmp_path / "linear" / "seed-0").mkdir(parents=True)
    monkeypatch.setenv("VERL_FILE_LOGGER_PATH", str(tmp_path / "linear" / "seed-0" / "log.jsonl"))
    log = tracking.FileLogger("project", "run")
    for step, metrics in ((0, {key: np.float64(0.125)}), (1, {"critic/score/mean": 0.2}), (2, {key: 0.25})):
        log.log(metrics, step)
    log.finish()
    (run,) = imported.read(tmp_path, key, [])
    assert run.evaluations[["step", "success"]].to_numpy().tolist() == [[0, 0.125], [2, 0.25]]


@pytest.mark.parametrize("theirs", ["rloo", "rloo_vectorized", "grpo", "grpo_vectorized", "dr_grpo"])
def test_verls_own_estimators(core, theirs):
    """verl's z-score has the sample standard deviation and ε = 1e-6; its other estimators differ on groups of one."""
    several = UIDS != "solo"
    tokens, mask, index = TOKENS[several], MASK[several], UIDS[several]
    name, extra = (theirs, {}) if theirs != "dr_grpo" else ("grpo", {"norm_adv_by_std_in_grpo": False})
    wanted, _ = core.get_adv_estimator_fn(name)(
        token_level_rewards=tokens.clone(), response_mask=mask, index=index, **extra
    )
    scheme = {"rloo_vectorized": "rloo", "grpo": "linear", "grpo_vectorized": "linear"}.get(theirs, theirs)
    found, _ = estimator(scheme)(tokens, mask, index, config={"softmax_rewards": RANGE})
    factor = np.ones(len(index))
    if scheme == "linear":
        count = np.array([(index == uid).sum() for uid in index])
        factor = np.sqrt((count - 1) / count)
    assert np.allclose(found * factor[:, None], wanted, rtol=5e-3, atol=1e-6)  # σ ≥ 0.05 beside ε = 1e-4
