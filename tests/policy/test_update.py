"""The update: micro-batches, running out of memory, checkpointing and precision change how, not what is computed."""

import copy

import numpy as np
import pytest
import torch
import toy

from softmax_rewards.config.run import Training
from softmax_rewards.data.tasks import Score
from softmax_rewards.policy import gradients, optimizer
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.micro_batches import Samples
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.sampling import sample

PROMPTS, SAMPLES, LONGEST = [[1, 2, 3], [3, 4], [6, 5, 4, 3, 2, 1]], 8, 20


@pytest.fixture(scope="module")
def model():
    return toy.decoder(vocabulary=7)


@pytest.fixture(scope="module")
def rollouts(model):
    drawn = sample(
        model,
        PROMPTS,
        group_size=SAMPLES,
        max_new_tokens=LONGEST,
        eos_ids=[0],
        pad_id=0,
        limits=Limits(100, 1),
        stream=(0, "test"),
    )
    scores = [Score(float(row % 3 == 0), row % 3 == 0, True, 1, 0, False) for row in range(len(PROMPTS) * SAMPLES)]
    return Rollouts(PROMPTS, ["", "", ""], drawn, [""] * len(scores), scores, SAMPLES)


WEIGHTS = np.random.default_rng(0).normal(size=(len(PROMPTS), SAMPLES))


def updated(model, rollouts, dtype=torch.float32, **settings):
    """(facts of the update, the new weights, the updater)"""
    policy = copy.deepcopy(model).to(dtype)
    policy.gradient_checkpointing = settings.get("gradient_checkpointing", False)
    training = Training(max_new_tokens=LONGEST, learning_rate=1e-3, **settings)
    updater = toy.updater(training, policy)
    facts = updater.update(0, rollouts, WEIGHTS)
    return facts, torch.cat([value.detach().flatten() for value in policy.parameters()]), updater


def assert_same(one, other):
    assert one[0] == pytest.approx(other[0], rel=1e-4, abs=1e-6)
    torch.testing.assert_close(one[1], other[1], atol=2e-5, rtol=0)  # AdamW's first step turns rounding of ~0 into more


@pytest.mark.parametrize(
    "settings",
    [
        {"max_microbatch_tokens": 1},
        {"max_microbatch_tokens": 60},
        {"gradient_checkpointing": True},
        {"optimizer_state": "host"},
        {"threads": 2, "max_microbatch_tokens": 20},
    ],
)
@pytest.mark.parametrize(
    "options", [{}, {"updates_per_batch": 3}, {"entropy_coef": 0.1}, {"loss_aggregation": "seq-mean"}]
)
def test_how_memory_is_saved_changes_nothing(model, rollouts, settings, options):
    assert_same(updated(model, rollouts, **options), updated(model, rollouts, **options, **settings))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_out_of_memory_halves_the_microbatch_and_leaves_the_result(model, rollouts, monkeypatch, capsys, dtype):
    whole = updated(model, rollouts, dtype, max_microbatch_tokens=400)
    compute, passes = gradients.token_log_probs, []

    def with_little_memory(policy, prompts, batch, *options):
        passes.append(batch.ids.numel())
        if batch.ids.numel() > 150 or len(passes) == 4:  # the fourth after others have left their gradients
            raise torch.OutOfMemoryError("not enough memory")
        return compute(policy, prompts, batch, *options)

    monkeypatch.setattr(gradients, "token_log_probs", with_little_memory)
    again = updated(model, rollouts, dtype, max_microbatch_tokens=10**6)
    if dtype == torch.float32:
        assert_same(whole, again)
    else:
        torch.testing.assert_close(whole[1].float(), again[1].float(), atol=2.1e-3, rtol=2**-6)  # twice the rate
    assert again[2].limits.max_microbatch_tokens <= 150
    assert len(passes) < 30  # what failed is not tried again in the same size
    assert "going on with training.max_microbatch_tokens" in capsys.readouterr().out

    def with_none(*_):
        raise torch.OutOfMemoryError("not enough memory")

    monkeypatch.setattr(gradients, "token_log_probs", with_none)
    with pytest.raises(torch.OutOfMemoryError):
        updated(model, rollouts, dtype, max_microbatch_tokens=400)


