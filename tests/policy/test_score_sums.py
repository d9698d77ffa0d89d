"""Score sums against plain autograd, and against the gradient that an update uses."""

import dataclasses

import numpy as np
import pytest
import torch
import toy

from softmax_rewards.config.run import Training
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.policy.engine import Engine
from softmax_rewards.policy.loss import PolicyLoss, StepLoss
from softmax_rewards.policy.micro_batches import Samples
from softmax_rewards.policy.objective import sample_scales
from softmax_rewards.policy.score_sums import score_sums

SHAPES = {
    "toy": {},
    "tied head": {"tie_word_embeddings": True},
    "norms of queries and keys": {"qk_norm": True, "qkv_bias": False},
    "biases": {"mlp_bias": True, "o_bias": True},
}


def model(**changes: object) -> Decoder:
    shape = dataclasses.replace(toy.decoder(vocabulary=5).shape, **changes)  # type: ignore[arg-type]
    return Decoder(shape).initialize(torch.Generator().manual_seed(1), std=0.5)


def samples() -> Samples:
    tokens = torch.randint(0, 5, (6, 4), generator=torch.Generator().manual_seed(2))
    return Samples([[1, 2, 3], [4]], tokens, [4, 1, 3, 2, 4, 2])


def autograd(policy: Decoder, batch: Samples, scales: np.ndarray, temperature: float) -> torch.Tensor:
    """The scaled score of each answer alone, `[samples, parameters]`, from the definition."""
    rows = []
    for row, length in enumerate(batch.lengths):
        prompt = batch.prompts[row // batch.per_prompt]
        ids = torch.tensor([*prompt, *batch.completions[row, :length].tolist()])
        logits = policy.lm_head(policy(ids[None]))[0] / temperature
        log_p = logits.log_softmax(-1)[:-1].gather(1, ids[1:, None])[len(prompt) - 1 :].sum()
        parts = torch.autograd.grad(scales[row] * log_p, list(policy.parameters()))
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows)


@pytest.mark.parametrize("budget", [1, 15, 1000])
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_are_those_of_autograd(shape: str, budget: int) -> None:
    policy, batch = model(**SHAPES[shape]), samples()
    scales, sets = np.array([0.5, 1.0, 2.0, 0.0, 1.5, 1.0]), np.array([0, 2, 0, 1, 3, 1])
    single = autograd(policy, batch, scales, 0.8)
    expected = torch.stack([single[sets == key].sum(0) for key in range(4)])
    torch.testing.assert_close(score_sums(policy, batch, scales, sets, budget, 0.8), expected, rtol=1e-4, atol=1e-5)


def test_the_model_is_left_as_it_was() -> None:
    policy = model()
    policy.norm.weight.requires_grad_(False)
    score_sums(policy, samples(), np.ones(6), np.zeros(6, int), 100)
    assert [name for name, value in policy.named_parameters() if not value.requires_grad] == ["norm.weight"]
    assert all(value.grad is None and not value._backward_hooks for value in policy.parameters())
    assert not any(module._forward_hooks for module in policy.modules())


def test_weighted_sums_are_the_gradient_of_an_update() -> None:
    """The loss of an update is minus the weighted log-likelihood, so its gradient is minus the weighted scores."""
    policy, batch = model(tie_word_embeddings=True), samples()
    settings = Training(prompts_per_step=2, group_size=3, max_new_tokens=4, device="cpu")
    scales = sample_scales(np.array(batch.lengths), np.ones(6, bool), "token-mean", 4)
    weights = np.array([1.0, -0.5, -0.5, 2.0, -1.0, -1.0])
    engine = Engine(policy, settings)
    loss = StepLoss(PolicyLoss(torch.zeros(6, 4)), scales, scales * weights, torch.device("cpu"), [])
    engine.gradients.add(batch, range(6), 8, loss)
    gradients = engine.optimizer.gradients()
    expected = torch.cat([gradients[name].flatten() for name, _ in policy.named_parameters()])
    _, sets = np.unique(weights, return_inverse=True)
    sums = score_sums(policy, batch, scales, sets, 1000)
    found = -torch.tensor(np.unique(weights), dtype=torch.float32) @ sums
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
