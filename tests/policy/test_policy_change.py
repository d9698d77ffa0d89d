"""The change of the policy by an update, against the same figures from full logits."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
import toy

from softmax_rewards.config.run import Training
from softmax_rewards.data.tasks import Score
from softmax_rewards.policy import policy_change
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.policy_change import PolicyChange
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.sampling import sample

PROMPTS, SAMPLES, LONGEST = [[1, 2, 3], [3, 4], [6, 5, 4, 3, 2, 1]], 8, 20


@pytest.fixture(scope="module")
def model():
    return toy.decoder(vocabulary=7)


@pytest.fixture(scope="module")
def rollouts(model):
    drawn = sample(model, PROMPTS, group_size=SAMPLES, max_new_tokens=LONGEST, eos_ids=[0], pad_id=0,
                   limits=Limits(100, 1), stream=(0, "test"))  # fmt: skip
    scores = [Score(0.0, False, True, 1, 0, False)] * (len(PROMPTS) * SAMPLES)
    return Rollouts(PROMPTS, ["", "", ""], drawn, [""] * len(scores), scores, SAMPLES)


def log_probs(policy, rollouts, row):
    prompt, length = PROMPTS[row // SAMPLES], rollouts.completions.lengths[row]
    answer = rollouts.completions.tokens[row, :length]
    with torch.no_grad():
        logits = policy.lm_head(policy(torch.cat((torch.tensor(prompt), answer))[None, :-1]))[0, len(prompt) - 1 :]
    return logits.log_softmax(-1).gather(1, answer[:, None])[:, 0].double().numpy()


@pytest.mark.parametrize(("share", "rows"), [(32, [0]), (8, [0, 8, 16]), (1, [0, 8, 16])])
def test_both_figures_equal_a_direct_computation(model, rollouts, monkeypatch, share, rows):
    monkeypatch.setattr(policy_change, "SHARE", share)
    policy = copy.deepcopy(model)
    updater = toy.updater(Training(max_new_tokens=LONGEST, learning_rate=1e-2, max_microbatch_tokens=30), policy)
    shifted = dataclasses.replace(rollouts.completions, log_probs=rollouts.completions.log_probs.clone())
    shifted.log_probs[0, 0] += 0.25
    batch = dataclasses.replace(rollouts, completions=shifted)
    change = PolicyChange(updater, batch)
    updater.update(0, batch, np.random.default_rng(0).normal(size=(len(PROMPTS), SAMPLES)))
    facts = change.facts()
    before = np.concatenate([log_probs(model, rollouts, row) for row in rows])
    ratio = np.concatenate([log_probs(policy, rollouts, row) for row in rows]) - before
    assert facts["approx_kl"] == pytest.approx((np.exp(ratio) - 1 - ratio).mean(), rel=1e-3)
    assert facts["approx_kl"] > 1e-5
    assert facts["sampling_logp_difference"] == pytest.approx(0.25 / len(before), rel=1e-3)


def test_without_a_change_of_the_weights_it_is_exactly_zero(model, rollouts):
    change = PolicyChange(toy.updater(Training(max_new_tokens=LONGEST), copy.deepcopy(model).bfloat16()), rollouts)
    facts = change.facts()
    assert facts["approx_kl"] == 0.0
    assert facts["sampling_logp_difference"] > 1e-4  # sampled in float32, trained in bfloat16
