"""Checkpoints: what is saved is what is loaded, here and in `transformers`; what is wrong is named."""

import json
import math
import os
import pickle
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from softmax_rewards.models import checkpoint
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.shape import Shape

LITTLE = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "tie_word_embeddings": False,
}


def random_model(config, dtype=torch.float32, seed=0):
    model = Decoder.empty(Shape.from_config(config), dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    return model


def saved(folder, config=LITTLE, family="llama", dtype=torch.float32):
    config = config | {"model_type": family}
    model = random_model(config, dtype)
    checkpoint.save(model, folder, config)
    return model


def same(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite(folder, change):
    """Apply `change` to the dict of tensors of a single-file checkpoint."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@st.composite
def configs(draw):
    kv_heads = draw(st.integers(1, 3))
    return {
        "model_type": draw(st.sampled_from(["qwen2", "qwen3", "llama"])),
        "vocab_size": draw(st.integers(1, 20)),
        "hidden_size": draw(st.integers(1, 12)),
        "intermediate_size": draw(st.integers(1, 12)),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": kv_heads * draw(st.integers(1, 3)),
        "num_key_value_heads": kv_heads,
        "head_dim": 2 * draw(st.integers(1, 3)),
        "tie_word_embeddings": draw(st.booleans()),
        "attention_bias": draw(st.booleans()),
        "mlp_bias": draw(st.booleans()),
    }


@settings(max_examples=40, deadline=None)
@given(configs(), st.sampled_from([torch.float32, torch.bfloat16]), st.integers(1, 4000), st.integers(1, 400))
def test_what_is_saved_is_loaded_bit_for_bit(config, dtype, shard, piece):
    model = random_model(config, dtype)
    assert sum(parameter.numel() for parameter in model.parameters()) == model.shape.parameters
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "SHARD_BYTES", shard)
        patch.setattr(checkpoint, "PIECE_BYTES", piece)
        checkpoint.save(model, Path(name), config)
        assert same(checkpoint.load(Path(name), dtype=dtype), model)
        files = sorted(Path(name).glob("*.safetensors"))
        sizes = {file.name: sum(value.nbytes for value in load_file(file).values()) for file in files}
        alone = max(tensor.nbytes for _, tensor in checkpoint.named_tensors(model))
        assert all(size <= max(shard, alone) for size in sizes.values())
        assert (Path(name) / checkpoint.INDEX).exists() == (len(files) > 1)
        assert sum(sizes.values()) == model.shape.parameters * dtype.itemsize


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama"])
def test_a_saved_model_loads_in_transformers_with_equal_logits(family, shards, dtype, tmp_path, monkeypatch):
    config = LITTLE | {"model_type": family, "tie_word_embeddings": family == "qwen2", "rms_norm_eps": 1e-6}
    model = random_model(config, dtype)
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", math.ceil(1.2 * model.shape.parameters * dtype.itemsize / shards))
    checkpoint.save(model, tmp_path, config | {"torch_dtype": "float16"})
    assert len(list(tmp_path.glob("*.safetensors"))) == shards
    name = str(dtype).removeprefix("torch.")
    assert {checkpoint.read_config(tmp_path)[key] for key in ("dtype", "torch_dtype")} == {name}
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto", output_loading_info=True)
    assert theirs.dtype == dtype
    assert not any(info.values())
    ids = torch.arange(20).view(2, 10)
    with torch.no_grad():
        got, expected = model.lm_head(model(ids)), theirs.eval()(ids).logits
    exact = dtype == torch.float32
    torch.testing.assert_close(got, expected, atol=1e-4 if exact else 0.1, rtol=0 if exact else 0.05)


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_weights_are_converted_to_the_dtype_asked_for(stored, tmp_path):
    model = saved(tmp_path, dtype=stored)
    for wanted in (torch.float32, torch.bfloat16):
        assert same(checkpoint.load(tmp_path, dtype=wanted), model.to(wanted))
        model = checkpoint.load(tmp_path, dtype=stored)


def test_a_model_replaces_the_one_before_it_whatever_their_files(tmp_path, monkeypatch):
    saved(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "SHARD_BYTES", 4000)
        second = saved(tmp_path, family="qwen2")
        assert same(checkpoint.load(tmp_path), second)
        assert not (tmp_path / "model.safetensors").exists()
    third = saved(tmp_path, family="qwen3")
    assert same(checkpoint.load(tmp_path), third)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_a_tied_head_that_is_stored_too_is_accepted_if_it_is_the_embedding(tmp_path):
    model = saved(tmp_path, LITTLE | {"tie_word_embeddings": True})
    rewrite(tmp_path, lambda tensors: tensors.update({"lm_head.weight": model.lm_head.weight.detach().clone()}))
    loaded = checkpoint.load(tmp_path)
    assert same(loaded, model)
    assert loaded.lm_head.weight is loaded.embed_tokens.weight
    rewrite(tmp_path, lambda tensors: tensors["lm_head.weight"].mul_(2))
    with pytest.raises(
        ValueError, match=r"model\.safetensors: tensor lm_head\.weight differs from model\.embed_tokens"
    ):
        checkpoint.load(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.update({"lm_head.weight": torch.zeros(3, 32)}))
    with pytest.raises(ValueError, match=r"lm_head\.weight has shape \[3, 32\]"):
        checkpoint.load(tmp_path)


def test_frequencies_in_old_llama_checkpoints_are_ignored(tmp_path):
    model = saved(tmp_path)
    extra = {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": torch.ones(4) for layer in range(2)}
    rewrite(tmp_path, lambda tensors: tensors.update(extra))
    assert same(checkpoint.load(tmp_path), model)


Q = "model.layers.1.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(Q), rf"tensor {Q} is missing"),
        (lambda t: t.update(other=torch.ones(1)), r"model\.safetensors: unexpected tensor other"),
        (
            lambda t: t.update({Q: torch.ones(3, 32)}),
            rf"model\.safetensors: tensor {Q} has shape \[3, 32\], .* \[32, 32\]",
        ),
        (
            lambda t: t.update({Q: t[Q].to(torch.int8)}),
            rf"model\.safetensors: tensor {Q} has dtype I8; allowed: F64, F32",
        ),
        (lambda t: t.update({Q: t[Q].to(torch.float8_e4m3fn)}), rf"tensor {Q} has dtype F8_E4M3"),
    ],
)
def test_wrong_tensors_are_named_with_their_file(change, message, tmp_path):
    saved(tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(ValueError, match=message) as caught:
        checkpoint.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("size", [0, 4, 60])
def test_a_file_cut_short_within_its_header_is_named(size, tmp_path):
    saved(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"model\.safetensors: not a readable safetensors file"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("which", [0, 3, -1])
def test_a_file_cut_short_within_a_tensor_names_both(which, tmp_path):
    saved(tmp_path)
    file = tmp_path / "model.safetensors"
    whole = file.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    places = {name: entry["data_offsets"] for name, entry in json.loads(whole[8:start]).items() if "dtype" in entry}
    name = sorted(places, key=places.get)[which]
    file.write_bytes(whole[: start + places[name][1] - 1])
    with pytest.raises(ValueError, match=rf"model\.safetensors: cut short within tensor {re.escape(name)} "):
        checkpoint.load(tmp_path)


@pytest.fixture
def sharded(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 8000)
    saved(tmp_path)
    return tmp_path


def reindex(folder, change):
    path = folder / checkpoint.INDEX
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


def test_files_and_index_of_a_sharded_checkpoint_must_agree(sharded):
    first, second, *_ = sorted(file.name for file in sharded.glob("*.safetensors"))
    index = (sharded / checkpoint.INDEX).read_text()
    name = next(name for name, file in json.loads(index)["weight_map"].items() if file == first)
    wrong = {
        rf"{second}: tensor {name} is missing, although": lambda i: i["weight_map"].update({name: second}),
        rf"{first}: tensor nothing is missing, although": lambda i: i["weight_map"].update(nothing=first),
        rf"{checkpoint.INDEX}: weight_map.{name}: '../x'; allowed": lambda i: i["weight_map"].update({name: "../x"}),
        rf"{checkpoint.INDEX}: weight_map.{name}: 3; allowed": lambda i: i["weight_map"].update({name: 3}),
        rf"{checkpoint.INDEX}: weight_map.{name}: '/x.safetensors'; allowed": lambda i: i["weight_map"].update(
            {name: "/x.safetensors"}
        ),
        rf"{checkpoint.INDEX}: weight_map.{name}: 'config.json'; allowed": lambda i: i["weight_map"].update(
            {name: "config.json"}
        ),
        rf"{checkpoint.INDEX}: weight_map is missing": lambda i: i.pop("weight_map"),
        rf"{checkpoint.INDEX}: weight_map \[1\]; allowed: a mapping": lambda i: i.update(weight_map=[1]),
    }
    for message, change in wrong.items():
        reindex(sharded, change)
        with pytest.raises(ValueError, match=message):
            checkpoint.load(sharded)
        (sharded / checkpoint.INDEX).write_text(index)
    (sharded / second).unlink()
    with pytest.raises(ValueError, match=rf"{second}: no such file, although .* places tensor \S+ there"):
        checkpoint.load(sharded)
    (sharded / checkpoint.INDEX).write_text("[]")
    with pytest.raises(ValueError, match=f"{checkpoint.INDEX}: list; a JSON object is needed"):
        checkpoint.load(sharded)
    (sharded / checkpoint.INDEX).write_bytes(b"\xff")
    with pytest.raises(ValueError, match=f"{checkpoint.INDEX}: not a readable JSON file"):
        checkpoint.load(sharded)
    (sharded / checkpoint.INDEX).write_text("{")
    with pytest.raises(ValueError, match=f"{checkpoint.INDEX}: not a readable JSON file"):
        checkpoint.load(sharded)


def test_without_an_index_all_files_count_and_none_twice(sharded):
    expected = checkpoint.load(sharded)
    (sharded / checkpoint.INDEX).unlink()
    assert same(checkpoint.load(sharded), expected)
    first, second, *_ = sorted(sharded.glob("*.safetensors"))
    save_file(load_file(first) | load_file(second), second)
    with pytest.raises(ValueError, match=rf"{second.name}: tensor \S+ is in {first.name} too"):
        checkpoint.load(sharded)


def test_without_an_index_the_whole_model_goes_before_other_files(tmp_path):
    model = saved(tmp_path)
    save_file({"other": torch.ones(1)}, tmp_path / "adapter.safetensors")
    assert same(checkpoint.load(tmp_path), model)


def test_a_checkpoint_is_checked_without_its_model(tmp_path, monkeypatch):
    model = saved(tmp_path)
    empty, devices = Decoder.empty, []

    def watched(shape, device, *others):
        devices.append(device)
        return empty(shape, device, *others)

    monkeypatch.setattr(Decoder, "empty", watched)
    shape, stored = checkpoint.check(tmp_path)
    assert devices == ["meta"]
    assert shape == model.shape
    assert {name: tensor.shape for name, tensor in stored.items()} == {
        name: list(tensor.shape) for name, tensor in checkpoint.named_tensors(model)
    }


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_weights_are_as_readable_as_other_files(umask, tmp_path):
    before = os.umask(umask)
    try:
        saved(tmp_path)
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o666 & ~umask}


def test_pickles_are_not_loaded(tmp_path):
    saved(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="no safetensors file; a checkpoint with"):
        checkpoint.load(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"only pytorch_model\.bin, and pickled weights are not loaded"):
        checkpoint.load(tmp_path)


class Touch:
    """A pickle that makes a file when it is read."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.pt"])
