"""Sampling is exact, independent of a row's neighbours, and agrees with the training pass."""

import numpy as np
import pytest
import torch
import toy
from scipy.stats import chisquare

from softmax_rewards.limits import Limits
from softmax_rewards.models.decoder import Cache
from softmax_rewards.objective import batches, token_log_probs
from softmax_rewards.randomness import numpy_stream
from softmax_rewards.rollout import Noise, sample


def draw(model, prompts, samples, seed=0, longest=toy.LONGEST, greedy=False, rows=10**6, limits=None):
    return sample(
        model,
        prompts,
        samples=samples,
        max_new_tokens=longest,
        eos_ids=[toy.END],
        pad_id=0,
        limits=limits or Limits(rows, 1),
        stream=None if greedy else (seed, "test"),
    )


@pytest.mark.parametrize("others", [[], [[2]], [[2, 2, 2, 1], [1]]])
def test_samples_follow_the_enumerated_distribution_whatever_shares_their_batch(others):
    model, count = toy.decoder(), 20_000
    drawn = draw(model, [toy.PROMPT, *others], count)
    rows = [
        tuple(row[:length])
        for row, length in zip(drawn.tokens[:count].tolist(), drawn.lengths[:count].tolist(), strict=True)
    ]
    expected = toy.log_probs(model).exp().detach().double().numpy()
    assert expected.sum() == pytest.approx(1, abs=1e-6)
    observed = [rows.count(completion) for completion in toy.completions()]
    assert sum(observed) == count
    assert chisquare(observed, expected / expected.sum() * count).pvalue > 1e-3


def test_a_row_does_not_depend_on_its_neighbours():
    model = toy.decoder(vocabulary=7)
    for other in ([3, 4], [6, 5, 4, 3, 2, 1], [2]):
        drawn = draw(model, [[1, 2, 3], other], 16, longest=30)
        again = draw(model, [[1, 2, 3], [5, 5]], 16, longest=30)
        assert torch.equal(drawn.tokens[:16], again.tokens[:16])
        assert torch.equal(drawn.lengths[:16], again.lengths[:16])


def test_a_large_vocabulary_is_sampled_exactly_too():
    """One position over 20,000 tokens, so few rows a block of noise that batches cross them."""
    vocabulary, count = 20_000, 3000
    logits = torch.linspace(0, 6, vocabulary)
    noise, drawn = Noise((0, "test"), 0, vocabulary), []
    for start in range(0, count, 100):
        noise = Noise((0, "test"), start, vocabulary)
        noise.serve(torch.arange(100))
        drawn.append((logits - noise.draw().log()).argmax(1))
    assert noise.size < 64
    observed = torch.cat(drawn).bincount(minlength=vocabulary).view(20, -1).sum(1)
    expected = logits.double().softmax(0).view(20, -1).sum(1) * count
    assert chisquare(observed, expected).pvalue > 1e-3


def test_noise_is_a_matter_of_the_row_and_the_position():
    def positions(first, alive, count=3):
        noise = Noise((0, "test"), first, 50)
        noise.serve(torch.arange(200))
        noise.serve(torch.tensor(alive))
        return torch.stack([noise.draw() for _ in range(count)])

    whole = positions(0, list(range(200)))
    assert torch.equal(positions(70, [0, 3, 60, 120]), whole[:, [70, 73, 130, 190]])
    flat = whole.flatten()
    assert len(flat.unique()) > 0.999 * len(flat)  # nothing is drawn twice
    assert flat.mean().item() == pytest.approx(1, abs=0.02) and flat.var().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("rows", [1, 16, 40, 100])
def test_how_many_rows_are_decoded_at_once_changes_nothing(rows):
    model = toy.decoder(vocabulary=7)
    prompts = [[1, 2, 3], [3, 4], [6, 5, 4, 3, 2, 1], [2], [1, 1]]
    whole, parted = (draw(model, prompts, 16, longest=30, rows=count) for count in (80, rows))
    assert torch.equal(whole.tokens, parted.tokens) and torch.equal(whole.lengths, parted.lengths)
    torch.testing.assert_close(whole.log_probs, parted.log_probs, atol=1e-5, rtol=0)


