"""The warm start: one supervised loop for every source."""

import dataclasses
import subprocess
import sys

import pytest
import torch

from softmax_rewards.common import files
from softmax_rewards.common.randomness import numpy_stream
from softmax_rewards.data import dataset, tasks
from softmax_rewards.models import catalogue, checkpoint
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.models.warm_start import NONE
from softmax_rewards.training import base_model
from softmax_rewards.training.warm_start import warmup_cosine

TASK = {"name": "countdown", "numbers": 2, "train": 40, "warm_start": 40, "test": 8}
SIZE = {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 32}
CONFIG = {
    "model_type": "llama",
    "vocab_size": 259,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "eos_token_id": 0,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("data")
    dataset.write(TASK, out)
    return out


def mini(data, out, **options):
    start = {"steps": 3, "traces": 4, "learning_rate": 1e-2, **options}
    base_model.build({"source": "mini", **SIZE, "warm_start": start}, TASK, data, out)
    return files.read_manifest(out)


def test_it_learns_and_says_so(data, tmp_path, capsys):
    manifest = mini(data, tmp_path, steps=120, traces=16, threads=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [f"[base model] step {step}/120" for step in (100, 120)]
    assert lines[-1].endswith(f"loss {manifest['loss']:.4f} nats/token")
    assert manifest["loss"] < 1.5 < 3.4  # log(30 tokens)


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(data, tmp_path):
    first = mini(data, tmp_path / "first")["files"]
    assert mini(data, tmp_path / "again")["files"] == first
    assert mini(data, tmp_path / "other", seed=1)["files"] != first


def test_a_diverged_model_is_not_taken_for_a_base_model(data, tmp_path):
    with pytest.raises(FloatingPointError, match="training has diverged"):
        mini(data, tmp_path, steps=20, learning_rate=1e30)
    assert not (tmp_path / "manifest.json").exists()


def test_microbatches_do_not_change_the_update(data, tmp_path):
    for name, tokens in (("whole", 10**6), ("rows", 1)):
        mini(data, tmp_path / name, max_microbatch_tokens=tokens)
    whole, rows = (dict(checkpoint.named_tensors(checkpoint.load(tmp_path / name))) for name in ("whole", "rows"))
    assert all(torch.allclose(whole[name], rows[name], atol=1e-4) for name in whole)


def test_without_steps_the_weights_stay_as_they_are(data, tmp_path):
    manifest = mini(data, tmp_path, steps=0)
    assert "loss" not in manifest
    model = checkpoint.load(tmp_path)
    assert abs(model.embed_tokens.weight.std().item() - 0.02) < 0.004


def test_the_first_loss_is_that_of_the_traces_under_the_prompts(data, tmp_path, monkeypatch):
    """One update of a chat model with a BOS-less template and a trace in words, recomputed row by row."""
    monkeypatch.setitem(catalogue.MODELS, "tiny", catalogue.Entry("tiny", CONFIG, "owner/tiny", "0" * 40, True))
    base_model.build({"source": "random", "shape": "tiny"}, TASK, data, tmp_path / "cold")
    tokenizer, model = Tokenizer(tmp_path / "cold"), checkpoint.load(tmp_path / "cold")
    start = {"steps": 1, "traces": 3, "max_microbatch_tokens": 500}
    base_model.build({"source": "random", "shape": "tiny", "warm_start": start}, TASK, data, tmp_path / "warm")

    (module, options), draw = tasks.load(TASK), numpy_stream(0, "warm start")
    puzzles = dataset.read(data, "warm_start")
    chosen = [puzzles[index] for index in draw.integers(len(puzzles), size=3)]
    total = tokens = 0
    for puzzle in chosen:
        _, prompt = tokenizer.prompt(module.prompt(puzzle, "chat"))
        answer = tokenizer.encode(module.trace(puzzle, draw, options, "chat") + "<|im_end|>")
        ids = torch.tensor([prompt + answer])
        with torch.no_grad():
            log_probs = model.lm_head(model(ids)).log_softmax(-1)[0, len(prompt) - 1 : -1]
        total -= log_probs.gather(1, ids[0, len(prompt) :, None]).sum().item()
        tokens += len(answer)
    assert files.read_manifest(tmp_path / "warm")["loss"] == pytest.approx(total / tokens, rel=1e-5)
    assert checkpoint.read_config(tmp_path / "warm")["dtype"] == "float32"


def test_the_rate_rises_then_falls_to_a_tenth():
    rates = [warmup_cosine(step, 100) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert 0.1 < rates[-1] < 0.102
    assert warmup_cosine(0, 1) == 1.0


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("steps", -1, "steps: -1 is not allowed; allowed: an integer of at least 0"),
        ("traces", 0, "traces: 0 is not allowed; allowed: an integer of at least 1"),
        ("max_microbatch_tokens", 0, "max_microbatch_tokens: 0 is not allowed; allowed: an integer of at least 1"),
        ("threads", 0, "threads: 0 is not allowed; allowed: an integer of at least 1"),
        ("seed", -1, "seed: -1 is not allowed; allowed: an integer of at least 0"),
        ("learning_rate", 0.0, "learning_rate: 0.0 is not allowed; allowed: a number above 0"),
    ],
)
def test_wrong_settings_are_named(key, value, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(NONE, **{key: value})


def test_settings_are_checked_without_torch():
    program = "import sys; from softmax_rewards.common import plugins; " + (
        "[plugins.load(plugins.SOURCES, name) for name in plugins.names(plugins.SOURCES)]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
