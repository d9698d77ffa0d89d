"""Sampling is exact, independent of a row's neighbors, and agrees with the training pass."""

import gc
import itertools
import weakref
from fractions import Fraction

import numpy as np
import pytest
import torch
import toy
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.fx.experimental.proxy_tensor import make_fx

from softmax_rewards.common.randomness import numpy_stream
from softmax_rewards.models.kv_cache import Cache
from softmax_rewards.policy import decoding, sampling
from softmax_rewards.policy.decoding import DecodingBatch, draw
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.objective import token_log_probs
from softmax_rewards.policy.sampling import sample


def draw_all(model, prompts, samples, seed=0, longest=toy.LONGEST, greedy=False, rows=10**6, limits=None):
    return sample(
        model,
        prompts,
        group_size=samples,
        max_new_tokens=longest,
        eos_ids=[toy.END],
        pad_id=0,
        limits=limits or Limits(rows, 1),
        stream=None if greedy else (seed, "test"),
    )


@pytest.mark.parametrize("others", [[], [[2]], [[2, 2, 2, 1], [1]]])
def test_samples_follow_the_enumerated_distribution_whatever_shares_their_batch(others):
    model, count = toy.decoder(), 20_000
    drawn = draw_all(model, [toy.PROMPT, *others], count)
    rows = [
        tuple(row[:length])
        for row, length in zip(drawn.tokens[:count].tolist(), drawn.lengths[:count].tolist(), strict=True)
    ]
    expected = toy.log_probs(model).exp().detach().double().numpy()
    assert expected.sum() == pytest.approx(1, abs=1e-6)
    observed = [rows.count(completion) for completion in toy.completions()]
    assert sum(observed) == count
    assert chisquare(observed, expected / expected.sum() * count).pvalue > 1e-3


def test_a_row_does_not_depend_on_its_neighbors():
    model = toy.decoder(vocabulary=7)
    for other in ([3, 4], [6, 5, 4, 3, 2, 1], [2]):
        drawn = draw_all(model, [[1, 2, 3], other], 16, longest=30)
        again = draw_all(model, [[1, 2, 3], [5, 5]], 16, longest=30)
        assert torch.equal(drawn.tokens[:16], again.tokens[:16])
        assert torch.equal(drawn.lengths[:16], again.lengths[:16])


def test_a_large_vocabulary_is_sampled_exactly_too():
    vocabulary, count = 20_000, 30_000
    probabilities = torch.linspace(0, 6, vocabulary, dtype=torch.float64).softmax(0)
    uniform = torch.rand((count, 1), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = torch.cat([draw(probabilities.float().expand(1000, -1), part) for part in uniform.split(1000)])
    observed = drawn[:, 0].bincount(minlength=vocabulary).view(100, -1).sum(1)
    assert chisquare(observed, probabilities.view(100, -1).sum(1) * count).pvalue > 1e-3


@given(
    st.lists(st.sampled_from([0.0, 1e-38, 1e-12, 0.3, 0.5, 1.0]), min_size=1, max_size=8).filter(any),
    st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 1 - 2**-53])),
)
def test_a_token_is_drawn_for_every_number_and_never_one_without_probability(values, number):
    """Against exact fractions: the first token whose sum exceeds the share of the total."""
    floats = torch.tensor(values)
    (token,) = draw(floats[None], torch.tensor([[number]], dtype=torch.float64))[0].tolist()
    sums = list(itertools.accumulate(map(Fraction, floats.tolist()), initial=Fraction()))
    share, rounding = Fraction(number) * sums[-1], Fraction(1, 2**48)
    assert values[token] > 0
    assert sums[token] <= share * (1 + rounding) and share * (1 - rounding) < sums[token + 1]


class Recording:
    """What `Replay` does on a GPU, on the processor: the operations alone, on the very tensors of the recording."""

    made = 0

    def __init__(self, device):
        self.calls = 0

    def __call__(self, step):
        self.calls += 1
        if self.calls == 1:
            return step()
        if self.calls == 2:
            Recording.made += 1
            self.graph = make_fx(lambda: step())()
        return self.graph()


