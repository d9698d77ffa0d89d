"""The loss and its gradient against enumeration of every group a toy policy can sample."""

import itertools

import numpy as np
import pytest
import torch
import toy

from softmax_rewards import weighting
from softmax_rewards.models.prefix import SharedPrefix
from softmax_rewards.policy.objective import kl_penalty, policy_loss, sample_scales, token_log_probs

LENGTHS = np.array([len(completion) for completion in toy.completions()])
FINISHED = np.array([completion[-1] == toy.END for completion in toy.completions()])
RIGHT = np.array([completion == (2, 1) for completion in toy.completions()])


@pytest.fixture(scope="module")
def model():
    return toy.decoder()


@pytest.fixture(scope="module")
def probabilities(model):
    return toy.log_probs(model).exp().detach().double().numpy()


@pytest.fixture(scope="module")
def scores(model):
    return toy.gradients(model).numpy()


def expected_gradient(probabilities, scores, size, weigh, loss_aggregation, skip_unfinished=False):
    """E[Σ_i s_i w_i ∇log π(y_i)] over all groups of `size` samples, the ascent direction of the loss."""
    total = np.zeros(scores.shape[1])
    for group in itertools.product(range(len(probabilities)), repeat=size):
        rows = np.array(group)
        kept = FINISHED[rows] if skip_unfinished else np.ones(size, dtype=bool)
        scales = sample_scales(LENGTHS[rows], kept, loss_aggregation, toy.LONGEST)
        total += probabilities[rows].prod() * (scales * weigh(rows)) @ scores[rows]
    return total


def gradient_of_expectation(probabilities, scores, values):
    """∇E[f] = Σ_y π(y) f(y) ∇log π(y)."""
    return (probabilities * values) @ scores


def test_the_estimate_of_rloo_is_the_gradient_of_expected_reward(probabilities, scores):
    def weigh(rows):
        return weighting.compute("rloo", RIGHT[rows][None].astype(float), RIGHT[rows][None])[0]

    got = expected_gradient(probabilities, scores, 3, weigh, "constant") * toy.LONGEST
    np.testing.assert_allclose(got, gradient_of_expectation(probabilities, scores, RIGHT), atol=1e-6)


def test_reinforce_of_one_right_answer_is_supervised_gradient_times_its_probability(probabilities, scores):
    got = gradient_of_expectation(probabilities, scores, RIGHT)
    (right,) = np.flatnonzero(RIGHT)
    np.testing.assert_allclose(got, probabilities[right] * scores[right], atol=1e-12)


def test_micro_batches_add_up_to_the_enumerated_loss(model, scores):
    rng = np.random.default_rng(0)
    rows = rng.integers(len(LENGTHS), size=12)
    weights = rng.normal(size=12)
    tokens = torch.tensor([(*toy.completions()[row], *[0] * toy.LONGEST)[: toy.LONGEST] for row in rows])
    kept = rng.random(12) < 0.7
    scales = sample_scales(LENGTHS[rows], kept, "seq-mean", toy.LONGEST)
    factors = torch.tensor(scales * weights, dtype=torch.float32)
    for budget in (1, 9, 10**6):
        model.zero_grad()
        loss = 0.0
        for read, batch in toy.batched(
            model, [toy.PROMPT] * 3, tokens, LENGTHS[rows].tolist(), np.flatnonzero(kept).tolist(), budget
        ):
            log_probs, _ = token_log_probs(model, read, batch)
            part = policy_loss(log_probs, log_probs.detach(), factors[batch.samples], None)
            part.backward(retain_graph=True)
            loss += part.item()
        got = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).double().numpy()
        np.testing.assert_allclose(got, -(scales * weights) @ scores[rows], atol=1e-5)
        values = toy.log_probs(model).detach().numpy()[rows]
        assert loss == pytest.approx(-(scales * weights * values).sum(), abs=1e-5)


def ones(rows):
    return np.ones(len(rows))


def test_a_constant_weight_adds_nothing_when_the_loss_aggregation_does_not_depend_on_the_samples(probabilities, scores):
    np.testing.assert_allclose(expected_gradient(probabilities, scores, 3, ones, "constant"), 0, atol=1e-6)


def test_with_the_token_mean_the_constant_leaves_a_bias_that_falls_like_one_over_the_samples(probabilities, scores):
    sizes = {
        count: np.linalg.norm(expected_gradient(probabilities, scores, count, ones, "token-mean")) for count in (3, 5)
    }
    assert sizes[3] > 1e-2
    assert sizes[3] / sizes[5] == pytest.approx(5 / 3, rel=0.15)


