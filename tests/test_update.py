"""The update: micro-batches, running out of memory, checkpointing and precision change how, not what is computed."""

import copy

import numpy as np
import pytest
import torch
import toy

from softmax_rewards import update
from softmax_rewards.rollout import Episodes, sample
from softmax_rewards.run import Training
from softmax_rewards.tasks import Score

PROMPTS, SAMPLES, LONGEST = [[1, 2, 3], [3, 4], [6, 5, 4, 3, 2, 1]], 8, 20


@pytest.fixture(scope="module")
def model():
    return toy.decoder(vocabulary=7)


@pytest.fixture(scope="module")
def episodes(model):
    drawn = sample(
        model, PROMPTS, samples=SAMPLES, max_new_tokens=LONGEST, eos_ids=[0], pad_id=0, rows=100, stream=(0, "test")
    )
    scores = [Score(float(row % 3 == 0), row % 3 == 0, True, 1, 0, False) for row in range(len(PROMPTS) * SAMPLES)]
    return Episodes(PROMPTS, ["", "", ""], drawn, [""] * len(scores), scores, SAMPLES)


WEIGHTS = np.random.default_rng(0).normal(size=(len(PROMPTS), SAMPLES))


def updated(model, episodes, dtype=torch.float32, **settings):
    """(facts of the update, the new weights, the updater)"""
    policy = copy.deepcopy(model).to(dtype)
    policy.gradient_checkpointing = settings.get("gradient_checkpointing", False)
    updater = update.Updater(Training(max_new_tokens=LONGEST, learning_rate=1e-3, **settings), 0, policy)
    facts = updater.update(0, episodes, WEIGHTS)
    return facts, torch.cat([value.detach().flatten() for value in policy.parameters()]), updater


def assert_same(one, other):
    assert one[0] == pytest.approx(other[0], rel=1e-4, abs=1e-6)
    torch.testing.assert_close(one[1], other[1], atol=2e-5, rtol=0)  # AdamW's first step turns rounding of ~0 into more


@pytest.mark.parametrize(
    "settings",
    [
        {"microbatch_tokens": 1},
        {"microbatch_tokens": 60},
        {"gradient_checkpointing": True},
        {"optimiser_state": "host"},
    ],
)
@pytest.mark.parametrize("options", [{}, {"updates": 3}, {"entropy_bonus": 0.1}, {"normaliser": "sequence"}])
def test_how_memory_is_saved_changes_nothing(model, episodes, settings, options):
    assert_same(updated(model, episodes, **options), updated(model, episodes, **options, **settings))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_out_of_memory_halves_the_microbatch_and_leaves_the_result(model, episodes, monkeypatch, capsys, dtype):
    whole = updated(model, episodes, dtype, microbatch_tokens=400)
    compute, passes = update.token_log_probs, []

    def with_little_memory(policy, batch):
        passes.append(batch.ids.numel())
        if batch.ids.numel() > 150 or len(passes) == 4:  # the fourth after others have left their gradients
            raise torch.OutOfMemoryError("not enough memory")
        return compute(policy, batch)

    monkeypatch.setattr(update, "token_log_probs", with_little_memory)
    again = updated(model, episodes, dtype, microbatch_tokens=400)
    if dtype == torch.float32:
        assert_same(whole, again)
    else:
        torch.testing.assert_close(whole[1].float(), again[1].float(), atol=0, rtol=2**-6)
    assert again[2].microbatch_tokens == 50
    assert "going on with training.microbatch_tokens 100" in capsys.readouterr().out

    def with_none(policy, batch):
        raise torch.OutOfMemoryError("not enough memory")

    monkeypatch.setattr(update, "token_log_probs", with_none)
    with pytest.raises(torch.OutOfMemoryError):
        updated(model, episodes, dtype, microbatch_tokens=400)


def test_bfloat16_follows_float32(model, episodes):
    before = torch.cat([value.detach().flatten() for value in model.parameters()])
    facts, exact, _ = updated(model, episodes)
    for state in ("device", "host"):
        coarse, weights, _ = updated(model, episodes, torch.bfloat16, optimiser_state=state)
        assert coarse == pytest.approx(facts, rel=0.1)
        assert (weights.float() - exact).abs().max() < 2**-7 * before.abs().max()


def test_skipped_answers_leave_the_weights_alone(model, episodes):
    equal = copy.copy(episodes)
    object.__setattr__(equal, "scores", [episodes.scores[0]] * len(episodes.scores))
    facts, weights, _ = updated(model, equal, skip_equal=True)
    assert facts == {"loss": 0.0, "grad_norm": 0.0, "entropy": 0.0}
    assert torch.equal(weights, torch.cat([value.detach().flatten() for value in model.parameters()]))