@pytest.mark.parametrize("greedy", [False, True])
def test_as_on_a_gpu_with_steps_recorded_and_replayed_the_samples_are_the_same(monkeypatch, greedy):
    model = toy.decoder(vocabulary=7)
    prompts = [[1, 2, 3], [3, 4], [6, 5, 4, 3, 2, 1], [2], [1, 1]]
    plain = draw_all(model, prompts, 16, longest=60, greedy=greedy)
    monkeypatch.setattr(decoding, "Replay", Recording)
    monkeypatch.setattr(Recording, "made", 0)
    monkeypatch.setitem(decoding.SCHEDULES, "cpu", decoding.DecodeSchedule(check_every=8, compact_below=0.7, width=16))
    replayed = draw_all(model, prompts, 16, longest=60, greedy=greedy)
    assert Recording.made > 2  # anew after rows were dropped and the cache had grown
    assert torch.equal(plain.tokens, replayed.tokens) and torch.equal(plain.lengths, replayed.lengths)
    for name in ("log_probs", "entropies"):
        torch.testing.assert_close(getattr(plain, name), getattr(replayed, name), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rows", [1, 16, 40, 100])
def test_how_many_rows_are_decoded_at_once_changes_nothing(rows):
    model = toy.decoder(vocabulary=7)
    prompts = [[1, 2, 3], [3, 4], [6, 5, 4, 3, 2, 1], [2], [1, 1]]
    whole, parted = (draw_all(model, prompts, 16, longest=30, rows=count) for count in (80, rows))
    assert torch.equal(whole.tokens, parted.tokens) and torch.equal(whole.lengths, parted.lengths)
    torch.testing.assert_close(whole.log_probs, parted.log_probs, atol=1e-5, rtol=0)


def test_nothing_of_a_rollout_outlives_it(monkeypatch):
    """On a GPU that would be the cache, and the graph with its memory."""
    caches = []
    monkeypatch.setattr(
        decoding, "DecodingBatch", lambda *given: caches.append(weakref.ref(given[1])) or DecodingBatch(*given)
    )
    gc.disable()
    try:
        draw_all(toy.decoder(vocabulary=7), [[1, 2, 3], [3, 4]], 8, longest=30)
        assert len(caches) == 1 and caches[0]() is None
    finally:
        gc.enable()


@pytest.fixture
def threads_restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.usefixtures("threads_restored")
def test_cores_that_decode_rows_of_their_own_change_nothing(monkeypatch, threads):
    model = toy.decoder(vocabulary=7)
    prompts = [[1, 2, 3], [3, 4], [6, 5, 4, 3, 2, 1], [2], [1, 1]]
    whole = draw_all(model, prompts, 16, longest=30)
    monkeypatch.setattr(sampling, "LARGE", 0)
    torch.set_num_threads(threads)
    decode, decoded = decoding.decode, []
    monkeypatch.setattr(decoding, "decode", lambda *given: decoded.append(len(given[1])) or decode(*given))
    parted = draw_all(model, prompts, 16, longest=30)
    assert len(decoded) == threads and sum(decoded) == len(prompts) and torch.get_num_threads() == threads
    assert torch.equal(whole.tokens, parted.tokens) and torch.equal(whole.lengths, parted.lengths)
    torch.testing.assert_close(whole.log_probs, parted.log_probs, atol=1e-5, rtol=0)
    assert not parted.log_probs.requires_grad


def test_out_of_memory_halves_the_rows_decoded_at_once_and_changes_nothing(monkeypatch, capsys):
    model = toy.decoder(vocabulary=7)
    prompts = [[1, 2, 3], [3, 4], [6, 5], [2], [1, 1]]
    whole = draw_all(model, prompts, 16, longest=30)

    class SmallCache(Cache):
        def repeat(self, times):
            if self.rows * times > 40:
                raise torch.OutOfMemoryError("no room for so many rows")
            super().repeat(times)

    monkeypatch.setattr("softmax_rewards.policy.decoding.Cache", SmallCache)
    limits = Limits(1000, 1)
    for _ in range(2):
        assert torch.equal(whole.tokens, draw_all(model, prompts, 16, longest=30, limits=limits).tokens)
        assert limits == Limits(32, 1)
    assert capsys.readouterr().out.count("going on with training.rollout_batch_size 32") == 1  # the second call knew
    with pytest.raises(torch.OutOfMemoryError):  # a single prompt's samples are not taken apart
        draw_all(model, prompts, 41, longest=30)


@pytest.mark.parametrize("tokens", [1, 7, 12])
def test_reading_the_prompts_in_parts_changes_nothing(monkeypatch, tokens):
    model = toy.decoder(vocabulary=7)
    prompts = [[1, 2, 3], [3, 4], [6, 5, 4, 3, 2, 1], [2], [1, 1]]
    whole = draw_all(model, prompts, 4, longest=30)
    monkeypatch.setattr("softmax_rewards.policy.decoding.PREFILL_TOKENS", tokens)
    parted = draw_all(model, prompts, 4, longest=30)
    assert torch.equal(whole.tokens, parted.tokens)
    torch.testing.assert_close(whole.log_probs, parted.log_probs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("greedy", [False, True])
def test_recorded_log_probs_equal_the_training_pass(greedy):
    model = toy.decoder(vocabulary=7)
    prompts = [[1], [2, 3, 4], [5, 6], [1, 1, 1, 1, 1]]
    drawn = draw_all(model, prompts, 8, longest=40, greedy=greedy)
    lengths = drawn.lengths.tolist()
    assert len(set(lengths)) > 3 or greedy  # rows ended at different times: the batch was compacted
    seen = 0
    for read, batch in toy.batched(model, prompts, drawn.tokens, lengths, range(32), 60):
        values, entropies = token_log_probs(model, read, batch, entropies=True)
        torch.testing.assert_close(values, batch.gather(drawn.log_probs), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(entropies, batch.gather(drawn.entropies), atol=1e-5, rtol=1e-5)
        assert torch.equal(batch.targets, batch.gather(drawn.tokens))
        seen += len(values)
    assert seen == sum(lengths)


def test_nothing_follows_the_end_token():
    drawn = draw_all(toy.decoder(vocabulary=7), [[1], [2, 3]], 32, longest=40)
    for row, length, finished in zip(
        drawn.tokens.tolist(), drawn.lengths.tolist(), drawn.finished.tolist(), strict=True
    ):
        assert finished == (row[length - 1] == toy.END)
        assert toy.END not in row[: length - 1]
        assert set(row[length:]) <= {0}
        assert finished or length == 40


def test_greedy_decoding_takes_the_most_probable_token():
    model = toy.decoder(vocabulary=7)
    (row,) = draw_all(model, [[1, 2]], 1, longest=12, greedy=True).tokens.tolist()
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
