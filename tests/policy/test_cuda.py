"""What only a GPU can show: it computes what the processor does, in both precisions, and one job holds it at a time.

Where it can, a test runs on the processor too. There it shows little, but it fails when a name in it is out of date.
"""

import copy
import dataclasses
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
import toy

from softmax_rewards.common.randomness import torch_stream
from softmax_rewards.config.run import Training
from softmax_rewards.data.tasks import Score
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.shape import Shape
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.objective import token_log_probs
from softmax_rewards.policy.optimizer import round_stochastically
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.sampling import sample
from softmax_rewards.training import evaluate, trainer

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
on_each_device = pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=gpu)]
)

WIDE = {
    "vocab_size": 1000,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "tie_word_embeddings": True,
}
PROMPTS = [[1, 2, 3], [3, 4], [6, 5, 4, 3, 2, 1]]


def both(family: str, device: str) -> tuple[Decoder, Decoder]:
    """The same random model on the processor and on `device`."""
    model = Decoder(Shape.from_config({**WIDE, "model_type": family})).initialize(torch.Generator().manual_seed(0), 0.1)
    return model, copy.deepcopy(model).to(device)


@on_each_device
@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama"])
def test_logits_and_greedy_answers_equal_those_of_the_processor(family, device):
    host, other = both(family, device)
    ids = torch.randint(1000, (3, 200), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, got = (model.lm_head(model(ids.to(model.norm.weight.device))).cpu() for model in (host, other))
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)
    settings = {
        "group_size": 2,
        "max_new_tokens": 40,
        "eos_ids": [0],
        "pad_id": 0,
        "limits": Limits(4, 1),
        "stream": None,
    }
    expected, got = (sample(model, PROMPTS, **settings).tokens.cpu() for model in (host, other))
    assert torch.equal(got, expected)


@on_each_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("state", ["device", "host"])
def test_an_update_equals_that_of_the_processor(dtype, state, device):
    host = toy.decoder(vocabulary=7)
    drawn = sample(
        host, PROMPTS, group_size=8, max_new_tokens=20, eos_ids=[0], pad_id=0, limits=Limits(100, 1), stream=(0, "test")
    )
    scores = [Score(float(row % 3 == 0), row % 3 == 0, True, 1, 0, False) for row in range(24)]
    weights = np.random.default_rng(0).normal(size=(3, 8))
    before = torch.cat([value.detach().flatten() for value in host.parameters()])
    found = []
    for place in ("cpu", device):
        policy = copy.deepcopy(host).to(place, dtype)
        settings = Training(max_new_tokens=20, learning_rate=1e-2, optimizer_state=state, max_microbatch_tokens=60)
        fields = {name: getattr(drawn, name).to(place) for name in ("tokens", "log_probs", "lengths", "finished")}
        rollouts = Rollouts(PROMPTS, [""] * 3, dataclasses.replace(drawn, **fields), [""] * 24, scores, 8)
        facts = toy.updater(settings, policy).update(0, rollouts, weights)
        found.append((facts, torch.cat([value.detach().float().cpu().flatten() for value in policy.parameters()])))
    if dtype == torch.bfloat16:  # a device has its own random numbers, so stochastic rounding keeps other weights
        unchanged = [facts.pop("unchanged_weights") for facts, _ in found]
        assert unchanged[1] == pytest.approx(unchanged[0], abs=0.02)
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4 if dtype == torch.float32 else 0.05, abs=1e-5)
    if dtype == torch.float32:
        assert ((found[0][1] - found[1][1]).abs() < 1e-4).float().mean() > 0.99  # AdamW's first step has the sign of ~0
    else:
        moves = torch.stack([weights - before for _, weights in found])
        assert torch.corrcoef(moves)[0, 1] > 0.8


@on_each_device
def test_reading_the_prompts_in_parts_and_dropping_rows_changes_nothing(monkeypatch, device):
    _, model = both("qwen2", device)
    settings = {
        "group_size": 40,
        "max_new_tokens": 60,
        "eos_ids": list(range(50)),
        "pad_id": 0,
        "limits": Limits(120, 1),
    }
    whole = sample(model, PROMPTS, **settings, stream=(0, "test"))
    monkeypatch.setattr("softmax_rewards.policy.decoding.PREFILL_TOKENS", 1)
    parted = sample(model, PROMPTS, **settings, stream=(0, "test"))
    assert (whole.tokens == parted.tokens).float().mean() > 0.99  # sums in another order may tip a close draw
    assert len(set(whole.lengths.tolist())) > 3