def test_out_of_memory_halves_the_rows_decoded_at_once_and_changes_nothing(monkeypatch, capsys):
    model = toy.decoder(vocabulary=7)
    prompts = [[1, 2, 3], [3, 4], [6, 5], [2], [1, 1]]
    whole = draw(model, prompts, 16, longest=30)

    class SmallCache(Cache):
        def repeat(self, times):
            if self.store.shape[2] * times > 40:
                raise torch.OutOfMemoryError("no room for so many rows")
            super().repeat(times)

    monkeypatch.setattr("softmax_rewards.rollout.Cache", SmallCache)
    limits = Limits(1000, 1)
    for _ in range(2):
        assert torch.equal(whole.tokens, draw(model, prompts, 16, longest=30, limits=limits).tokens)
        assert limits == Limits(32, 1)
    assert capsys.readouterr().out.count("going on with training.rollout_rows 32") == 1  # the second call knew
    with pytest.raises(torch.OutOfMemoryError):  # a single prompt's samples are not taken apart
        draw(model, prompts, 41, longest=30)


@pytest.mark.parametrize("tokens", [1, 7, 12])
def test_reading_the_prompts_in_parts_changes_nothing(monkeypatch, tokens):
    model = toy.decoder(vocabulary=7)
    prompts = [[1, 2, 3], [3, 4], [6, 5, 4, 3, 2, 1], [2], [1, 1]]
    whole = draw(model, prompts, 4, longest=30)
    monkeypatch.setattr("softmax_rewards.rollout.PREFILL_TOKENS", tokens)
    parted = draw(model, prompts, 4, longest=30)
    assert torch.equal(whole.tokens, parted.tokens)
    torch.testing.assert_close(whole.log_probs, parted.log_probs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("greedy", [False, True])
def test_recorded_log_probs_equal_the_training_pass(greedy):
    model = toy.decoder(vocabulary=7)
    prompts = [[1], [2, 3, 4], [5, 6], [1, 1, 1, 1, 1]]
    drawn = draw(model, prompts, 8, longest=40, greedy=greedy)
    lengths = drawn.lengths.tolist()
    assert len(set(lengths)) > 3 or greedy  # rows ended at different times: the batch was compacted
    seen = 0
    for batch in batches(prompts, drawn.tokens, lengths, 8, range(32), token_budget=100):
        values, _ = token_log_probs(model, batch)
        torch.testing.assert_close(values, batch.gather(drawn.log_probs), atol=1e-5, rtol=1e-5)
        assert torch.equal(batch.targets, batch.gather(drawn.tokens))
        seen += len(values)
    assert seen == sum(lengths)


def test_nothing_follows_the_end_token():
    drawn = draw(toy.decoder(vocabulary=7), [[1], [2, 3]], 32, longest=40)
    for row, length, finished in zip(
        drawn.tokens.tolist(), drawn.lengths.tolist(), drawn.finished.tolist(), strict=True
    ):
        assert finished == (row[length - 1] == toy.END)
        assert toy.END not in row[: length - 1]
        assert set(row[length:]) <= {0}
        assert finished or length == 40


def test_greedy_decoding_takes_the_most_probable_token():
    model = toy.decoder(vocabulary=7)
    (row,) = draw(model, [[1, 2]], 1, longest=12, greedy=True).tokens.tolist()
    ids = [1, 2]
    for token in row:
        assert token == int(model.lm_head(model(torch.tensor([ids]))[0, -1]).argmax())
        if token == toy.END:
            break
        ids.append(token)


def test_streams_are_named_by_their_whole_key():
    draws = {
        tuple(numpy_stream(*key).integers(1 << 60, size=2))
        for key in [(0, "a", 1), (0, "a", 2), (1, "a", 1), (0, "b", 1)]
    }
    assert len(draws) == 4
    assert np.array_equal(numpy_stream(3, "x").random(5), numpy_stream(3, "x").random(5))
