"""The tokenizers of base models in transformers: the same ids on everything that a task writes."""

import dataclasses

import pytest
import torch
from spelling import TASKS, check_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from softmax_rewards.models import catalogue, checkpoint
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.training import base_model

MINI = {"source": "mini", "hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 32}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
FAMILIES = {"qwen2.5-0.5b": "qwen2", "qwen3-0.6b-base": "qwen3", "smollm2-135m-instruct": "llama"}


@pytest.mark.parametrize("name", ["countdown", "multiplication"])
def test_the_embedded_model(tmp_path, name):
    base_model.build({**MINI, "warm_start": {"steps": 0}}, TASKS[name], tmp_path, tmp_path / "mini")
    model = {"source": "local", "path": str(tmp_path / "mini"), "template": "compact"}
    base_model.build(model, TASKS[name], tmp_path, tmp_path / "local")
    for folder in ("mini", "local"):
        check_tokenizer(tmp_path / folder, "compact", [name])
    tokenizer = Tokenizer(tmp_path / "local")
    assert [tokenizer.decode([token]) for token in tokenizer.encode("<think>1\n\nno")] == ["<think>", *"1\n\n", "no"]
    assert tokenizer.decode(tokenizer.encode("1?é")) == "1" + 3 * "<unk>"  # one per byte
    assert AutoConfig.from_pretrained(tmp_path / "local").model_type == "qwen2"
    ids = torch.tensor([tokenizer.encode("12<think>\nyes")])
    theirs, ours = AutoModelForCausalLM.from_pretrained(tmp_path / "local"), checkpoint.load(tmp_path / "local")
    with torch.no_grad():
        assert torch.allclose(ours.lm_head(ours(ids)), theirs(ids).logits, atol=1e-5)


@pytest.mark.parametrize("shape", FAMILIES)
def test_a_random_model_of_every_family(tmp_path, monkeypatch, shape):
    entry = catalogue.find(shape)
    assert entry.config["model_type"] == FAMILIES[shape]
    size = {"vocab_size": 260, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1} | HEADS
    small = dataclasses.replace(entry, config=entry.config | size)
    monkeypatch.setitem(catalogue.MODELS, shape, small)
    base_model.build({"source": "random", "shape": shape}, TASKS["countdown"], tmp_path, tmp_path)
    for template in ("chat", "base"):
        check_tokenizer(tmp_path, template, TASKS)
