"""The schedule of the learning rate, against transformers' own."""

import copy

import numpy as np
import pytest
import torch
import toy
from transformers import get_scheduler

from softmax_rewards.config.run import Training
from softmax_rewards.policy.learning_rate import learning_rate
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.sampling import sample

NAMES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


@pytest.mark.parametrize("decay", NAMES)
@pytest.mark.parametrize("warmup", [0, 1, 4, 19])
def test_it_is_that_of_transformers(decay, warmup):
    settings = Training(steps=20, learning_rate=3e-4, lr_warmup_steps=warmup, lr_decay=decay)
    adamw = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    schedule = get_scheduler(NAMES[decay], adamw, warmup, 20)
    for step in range(20):
        assert learning_rate(settings, step) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12, abs=1e-20)
        adamw.step()
        schedule.step()
    if decay != "constant":
        assert schedule.get_last_lr()[0] == pytest.approx(0, abs=1e-20)


def test_without_warmup_and_decay_it_is_the_number_of_the_settings():
    settings = Training(learning_rate=4.1e-4)
    assert {learning_rate(settings, step) for step in range(settings.steps)} == {4.1e-4}


def test_all_updates_of_a_step_have_its_rate():
    policy = toy.decoder(vocabulary=7)
    settings = Training(steps=10, learning_rate=1e-3, lr_warmup_steps=4, updates_per_batch=2, max_new_tokens=5)
    updater, rates = toy.updater(settings, policy), []
    prompts = [[1, 2, 3], [4]]
    drawn = sample(
        policy,
        prompts,
        group_size=2,
        max_new_tokens=5,
        eos_ids=[0],
        pad_id=0,
        limits=Limits(10, 1),
        stream=(0, "test"),
    )
    rollouts = Rollouts(prompts, ["", ""], drawn, [""] * 4, [], 2)
    step = updater.engine.optimizer.step
    updater.engine.optimizer.step = lambda *given: rates.append(updater.engine.optimizer.learning_rate) or step(*given)
    before = copy.deepcopy(policy.state_dict())
    updater.update(0, rollouts, np.array([[1.0, -1.0], [0.5, -0.5]]))
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())  # the rate is 0
    updater.update(2, rollouts, np.array([[1.0, -1.0], [0.5, -0.5]]))
    assert rates == [0.0, 0.0, 5e-4, 5e-4]
    moved = max((value - before[name]).abs().max().item() for name, value in policy.state_dict().items())
    assert 5e-4 < moved < 4 * 5e-4
