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
from softmax_rewards.policy.engine import Engine
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.sampling import sample
from softmax_rewards.policy.update import Updater

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


def updated(model, rollouts, weights, **settings):
    """The facts of an update that measures the change, and the new policy."""
    policy = copy.deepcopy(model)
    options = {"max_new_tokens": LONGEST, "learning_rate": 1e-2, "max_microbatch_tokens": 30, **settings}
    training = Training(**options)
    updater = Updater.of(training, 0, Engine(policy, training), Limits.of(training), measures_change=True)
    return updater.update(0, rollouts, weights), policy


@pytest.mark.parametrize("share", [64, 5, 1])
@pytest.mark.parametrize("options", [{}, {"updates_per_batch": 2}, {"entropy_coef": 0.1}, {"injection": 1.0}])
def test_both_figures_equal_a_direct_computation(model, rollouts, monkeypatch, share, options):
    monkeypatch.setattr(policy_change, "SHARE", share)
    shifted = dataclasses.replace(rollouts.completions, log_probs=rollouts.completions.log_probs.clone())
    shifted.log_probs[3, 0] += 0.25
    weights = np.random.default_rng(0).normal(size=(len(PROMPTS), SAMPLES))
    weights[0, 0] = 0.0  # such a sample has no gradient, and is passed only if another term needs it
    facts, policy = updated(model, dataclasses.replace(rollouts, completions=shifted), weights, **options)
    passed = [row for row in range(len(PROMPTS) * SAMPLES) if row > 0 or "entropy_coef" in options]
    if "injection" in options:  # the last sample of each group stands for the reference answer
        passed = [row for row in passed if row % SAMPLES < SAMPLES - 1]
    few = passed[::share]
    before = np.concatenate([log_probs(model, rollouts, row) for row in few])
    ratio = np.concatenate([log_probs(policy, rollouts, row) for row in few]) - before
    assert facts["approx_kl"] == pytest.approx((np.exp(ratio) - 1 - ratio).mean(), rel=1e-3)
    assert facts["approx_kl"] > 1e-5
    tokens = rollouts.completions.lengths[passed].sum().item()
    assert facts["sampling_logp_difference"] == pytest.approx(0.25 / tokens, rel=1e-2)


def test_without_a_change_of_the_weights_the_divergence_is_exactly_zero(model, rollouts):
    nothing = np.zeros((len(PROMPTS), SAMPLES))
    options = {"entropy_coef": 1e-30, "precision": "bfloat16", "max_microbatch_tokens": 9999}
    facts, _ = updated(copy.deepcopy(model).bfloat16(), rollouts, nothing, **options)
    assert facts["approx_kl"] == 0.0
    assert facts["sampling_logp_difference"] > 1e-4  # sampled in float32, trained in bfloat16


def test_without_samples_that_count_both_are_empty(model, rollouts):
    cut = dataclasses.replace(rollouts.completions, finished=torch.zeros(len(rollouts.scores), dtype=torch.bool))
    weights = np.ones((len(PROMPTS), SAMPLES))
    facts, _ = updated(model, dataclasses.replace(rollouts, completions=cut), weights, skip_unfinished=True)
    assert facts["approx_kl"] is None and facts["sampling_logp_difference"] is None
