"""Temperature and top-p: what is drawn, and that the update learns from the same policy."""

import copy

import numpy as np
import pytest
import torch
import toy
from scipy.stats import chisquare
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

from softmax_rewards.config.run import Training
from softmax_rewards.data.tasks import Score
from softmax_rewards.policy.gradients import log_probs
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.objective import token_log_probs
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.sampling import sample
from softmax_rewards.policy.sampling_params import PLAIN, SamplingParams

PROMPTS = [[1, 2, 3], [3, 4], [6, 5, 4, 3, 2, 1], [2], [1, 1]]


def draw_all(model, prompts, samples, params, longest=toy.LONGEST, rows=10**6):
    return sample(
        model,
        prompts,
        group_size=samples,
        max_new_tokens=longest,
        eos_ids=[toy.END],
        pad_id=0,
        limits=Limits(rows, 1),
        stream=(0, "test"),
        params=params,
    )


def next_token(model, ids, params):
    """The distribution of the next token by transformers' own rules."""
    logits = model.lm_head(model(torch.tensor([ids]))[:, -1]).detach().double()
    logits = TemperatureLogitsWarper(params.temperature)(None, logits)
    if params.top_p < 1:
        logits = TopPLogitsWarper(params.top_p)(None, logits)
    return logits.softmax(1)[0]


@pytest.mark.parametrize("params", [SamplingParams(0.6), SamplingParams(1.7), SamplingParams(2.5, 0.8)])
def test_samples_follow_the_enumerated_distribution(params):
    model, count = toy.decoder(), 20_000
    drawn = draw_all(model, [toy.PROMPT], count, params)
    rows = [tuple(row[:length]) for row, length in zip(drawn.tokens.tolist(), drawn.lengths.tolist(), strict=True)]
    chances = []
    for completion in toy.completions():
        places = range(len(completion))
        parts = [next_token(model, [*toy.PROMPT, *completion[:place]], params)[completion[place]] for place in places]
        chances.append(float(torch.stack(parts).prod()))
    expected = np.array(chances)
    assert expected.sum() == pytest.approx(1, abs=1e-6)
    observed = np.array([rows.count(completion) for completion in toy.completions()])
    assert observed.sum() == count and (observed[expected == 0] == 0).all()
    possible = expected > 0
    assert params.top_p == 1 or 1 < possible.sum() < len(possible)
    assert chisquare(observed[possible], expected[possible] / expected.sum() * count).pvalue > 1e-3


@pytest.mark.parametrize("top_p", [1e-9, 0.1, 0.5, 0.9, 0.999, 1 - 1e-7])
def test_top_p_keeps_the_tokens_that_transformers_keeps(top_p):
    logits = 3 * torch.randn(200, 50, generator=torch.Generator().manual_seed(0))
    probabilities = logits.softmax(1)
    kept = SamplingParams(top_p=top_p).truncated(probabilities)
    warped = TopPLogitsWarper(top_p)(None, logits.double())
    assert torch.equal(kept > 0, warped.isfinite())
    assert torch.equal(kept[kept > 0], probabilities[kept > 0])
    assert (kept > 0).any(1).all()


def test_of_equal_probabilities_the_same_ones_stay_everywhere():
    probabilities = torch.full((3, 8), 1 / 8)
    kept = SamplingParams(top_p=0.5).truncated(probabilities) > 0
    assert kept.sum(1).tolist() == [4, 4, 4] and torch.equal(kept[0], kept[1])


def test_the_defaults_change_no_bit():
    probabilities = torch.rand(3, 8).softmax(1)
    assert PLAIN.truncated(probabilities) is probabilities
    logits = torch.randn(3, 8)
    assert torch.equal(PLAIN.log_probs(logits.clone()), logits.log_softmax(1))
    assert SamplingParams.of(Training()) == PLAIN


@pytest.mark.parametrize("rows", [1, 16, 40])
def test_how_many_rows_are_decoded_at_once_changes_nothing(rows):
    model, params = toy.decoder(vocabulary=7), SamplingParams(1.4, 0.8)
    whole, parted = (draw_all(model, PROMPTS, 16, params, 30, count) for count in (80, rows))
    assert torch.equal(whole.tokens, parted.tokens) and torch.equal(whole.lengths, parted.lengths)
    torch.testing.assert_close(whole.log_probs, parted.log_probs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("params", [SamplingParams(0.7), SamplingParams(1.5, 0.8)])
def test_recorded_log_probs_equal_the_training_pass(params):
    model = toy.decoder(vocabulary=7)
    drawn = draw_all(model, PROMPTS, 8, params, 40)
    lengths = drawn.lengths.tolist()
    assert len(set(lengths)) > 3
    for prefix, batch in toy.batched(model, PROMPTS, drawn.tokens, lengths, range(40), 60):
        values, entropies = token_log_probs(model, prefix, batch, True, params.temperature)
        torch.testing.assert_close(values, batch.gather(drawn.log_probs), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(entropies, batch.gather(drawn.entropies), atol=1e-5, rtol=1e-5)


def flattened(model, temperature):
    """A model whose distributions at temperature 1 are those of `model` at `temperature`."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.lm_head.weight /= temperature
    return other


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"updates_per_batch": 2},
        {"entropy_coef": 0.3},
        {"kl_coef": 0.2},
        {"threads": 2, "max_microbatch_tokens": 20},
    ],
)
def test_the_update_is_that_of_a_policy_with_flatter_logits(options):
    """Loss, KL and every gradient, except that of the head itself, which is 1/T of the other's."""
    model, temperature, found = toy.decoder(vocabulary=7), 1.6, []
    drawn = draw_all(model, PROMPTS, 4, SamplingParams(temperature), 20)
    scores = [Score(0.0, False, False, 0, 0, False)] * 20
    rollouts = Rollouts(PROMPTS, [""] * 5, drawn, [""] * 20, scores, 4)
    weights = np.random.default_rng(0).normal(size=(5, 4))
    for scale, temperature_of_settings in ((1.0, temperature), (temperature, 1.0)):
        policy, base = flattened(model, scale), flattened(toy.decoder(seed=3, vocabulary=7), scale)
        settings = Training(max_new_tokens=20, temperature=temperature_of_settings, **options)
        reference = None
        if "kl_coef" in options:
            # `kl.reference_model` makes the same call.
            reference = lambda samples, budget, base=base, settings=settings: log_probs(  # noqa: E731
                base, samples, budget, settings.temperature
            )
        updater, gradients = toy.updater(settings, policy, reference), {}
        optimizer = updater.engine.optimizer

        def step(*_, optimizer=optimizer, gradients=gradients):
            gradients.update({name: value.clone() for name, value in optimizer.gradients().items()})
            optimizer.discard()
            return 0.0

        optimizer.step = step
        found.append((updater.update(0, rollouts, weights), gradients))
    (facts, ours), (expected, theirs) = found
    assert facts == pytest.approx(expected, rel=1e-4)
    theirs["lm_head.weight"] /= temperature
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, atol=1e-6, rtol=1e-3)