@pytest.mark.parametrize("dump", [pickle.dump, torch.save, lambda it, file: numpy.savez(file, it=numpy.array([it]))])
def test_a_pickle_is_never_run_whatever_its_name(tmp_path, name, dump):
    saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with (tmp_path / name).open("wb") as file:
        dump(Touch(tmp_path / "made"), file)
    with pytest.raises(ValueError, match=r"not a readable safetensors file|pickled weights are not loaded") as error:
        checkpoint.load(tmp_path)
    assert str(error.value).isprintable()
    assert not (tmp_path / "made").exists()


def test_code_beside_a_checkpoint_is_not_run(tmp_path):
    model = saved(tmp_path)
    (tmp_path / "modeling_own.py").write_text(f"open({str(tmp_path / 'made')!r}, 'w')")
    edit(tmp_path, auto_map={"AutoModelForCausalLM": "modeling_own.Own", "AutoConfig": "modeling_own.Config"})
    assert same(checkpoint.load(tmp_path), model)
    assert not (tmp_path / "made").exists() and "modeling_own" not in sys.modules


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000; allowed: integers from 1 to 1000"),
        ({"vocab_size": 10**12}, "vocab_size 1000000000000; allowed: integers from 1 to 10000000"),
        ({"num_hidden_layers": 1000}, r"tensor model\.layers\.2\.input_layernorm\.weight is missing"),
        ({"hidden_size": 10**6, "intermediate_size": 10**7, "vocab_size": 10**7}, "has shape .* config.json asks for"),
    ],
)
def test_a_hostile_config_takes_neither_time_nor_memory(tmp_path, changes, said):
    saved(tmp_path)
    edit(tmp_path, **changes)
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=said):
        checkpoint.load(tmp_path)
    print(f"{time.process_time() - began:.1f} s")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB


