"""Teacher forcing: what a reference answer does to a step, and that a policy that is never right learns by it."""

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
import toy

from softmax_rewards import weighting
from softmax_rewards.config.run import Training
from softmax_rewards.data.tasks import Score
from softmax_rewards.policy.decoding import Completions
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.objective import token_log_probs
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.sampling import sample
from softmax_rewards.policy.teacher import inject, smoothed_log_probs
from softmax_rewards.training import trainer

PROMPTS, SAMPLES = [[1, 2, 3], [3, 4]], 4
REFERENCES = [[5, 5, 5, 5, 5, 5, 5, 5, 0], [6, 0]]
WRONG = Score(0.0, False, False, 0, 0, False)


@pytest.fixture(scope="module")
def model():
    return toy.decoder(vocabulary=7)


@pytest.fixture(scope="module")
def rollouts(model):
    drawn = sample(model, PROMPTS, group_size=SAMPLES, max_new_tokens=6, eos_ids=[0], pad_id=0, limits=Limits(100, 1),
                   stream=(0, "test"))  # fmt: skip
    return Rollouts(PROMPTS, ["", ""], drawn, list("abcdefgh"), [WRONG] * 8, SAMPLES)


def log_prob(model, prompt, reference):
    ((read, batch),) = toy.batched(model, [prompt], torch.tensor([reference]), [len(reference)], [0], 10**6)
    return token_log_probs(model, read, batch)[0].sum().item()


def test_the_reference_is_the_last_sample_of_its_group(rollouts):
    group = inject(rollouts, REFERENCES, 1.1, pad_id=0)
    before, after = rollouts.completions, group.completions
    assert group.group_size == SAMPLES + 1
    for index, reference in enumerate(REFERENCES):
        own = slice(index * (SAMPLES + 1), index * (SAMPLES + 1) + SAMPLES)
        old = slice(index * SAMPLES, (index + 1) * SAMPLES)
        assert torch.equal(after.tokens[own, :6], before.tokens[old]) and not after.tokens[own, 6:].any()
        for name in ("lengths", "finished"):
            assert torch.equal(getattr(after, name)[own], getattr(before, name)[old])
        assert torch.equal(after.log_probs[own, :6], before.log_probs[old])
        assert after.tokens[own.stop, : len(reference)].tolist() == reference
        assert after.lengths[own.stop] == len(reference) and after.finished[own.stop]
        assert group.texts[own] == rollouts.texts[old]
    np.testing.assert_array_equal(group.field("reward"), [[0, 0, 0, 0, 1.1]] * 2)
    np.testing.assert_array_equal(group.field("correct", bool)[:, -1], [True, True])


@pytest.mark.parametrize("options", [{}, {"updates_per_batch": 2}])
@pytest.mark.parametrize("scheme", ["linear", "softmax"])
def test_a_policy_that_is_never_right_learns_the_reference(model, rollouts, scheme, options):
    group = inject(rollouts, REFERENCES, 1.0, pad_id=0)
    tau = {"tau": 0.5} if scheme == "softmax" else {}
    weights = weighting.compute(scheme, group.field("reward"), group.field("correct", bool), **tau)
    policy = copy.deepcopy(model)
    settings = Training(max_new_tokens=6, learning_rate=1e-3, **options)
    toy.updater(settings, policy).update(0, group, weights)
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
    rollouts = pd.read_parquet(tmp_path / "with/episodes.parquet")  # of what the policy itself wrote
    assert len(rollouts) == 3 * run.training.prompts_per_step * run.training.group_size
    groups = rollouts[rollouts["step"] == 1].groupby("group")["weight"].mean()
    assert (groups < 1).any()  # softmax weights have mean 1 with the reference, which has the most


def test_the_smoothed_reference_is_a_distribution_over_completions():
    rows = toy.completions()
    tokens = torch.tensor([[*row, *[9] * (toy.LONGEST - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    nothing = torch.zeros(tokens.shape)
    drawn = Completions(tokens, nothing, nothing, lengths, torch.ones(len(rows), dtype=torch.bool))
    group = Rollouts([toy.PROMPT], [""], drawn, [""] * len(rows), [WRONG] * len(rows), len(rows))
    found = {}
    for smoothing in (0.3, 0.01):
        (values,) = smoothed_log_probs(group, [[1, toy.END]], smoothing, toy.TOKENS)
        assert np.exp(values).sum() == pytest.approx(1)
        found[smoothing] = dict(zip(rows, np.exp(values), strict=True))
    hit, miss = 0.7 + 0.3 / 3, 0.3 / 3
    assert found[0.3][1, toy.END] == pytest.approx(hit * hit)
    assert found[0.3][1, 2] == pytest.approx(hit * miss) and found[0.3][toy.END,] == pytest.approx(miss)
    assert found[0.01][1, toy.END] > 0.98
    (values,) = smoothed_log_probs(group, [[toy.END]], 0.3, toy.TOKENS)  # behind the reference all tokens are alike
    assert dict(zip(rows, np.exp(values), strict=True))[1, 2] == pytest.approx(miss / 3)


def test_imitation_adds_the_supervised_loss_to_a_multiple_of_the_other(model, rollouts):
    group, factor = inject(rollouts, REFERENCES, 0.0, pad_id=0), 0.25
    weights = np.random.default_rng(0).normal(size=(2, SAMPLES))
    updater = toy.updater(Training(max_new_tokens=6, imitation=factor), copy.deepcopy(model))
    facts = updater.update(0, group, weights)

    policy, drawn = copy.deepcopy(model), rollouts.completions

    def total(prompt, answer):
        logits = policy.lm_head(policy(torch.tensor([prompt + answer]))[0]).log_softmax(-1)
        return sum(logits[len(prompt) - 1 + place, token] for place, token in enumerate(answer))

    answers = [row[:length] for row, length in zip(drawn.tokens.tolist(), drawn.lengths.tolist(), strict=True)]
    sampled = sum(
        weight * total(PROMPTS[row // SAMPLES], answer)
        for row, (answer, weight) in enumerate(zip(answers, weights.ravel(), strict=True))
    )
    supervised = sum(total(prompt, answer) for prompt, answer in zip(PROMPTS, REFERENCES, strict=True))
    loss = -supervised / sum(map(len, REFERENCES)) - factor * sampled / sum(map(len, answers))
    loss.backward()
    norm = torch.nn.utils.get_total_norm([value.grad for value in policy.parameters()]).item()
    assert facts == pytest.approx({"loss": loss.item(), "grad_norm": norm}, rel=1e-4)


@pytest.mark.parametrize("options", [{"imitation": 1.0}, {"target": 0.05}])
def test_runs_with_the_other_forms(tiny, tmp_path, options):
    run, data, base = tiny
    for name, changes in (("without", {}), ("with", options)):
        settings = dataclasses.replace(run.training, steps=3, **changes)
        trainer.train(dataclasses.replace(run, training=settings), data, base, tmp_path / name)
    metrics = {name: pd.read_csv(tmp_path / name / "metrics.csv") for name in ("without", "with")}
    first = [table.iloc[0] for table in metrics.values()]
    assert first[0]["success"] == first[1]["success"] and first[0]["reward"] == first[1]["reward"]
    assert first[0]["loss"] != first[1]["loss"]
    assert (first[0]["weight_std"] == first[1]["weight_std"]) == ("imitation" in options)
