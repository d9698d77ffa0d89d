"""Injection: the reference is one more sample of its group, and makes a policy that is never right learn."""

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
import toy

from softmax_rewards import trainer, weighting
from softmax_rewards.limits import Limits
from softmax_rewards.objective import token_log_probs
from softmax_rewards.rollout import Episodes
from softmax_rewards.run import Training
from softmax_rewards.sampling import sample
from softmax_rewards.tasks import Score
from softmax_rewards.teacher import inject
from softmax_rewards.update import Updater

PROMPTS, SAMPLES = [[1, 2, 3], [3, 4]], 4
REFERENCES = [[5, 5, 5, 5, 5, 5, 5, 5, 0], [6, 0]]
WRONG = Score(0.0, False, False, 0, 0, False)


@pytest.fixture(scope="module")
def model():
    return toy.decoder(vocabulary=7)


@pytest.fixture(scope="module")
def episodes(model):
    drawn = sample(model, PROMPTS, samples=SAMPLES, max_new_tokens=6, eos_ids=[0], pad_id=0, limits=Limits(100, 1),
                   stream=(0, "test"))  # fmt: skip
    return Episodes(PROMPTS, ["", ""], drawn, list("abcdefgh"), [WRONG] * 8, SAMPLES)


def log_prob(model, prompt, reference):
    ((read, batch),) = toy.batched(model, [prompt], torch.tensor([reference]), [len(reference)], [0], 10**6)
    return token_log_probs(model, read, batch)[0].sum().item()


def test_the_reference_is_the_last_sample_of_its_group(episodes):
    group = inject(episodes, REFERENCES, 1.1, pad_id=0)
    before, after = episodes.completions, group.completions
    assert group.samples == SAMPLES + 1
    for index, reference in enumerate(REFERENCES):
        own = slice(index * (SAMPLES + 1), index * (SAMPLES + 1) + SAMPLES)
        old = slice(index * SAMPLES, (index + 1) * SAMPLES)
        assert torch.equal(after.tokens[own, :6], before.tokens[old]) and not after.tokens[own, 6:].any()
        for name in ("lengths", "finished"):
            assert torch.equal(getattr(after, name)[own], getattr(before, name)[old])
        assert torch.equal(after.log_probs[own, :6], before.log_probs[old])
        assert after.tokens[own.stop, : len(reference)].tolist() == reference
        assert after.lengths[own.stop] == len(reference) and after.finished[own.stop]
        assert group.texts[own] == episodes.texts[old]
    np.testing.assert_array_equal(group.field("reward"), [[0, 0, 0, 0, 1.1]] * 2)
    np.testing.assert_array_equal(group.field("correct", bool)[:, -1], [True, True])


@pytest.mark.parametrize("options", [{}, {"updates": 2}])
@pytest.mark.parametrize("scheme", ["linear", "softmax"])
def test_a_policy_that_is_never_right_learns_the_reference(model, episodes, scheme, options):
    group = inject(episodes, REFERENCES, 1.0, pad_id=0)
    tau = {"tau": 0.5} if scheme == "softmax" else {}
    weights = weighting.compute(scheme, group.field("reward"), group.field("correct", bool), **tau)
    policy = copy.deepcopy(model)
    Updater(Training(max_new_tokens=6, learning_rate=1e-3, **options), 0, policy).update(0, group, weights)
    for prompt, reference in zip(PROMPTS, REFERENCES, strict=True):
        assert log_prob(policy, prompt, reference) > log_prob(model, prompt, reference)


def test_a_run_with_injection(tiny, tmp_path):
    run, data, base = tiny
    for name, injection in (("without", None), ("with", 1.0)):
        settings = dataclasses.replace(run.training, steps=3, injection=injection)
        trainer.train(dataclasses.replace(run, training=settings), data, base, tmp_path / name)
    metrics = {name: pd.read_csv(tmp_path / name / "metrics.csv") for name in ("without", "with")}
    first = [table.iloc[0] for table in metrics.values()]
    assert first[0]["success"] == first[1]["success"] and first[0]["length"] == first[1]["length"]
    assert first[0]["loss"] != first[1]["loss"]
    episodes = pd.read_parquet(tmp_path / "with/episodes.parquet")  # of what the policy itself wrote
    assert len(episodes) == 3 * run.training.prompts * run.training.samples
    groups = episodes[episodes["step"] == 1].groupby("group")["weight"].mean()
    assert (groups < 1).any()  # softmax weights have mean 1 with the reference, which has the most