@pytest.mark.parametrize("depth", [100, 10**5])
def test_a_deeply_nested_config_is_refused_in_one_line(tmp_path, depth):
    saved(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": ' + "[" * depth + "]" * depth + "}")
    with pytest.raises(ValueError, match=r"config\.json: ") as error:
        checkpoint.load(tmp_path)
    assert "\n" not in str(error.value)


def test_names_that_steer_a_terminal_are_refused(tmp_path):
    saved(tmp_path)
    save_file({"a\x1b]0;title\x07\n": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"tensor 'a\\x1b\]0;title\\x07\\n'; allowed: names that can be printed"):
        checkpoint.load(tmp_path)
    for places in ({"a\n": "model.safetensors"}, {"a": "\x1b]0;title\x07.safetensors"}):
        (tmp_path / checkpoint.INDEX).write_text(json.dumps({"weight_map": places}))
        with pytest.raises(ValueError, match="allowed: names") as error:
            checkpoint.load(tmp_path)
        assert str(error.value).isprintable()


def test_a_wrong_config_is_named_with_its_folder(tmp_path):
    saved(tmp_path)
    edit(tmp_path, model_type="mamba")
    with pytest.raises(ValueError, match=rf'{tmp_path}: config\.json: model_type "mamba" is not supported'):
        checkpoint.load(tmp_path)
    edit(tmp_path, model_type="llama", num_hidden_layers=3)
    with pytest.raises(ValueError, match=r"tensor model\.layers\.2\.\S+ is missing"):
        checkpoint.load(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"config\.json: list; a JSON object is needed"):
        checkpoint.load(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"config\.json: not a readable JSON file"):
        checkpoint.load(tmp_path)


MEASURE = """
import sys
from pathlib import Path
import torch
from softmax_rewards.models import checkpoint

def memory(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) * 1024

checkpoint.PIECE_BYTES = 2**22
checkpoint.load(Path(sys.argv[1]), dtype=torch.bfloat16)  # so that what torch loads at first use does not count
before = memory("VmRSS")
model = checkpoint.load(Path(sys.argv[2]), dtype=torch.bfloat16)
print((memory("VmHWM") - before) / sum(parameter.nbytes for parameter in model.parameters()))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from Linux's /proc")
def test_loading_takes_the_memory_of_the_model_once(tmp_path):
    folders = [tmp_path / "little", tmp_path / "big"]
    for folder, vocabulary in zip(folders, (40, 2_000_000), strict=True):
        folder.mkdir()
        config = LITTLE | {"model_type": "llama", "vocab_size": vocabulary, "tie_word_embeddings": True}
        checkpoint.save(Decoder.empty(Shape.from_config(config), dtype=torch.bfloat16), folder, config)
    done = subprocess.run([sys.executable, "-c", MEASURE, *folders], capture_output=True, text=True, check=True)
    assert 0.9 < float(done.stdout) < 1.2
