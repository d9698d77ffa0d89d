"""The correction for a sampler whose policy μ differs from the trained π, against formulas written out here."""

import dataclasses

import numpy as np
import pytest
import torch
import toy

from softmax_rewards.config.run import Training
from softmax_rewards.data.tasks import Score
from softmax_rewards.policy.decoding import Completions
from softmax_rewards.policy.engine import Engine
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.micro_batches import Samples
from softmax_rewards.policy.objective import policy_loss, sample_scales
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.samplers._importance import ComparingUpdater, comparison
from softmax_rewards.policy.update import Updater

GROUP = toy.completions()
LENGTHS = np.array([len(row) for row in GROUP])
WEIGHTS = np.random.default_rng(0).normal(size=(1, len(GROUP)))
CAP = 1.2


@pytest.fixture
def rollouts():
    """One group with every completion of the toy. μ is another policy than the one that is trained."""
    tokens = torch.tensor([[*row, *[toy.END] * (toy.LONGEST - len(row))] for row in GROUP])
    drawn = Completions(
        tokens, token_log_probs(toy.decoder(seed=1)), torch.zeros(tokens.shape), torch.tensor(LENGTHS),
        torch.tensor([row[-1] == toy.END for row in GROUP]),
    )  # fmt: skip
    scores = [Score(0.0, False, True, 1, 0, False)] * len(GROUP)
    return Rollouts([toy.PROMPT], [""], drawn, [""] * len(GROUP), scores, len(GROUP))


def token_log_probs(model):
    """log π of every token, `[completions, LONGEST]`; 0 after the ends."""
    values = torch.zeros(len(GROUP), toy.LONGEST)
    for row, ids in enumerate(GROUP):
        with torch.no_grad():
            logits = model.lm_head(model(torch.tensor([[*toy.PROMPT, *ids]])))[0, len(toy.PROMPT) - 1 : -1]
        values[row, : len(ids)] = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
    return values


def updated(kind, rollouts, **settings):
    """The facts of an update, and the trained policy."""
    policy = toy.decoder()
    options = {"max_new_tokens": toy.LONGEST, "learning_rate": 1e-2, "max_grad_norm": 1e6, "group_size": len(GROUP)}
    training = Training(**options, **settings)
    updater = kind.of(training, 0, Engine(policy, training), Limits.of(training), measures_change=True)
    return updater.update(0, rollouts, WEIGHTS), policy


def corrected(cap):
    return {"sampler": "vllm", "importance_cap": cap}


def test_the_gradient_of_each_token_is_multiplied_by_its_truncated_ratio(rollouts):
    facts, _ = updated(ComparingUpdater, rollouts, **corrected(CAP))
    model = toy.decoder()
    scales = sample_scales(LENGTHS, np.ones(len(GROUP), bool), "token-mean", toy.LONGEST)
    ratios = (token_log_probs(model) - rollouts.completions.log_probs).exp()
    assert (ratios > CAP).any() and (ratios < 1).any()  # both parts of the minimum are tried
    loss = torch.zeros(())
    for row, ids in enumerate(GROUP):
        logits = model.lm_head(model(torch.tensor([[*toy.PROMPT, *ids]])))[0, len(toy.PROMPT) - 1 : -1]
        values = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
        loss = loss - (scales[row] * WEIGHTS[0, row] * ratios[row, : len(ids)].clamp(max=CAP) * values).sum()
    loss.backward()
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()])
    assert facts["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert facts["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)


@pytest.mark.parametrize("updates", [1, 3])
def test_without_a_difference_the_correction_changes_nothing(rollouts, updates):
    samples = Samples(rollouts.prompts, rollouts.completions.tokens, LENGTHS.tolist())
    own = Engine(toy.decoder(), Training()).log_probs(samples, range(len(GROUP)), 10**6)
    rollouts = dataclasses.replace(rollouts, completions=dataclasses.replace(rollouts.completions, log_probs=own))
    plain, _ = updated(Updater, rollouts, updates_per_batch=updates)
    facts, _ = updated(ComparingUpdater, rollouts, updates_per_batch=updates, **corrected(CAP))
    # Not the weights: where a gradient is almost 0, AdamW makes much of its rounding.
    for name in ("loss", "grad_norm"):
        assert facts[name] == pytest.approx(plain[name], rel=1e-4)
    assert facts["importance_ratio"] == pytest.approx(1, abs=1e-5) and facts["importance_capped"] == 0


def test_without_a_cap_there_is_no_correction(rollouts):
    plain, one = updated(Updater, rollouts)
    facts, other = updated(ComparingUpdater, rollouts, sampler="vllm")
    assert all(torch.equal(*both) for both in zip(one.parameters(), other.parameters(), strict=True))
    assert facts.keys() - plain.keys() == {"sampling_logp_largest"}


def test_later_updates_keep_the_ratio_of_the_first_and_clip_as_before(rollouts):
    _, policy = updated(ComparingUpdater, rollouts, updates_per_batch=2, **corrected(CAP))
    # The same by hand: two steps of AdamW on PPO's loss, whose factors have the ratio of the policy before them.
    model = toy.decoder()
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.999), weight_decay=0.0)
    old = token_log_probs(model)
    scales = sample_scales(LENGTHS, np.ones(len(GROUP), bool), "token-mean", toy.LONGEST)
    factors = torch.tensor(scales * WEIGHTS[0]).float()[:, None] * (old - rollouts.completions.log_probs).exp().clamp(
        max=CAP
    )
    for _ in range(2):
        loss = torch.zeros(())
        for row, ids in enumerate(GROUP):
            logits = model.lm_head(model(torch.tensor([[*toy.PROMPT, *ids]])))[0, len(toy.PROMPT) - 1 : -1]
            values = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
            loss = loss + policy_loss(values, old[row, : len(ids)], factors[row, : len(ids)], (0.2, 0.2))
        adamw.zero_grad()
        loss.backward()
        adamw.step()
    for found, expected in zip(policy.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


def test_the_logged_figures_of_a_step(rollouts):
    facts, _ = updated(ComparingUpdater, rollouts, **corrected(CAP))
    inside = torch.arange(toy.LONGEST) < torch.tensor(LENGTHS)[:, None]
    differences = (token_log_probs(toy.decoder()) - rollouts.completions.log_probs)[inside]
    assert facts["sampling_logp_difference"] == pytest.approx(differences.abs().mean().item(), rel=1e-4)
    assert facts["sampling_logp_largest"] == pytest.approx(differences.abs().max().item(), rel=1e-4)
    assert facts["importance_ratio"] == pytest.approx(differences.exp().mean().item(), rel=1e-4)
    assert facts["importance_capped"] == pytest.approx((differences.exp() > CAP).float().mean().item())


def test_an_injected_reference_answer_is_not_compared(rollouts):
    """Nobody sampled it, so it has no log-probability of the sampler."""
    rollouts.completions.log_probs[-1] = 9.0  # the last answer of a group is the reference answer
    compared, _ = updated(ComparingUpdater, rollouts, sampler="vllm", injection=1.0)
    differences = (token_log_probs(toy.decoder()) - rollouts.completions.log_probs)[:-1]
    assert compared["sampling_logp_largest"] == pytest.approx(differences.abs().max().item(), rel=1e-4)


def test_without_a_sample_to_compare_the_cells_are_empty():
    nothing = comparison(Samples([[1]], torch.zeros(1, 2).long(), [2]), np.array([], int), torch.zeros(1, 2),
                         torch.zeros(1, 2), CAP)  # fmt: skip
    assert nothing == dict.fromkeys(("sampling_logp_largest", "importance_ratio", "importance_capped"))