@on_each_device
def test_sampled_log_probs_equal_the_training_pass(device):
    _, model = both("qwen2", device)
    drawn = sample(
        model,
        PROMPTS,
        group_size=64,
        max_new_tokens=60,
        eos_ids=[0],
        pad_id=0,
        limits=Limits(64, 1),
        stream=(0, "test"),
    )
    lengths = drawn.lengths.tolist()
    for read, batch in toy.batched(model, PROMPTS, drawn.tokens, lengths, range(192), 4000):
        values, _ = token_log_probs(model, read, batch)
        torch.testing.assert_close(values, batch.gather(drawn.log_probs), atol=1e-3, rtol=1e-3)


@on_each_device
def test_stochastic_rounding_keeps_the_mean(device):
    values = torch.tensor([1.001, -3.14159, 1e-8], device=device).repeat_interleave(1_000_000)
    out = torch.empty_like(values, dtype=torch.bfloat16)
    round_stochastically(values.clone(), out, torch_stream(0, "test", device=device))
    means = out.float().view(3, -1).mean(1)
    torch.testing.assert_close(means, values.view(3, -1)[:, 0], atol=0, rtol=1e-5)


@on_each_device
@pytest.mark.parametrize(
    "memory",
    [
        {},
        {"precision": "bfloat16"},
        {"precision": "bfloat16", "optimizer_state": "host"},
        {"precision": "bfloat16", "injection": 1.1},
        {"updates_per_batch": 2, "entropy_coef": 0.01, "skip_equal": True, "rollout_batch_size": 4},
    ],
)
def test_a_run_trains_and_is_judged(tiny, tmp_path, memory, device):
    run, data, base = tiny
    settings = dataclasses.replace(run.training, device=device, steps=4, gradient_checkpointing=bool(memory), **memory)
    run = dataclasses.replace(run, training=settings)
    trainer.train(run, data, base, tmp_path)
    evaluate.final(tmp_path, data)
    metrics = pd.read_csv(tmp_path / "metrics.csv")
    assert np.isfinite(metrics[["loss", "grad_norm", "entropy"]]).all(axis=None)
    assert (pd.read_csv(tmp_path / "timing.csv")["memory_mb"] > 0).all()


@gpu
def test_running_out_of_device_memory_halves_the_microbatch(capsys):
    _, policy = both("qwen2", "cuda")
    drawn = sample(
        policy,
        PROMPTS,
        group_size=64,
        max_new_tokens=60,
        eos_ids=[],
        pad_id=0,
        limits=Limits(192, 1),
        stream=(0, "test"),
    )
    scores = [Score(0.0, False, False, 0, 0, False)] * 192
    rollouts = Rollouts(PROMPTS, [""] * 3, drawn, [""] * 192, scores, 64)
    updater = toy.updater(Training(max_new_tokens=60, max_microbatch_tokens=20_000), policy)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 120e6) / total)
    try:
        facts = updater.update(0, rollouts, np.random.default_rng(0).normal(size=(3, 64)))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert updater.limits.max_microbatch_tokens < 20_000 and np.isfinite(list(facts.values())).all()
    assert "out of memory" in capsys.readouterr().out


@gpu
def test_one_job_at_a_time_holds_the_device():
    code = (
        "import sys, time; from softmax_rewards.common import devices; name = devices.lease(); import torch;"
        "print(torch.cuda.device_count(), name, flush=True); time.sleep(float(sys.argv[1]))"
    )
    count = torch.cuda.device_count()
    holders = [
        subprocess.Popen([sys.executable, "-c", code, "60"], stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    try:
        names = [holder.stdout.readline().split() for holder in holders]
        assert {seen for seen, _ in names} == {"1"} and len({name for _, name in names}) == count
        waiting = subprocess.Popen([sys.executable, "-c", code, "0"], stdout=subprocess.PIPE, text=True)
        assert "waiting for one" in waiting.stdout.readline()
        holders[0].kill()
        began = time.monotonic()
        assert waiting.stdout.readline().split() == names[0]
        assert time.monotonic() - began < 30
    finally:
        for process in holders:
            process.kill()