@pytest.mark.parametrize(
    ("loss_aggregation", "skip_unfinished", "values"),
    [("seq-mean", False, 1 / LENGTHS), ("constant", True, None)],
)
def test_with_sequence_mean_or_skipping_the_constant_leaves_a_bias_of_order_one(
    probabilities, scores, loss_aggregation, skip_unfinished, values
):
    sizes = []
    for size in (1, 2, 4):
        got = expected_gradient(probabilities, scores, size, ones, loss_aggregation, skip_unfinished)
        if values is not None:
            np.testing.assert_allclose(got, gradient_of_expectation(probabilities, scores, values), atol=1e-6)
        sizes.append(np.linalg.norm(got))
    assert sizes[0] > 1e-2
    assert sizes[2] > 0.7 * sizes[0]


def test_after_a_first_ppo_update_the_constant_no_longer_vanishes(model, probabilities):
    moved = toy.decoder()
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    rows = toy.completions()
    tokens = torch.tensor([list(row) + [0] * (toy.LONGEST - len(row)) for row in rows])
    ((read, batch),) = toy.batched(model, [toy.PROMPT], tokens, LENGTHS.tolist(), range(len(rows)), 10**6)
    old, _ = token_log_probs(model, read, batch)
    weights = torch.tensor(probabilities, dtype=torch.float32)[batch.samples]

    def size(clip, policy):
        log_probs, _ = token_log_probs(policy, SharedPrefix(policy, [toy.PROMPT]), batch)
        loss = policy_loss(log_probs, old.detach(), weights, clip)
        return (
            torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(policy.parameters()))]).norm().item()
        )

    assert size((0.2, 0.2), model) < 1e-5  # on policy
    assert size((0.2, 0.2), moved) > 1e-2  # the clipped ratio weighs tokens unequally
    assert size(None, moved) > 1e-2  # and so does leaving the ratio out


def test_ppo_clips_as_the_paper_says():
    ratio = torch.tensor([0.5, 0.9, 1.1, 1.5, 0.5, 0.9, 1.1, 1.5])
    weights = torch.tensor([1.0] * 4 + [-1.0] * 4)
    surrogates = torch.tensor([0.5, 0.9, 1.1, 1.3, -0.8, -0.9, -1.1, -1.5])
    for one in range(8):
        got = policy_loss(ratio[one : one + 1].log(), torch.zeros(1), weights[one : one + 1], (0.2, 0.3))
        assert got.item() == pytest.approx(-surrogates[one].item(), abs=1e-6)


def test_loss_aggregation():
    lengths, kept = np.array([2, 3, 5]), np.array([True, False, True])
    np.testing.assert_allclose(sample_scales(lengths, kept, "token-mean", 8), [1 / 7, 0, 1 / 7])
    np.testing.assert_allclose(sample_scales(lengths, kept, "seq-mean", 8), [1 / 4, 0, 1 / 10])
    np.testing.assert_allclose(sample_scales(lengths, kept, "constant", 8), [1 / 16, 0, 1 / 16])
    with pytest.raises(ValueError, match="allowed: token-mean, seq-mean, constant"):
        sample_scales(lengths, kept, "words", 8)


def test_entropy_is_that_of_the_next_token_distribution(model):
    ((read, batch),) = toy.batched(model, [toy.PROMPT], torch.tensor([[1, 2]]), [2], [0], 100)
    _, entropy = token_log_probs(model, read, batch, entropies=True)
    for place, ids in enumerate(([1, 2], [1, 2, 1])):
        logits = model.lm_head(model(torch.tensor([ids]))[0, -1])
        assert entropy[place].item() == pytest.approx(
            torch.distributions.Categorical(logits=logits).entropy().item(), abs=1e-5
        )


def test_the_kl_penalty_is_unbiased_and_never_negative(probabilities):
    other = toy.log_probs(toy.decoder(seed=5)).detach().double()
    own = torch.tensor(probabilities).log()
    penalties = kl_penalty(own, other)
    assert (penalties >= 0).all()
    exact = (own.exp() * (own - other)).sum()
    torch.testing.assert_close((own.exp() * penalties).sum(), exact, atol=1e-6, rtol=0)


def test_the_log_ratio_to_a_target_as_reward_pulls_the_policy_towards_it(model, probabilities, scores):
    """E[(R + β·log p* − β·log π − b)·∇log π] = ∇(E[R] − β·KL(π‖p*)), whatever b."""
    beta, target = 0.3, torch.linspace(-3, 1, len(RIGHT)).log_softmax(0)
    log_probs = toy.log_probs(model)
    objective = (log_probs.exp() * (torch.tensor(RIGHT).float() - beta * (log_probs - target))).sum()
    gradients = torch.autograd.grad(objective, list(model.parameters()))
    exact = torch.cat([part.flatten() for part in gradients]).double().numpy()
    for baseline in (0.0, 0.7):
        values = RIGHT + beta * (target.numpy() - np.log(probabilities)) - baseline
        np.testing.assert_allclose(gradient_of_expectation(probabilities, scores, values), exact, atol=1e-6)
