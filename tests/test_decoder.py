"""The decoder and its checkpoints against `transformers`, on random checkpoints of every family."""

import json

import pytest
import torch
import transformers

from softmax_rewards.models import checkpoint
from softmax_rewards.models.decoder import Cache, Shape

COMMON = {
    "vocab_size": 40,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
FAMILIES = {
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM, {"tie_word_embeddings": True}),
    "qwen3": (
        transformers.Qwen3Config,
        transformers.Qwen3ForCausalLM,
        {"head_dim": 16, "tie_word_embeddings": False},
    ),
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM, {"tie_word_embeddings": False}),
}


@pytest.fixture(params=sorted(FAMILIES))
def reference(request, tmp_path):
    """A random model of `transformers`, with the folder it was saved to."""
    config, model, more = FAMILIES[request.param]
    torch.manual_seed(0)
    reference = model(config(**COMMON, **more)).eval()
    for parameter in reference.parameters():  # norms and biases too, else they would test nothing
        torch.nn.init.normal_(parameter, std=0.3)
    reference.save_pretrained(tmp_path / "theirs")
    return reference, tmp_path / "theirs"


def test_logits_and_gradients_equal_those_of_transformers(reference):
    theirs, folder = reference
    ours = checkpoint.load(folder)
    ids = torch.randint(0, 40, (3, 11), generator=torch.Generator().manual_seed(1))
    expected, got = theirs(ids).logits, ours.lm_head(ours(ids))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
    expected.logsumexp(-1).sum().backward()
    got.logsumexp(-1).sum().backward()
    torch.testing.assert_close(
        ours.embed_tokens.weight.grad, theirs.get_input_embeddings().weight.grad, atol=1e-3, rtol=1e-3
    )


def test_a_saved_model_loads_in_transformers_with_equal_logits(reference, tmp_path):
    _, folder = reference
    ours = checkpoint.load(folder)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.mul_(1.5)
    checkpoint.save(ours, tmp_path, checkpoint.read_config(folder))
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.arange(20).view(2, 10)
    torch.testing.assert_close(ours.lm_head(ours(ids)), again(ids).logits, atol=1e-4, rtol=0)


def test_decoding_with_a_cache_equals_the_whole_pass(reference):
    _, folder = reference
    ours = checkpoint.load(folder)
    ids = torch.randint(0, 40, (2, 9), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        whole = ours(ids)
        cache = Cache(ours.shape, 2, 9, ours.embed_tokens.weight)
        parts = [ours(ids[:, :4], cache=cache)]
        for column in range(4, 9):
            parts.append(ours(ids[:, column : column + 1], torch.full((2, 1), column), cache=cache))
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, "model_type 'mamba' is not supported"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported"),
        ({"use_sliding_window": True}, "use_sliding_window true is not supported"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_type 'yarn' is not supported"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(change, message):
    config = transformers.Qwen2Config(**COMMON).to_dict() | {"rope_parameters": None} | change
    with pytest.raises(ValueError, match=message):
        Shape.from_config(config)


def test_wrong_tensors_are_named(reference):
    _, folder = reference
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ValueError, match=r"tensor model\.layers\.2\..* is missing"):
        checkpoint.load(folder)
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(ValueError, match=r"unexpected tensor model\.layers\.1\."):
        checkpoint.load(folder)
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 41}))
    with pytest.raises(ValueError, match=r"tensor model\.embed_tokens\.weight has shape \[40, 48\]"):
        checkpoint.load(folder)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        checkpoint.load(folder)