def test_without_rows_running_out_of_memory_ends_too(model, rollouts):
    """A KL penalty computes all samples, also where none of them counts in the update."""
    updater = updated(model, rollouts, torch.float32, max_microbatch_tokens=400)[2]
    budgets = []

    def compute(budget):
        budgets.append(budget)
        raise torch.OutOfMemoryError("not enough memory")

    samples = Samples(rollouts.prompts, rollouts.completions.tokens, rollouts.completions.lengths.tolist())
    with pytest.raises(torch.OutOfMemoryError):
        updater.within_memory(samples, np.array([], dtype=int), compute)
    assert budgets == sorted(set(budgets), reverse=True) and budgets[-1] == 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"updates_per_batch": 3},
        {"entropy_coef": 0.5},
        {"loss_aggregation": "seq-mean"},
        {"skip_unfinished": True},
        {"updates_per_batch": 2, "entropy_coef": 0.5},
    ],
)
def test_loss_and_weights_equal_a_direct_computation(model, rollouts, options):
    """The formula row by row, with full logits, and PyTorch's optimizer."""
    facts, weights, updater = updated(model, rollouts, **options)
    policy = copy.deepcopy(model)
    adamw = torch.optim.AdamW(policy.parameters(), lr=1e-3, weight_decay=0.0)
    lengths, ended = rollouts.completions.lengths.tolist(), rollouts.completions.finished.tolist()
    kept = [row for row in range(len(lengths)) if ended[row] or not options.get("skip_unfinished")]
    total, old, found = sum(lengths[row] for row in kept), {}, []
    clipped = []
    for _ in range(options.get("updates_per_batch", 1)):
        loss = 0.0
        for row in kept:
            prompt, answer = PROMPTS[row // SAMPLES], rollouts.completions.tokens[row, : lengths[row]]
            ids = torch.cat([torch.tensor(prompt), answer])
            logits = policy.lm_head(policy(ids[None, :-1]))[0, len(prompt) - 1 :].log_softmax(-1)
            own = logits.gather(1, answer[:, None])[:, 0]
            ratio = (own - old.setdefault(row, own.detach())).exp()
            weight = WEIGHTS[row // SAMPLES, row % SAMPLES]
            if found:  # every update after the first
                clipped += ((ratio > 1.2) if weight > 0 else (ratio < 0.8)).tolist()
            gain = (
                torch.minimum(ratio * weight, ratio.clamp(0.8, 1.2) * weight)
                if "updates_per_batch" in options
                else own * weight
            )
            spread = -(logits.exp() * logits).sum(-1)
            scale = 1 / (len(kept) * lengths[row]) if options.get("loss_aggregation") == "seq-mean" else 1 / total
            loss = loss - scale * (gain + options.get("entropy_coef", 0.0) * spread).sum()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0).item()
        found.append({"loss": loss.item(), "grad_norm": norm})
        adamw.step()
        adamw.zero_grad()
    expected = found[0] | ({"clip_fraction": np.mean(clipped)} if clipped else {})
    assert facts == pytest.approx(expected, rel=1e-4, abs=1e-6)
    expected = torch.cat([value.detach().flatten() for value in policy.parameters()])
    torch.testing.assert_close(weights, expected, atol=2e-5 * len(found), rtol=0)
    assert isinstance(updater.engine.optimizer, optimizer.DeviceAdamW)


def test_the_optimizer_is_that_of_the_settings(model, rollouts):
    for dtype, state, kind in [
        (torch.float32, "host", optimizer.HostAdamW),
        (torch.bfloat16, "host", optimizer.HostAdamW),
        (torch.bfloat16, "device", optimizer.RoundedAdamW),
    ]:
        assert type(updated(model, rollouts, dtype, optimizer_state=state)[2].engine.optimizer) is kind


def test_bfloat16_follows_float32(model, rollouts):
    before = torch.cat([value.detach().flatten() for value in model.parameters()])
    facts, exact, _ = updated(model, rollouts)
    for state in ("device", "host"):
        coarse, weights, _ = updated(model, rollouts, torch.bfloat16, optimizer_state=state)
        assert coarse["loss"] == pytest.approx(facts["loss"], rel=0.1)
        assert coarse["grad_norm"] == pytest.approx(facts["grad_norm"], rel=0.3)  # the toy's large weights are steep
        assert (weights.float() - exact).abs().max() < 2**-7 * before.abs().max()


@pytest.mark.parametrize("options", [{}, {"updates_per_batch": 2}, {"gradient_checkpointing": True}])
def test_threads_change_no_bit(model, rollouts, options):
    alone, together = (
        updated(model, rollouts, max_microbatch_tokens=20, threads=threads, **options)[:2] for threads in (1, 3)
    )
    assert alone[0] == together[0] and torch.equal(alone[1], together[1])


@pytest.mark.parametrize("options", [{}, {"updates_per_batch": 2}, {"loss_aggregation": "seq-mean"}])
def test_answers_of_weight_zero_are_left_out_and_nobody_can_tell(model, rollouts, monkeypatch, options):
    weights = WEIGHTS * (np.arange(WEIGHTS.size).reshape(WEIGHTS.shape) % 3 == 0)
    seen, compute = [], gradients.Gradients.add

    def add_all(self, samples, rows, *rest, **more):
        seen.append(len(rows))
        return compute(self, samples, range(weights.size), *rest, **more)

    monkeypatch.setattr(f"{__name__}.WEIGHTS", weights)
    sparing = updated(model, rollouts, **options)
    monkeypatch.setattr(gradients.Gradients, "add", add_all)
    assert_same(sparing, updated(model, rollouts, **options))
    assert set(seen) == {np.count_nonzero(weights)}


def test_where_all_weights_are_zero_momentum_moves_the_policy_on(model, rollouts):
    policy = copy.deepcopy(model)
    updater = toy.updater(Training(max_new_tokens=LONGEST, learning_rate=1e-3), policy)
    updater.update(0, rollouts, WEIGHTS)
    before = torch.cat([value.detach().flatten() for value in policy.parameters()])
    assert updater.update(1, rollouts, np.zeros_like(WEIGHTS)) == {"loss": 0.0, "grad_norm": 0.0}
    after = torch.cat([value.detach().flatten() for value in policy.parameters()])
    assert (after - before).abs().max() > 1e-4


def test_skipped_answers_leave_the_weights_alone(model, rollouts):
    equal = copy.copy(rollouts)
    object.__setattr__(equal, "scores", [rollouts.scores[0]] * len(rollouts.scores))
    facts, weights, _ = updated(model, equal, skip_equal=True)
    assert facts == {"loss": 0.0, "grad_norm": 0.0}
    assert torch.equal(weights, torch.cat([value.detach().flatten() for value in model.parameters()]))


@pytest.mark.parametrize("options", [{}, {"updates_per_batch": 2}, {"loss_aggregation": "seq-mean"}, {"threads": 2}])
def test_the_kl_penalty_equals_a_direct_computation(model, rollouts, monkeypatch, options):
    monkeypatch.setattr(f"{__name__}.WEIGHTS", np.zeros_like(WEIGHTS))  # rows of weight 0 are penalised, too
    other = toy.decoder(vocabulary=7, seed=3)
    lengths = rollouts.completions.lengths.tolist()
    policy = copy.deepcopy(model)
    settings = Training(max_new_tokens=LONGEST, kl_coef=0.4, max_microbatch_tokens=50, **options)
    updater = toy.updater(
        settings, policy, reference=lambda samples, budget: gradients.log_probs(other, samples, budget)
    )
    facts = updater.update(0, rollouts, WEIGHTS)
    assert facts.pop("clip_fraction", None) is None  # no token has a weight that could be clipped

    direct, loss, mean = copy.deepcopy(model), 0.0, 0.0
    for row, length in enumerate(lengths):
        prompt, answer = PROMPTS[row // SAMPLES], rollouts.completions.tokens[row, :length]
        ids = torch.cat([torch.tensor(prompt), answer])[None]
        places = slice(len(prompt) - 1, len(prompt) - 1 + length)
        own, theirs = (
            net.lm_head(net(ids)[0, places]).log_softmax(-1).gather(1, answer[:, None])[:, 0] for net in (direct, other)
        )
        ratio = (theirs.detach() - own).exp()
        penalty = (ratio - ratio.log() - 1).sum()
        scale = 1 / (len(lengths) * length) if options.get("loss_aggregation") == "seq-mean" else 1 / sum(lengths)
        loss, mean = loss + 0.4 * scale * penalty, mean + penalty.item() / sum(lengths)
    loss.backward()
    norm = torch.nn.utils.get_total_norm([value.grad for value in direct.parameters()]).item()
    assert facts == pytest.approx({"loss": loss.item(), "grad_norm": norm, "kl": mean}, rel=1e-4)


@pytest.mark.parametrize("options", [{}, {"threads": 2}])
def test_the_cosine_is_that_of_two_halves_of_the_prompts(model, rollouts, options):
    def gradient(chosen):
        policy = copy.deepcopy(model)
        updater = toy.updater(Training(max_new_tokens=LONGEST), policy)
        rows = np.isin(np.arange(WEIGHTS.size) // SAMPLES, chosen).reshape(WEIGHTS.shape)
        found = {}
        updater.engine.optimizer.step = lambda *_: found.update(updater.engine.optimizer.gradients()) or 0.0
        updater.update(0, rollouts, WEIGHTS * rows)
        return torch.cat([value.flatten() for value in found.values()])

    plain = updated(model, rollouts, max_microbatch_tokens=50)
    measured = updated(model, rollouts, measure_noise=True, max_microbatch_tokens=50, **options)
    expected = torch.cosine_similarity(gradient([0, 2]), gradient([1]), dim=0).item()
    assert measured[0].pop("gradient_cosine") == pytest.approx(expected, abs=1e-4)
    assert_same(plain, measured)
