"""Base models: every source gives a complete folder that the decoder, the tokenizer and transformers can use."""

import dataclasses
import json
import os
import shutil
import threading

import chat_templates
import pytest
import torch
from standin_hub import COMMIT, Hub, serving
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from softmax_rewards.common import files, plugins
from softmax_rewards.config import strict
from softmax_rewards.data import dataset
from softmax_rewards.models import catalogue, checkpoint, prompt_template
from softmax_rewards.models.prompt_template import choose_template
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.training import base_model, thinking, trainer

TASK = {"name": "countdown", "numbers": 2, "train": 40, "warm_start": 40, "test": 8}
TINY = {
    "model_type": "qwen2",
    "vocab_size": 300,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": True,
    "eos_token_id": 7,
}


@pytest.fixture(autouse=True)
def tiny_catalogue(monkeypatch):
    """One more entry in the catalogue, small enough to write in no time."""
    monkeypatch.setitem(catalogue.MODELS, "tiny", catalogue.Entry("tiny", TINY, "owner/tiny", COMMIT, True))


def build(out, **model):
    base_model.build(model, TASK, out / "no-data", out)
    return files.read_manifest(out)


@pytest.fixture
def made(tmp_path):
    """The folder of a tiny random model."""
    build(tmp_path / "made", source="random", shape="tiny")
    return tmp_path / "made"


def test_random_weights_of_a_known_shape(made, tmp_path):
    manifest = files.read_manifest(made)
    assert (manifest["template"], manifest["parameters"]) == ("chat", 300 * 16 + 2 * 2368 + 16)
    assert set(manifest["files"]) == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"
    }  # fmt: skip
    model = checkpoint.load(made)
    assert model.shape.num_hidden_layers == 2
    assert abs(model.embed_tokens.weight.std().item() - 0.02) < 0.002
    assert (model.norm.weight == 1).all() and (model.layers[0].self_attn.qkv_proj.bias == 0).all()
    build(tmp_path / "again", source="random", shape="Tiny")
    build(tmp_path / "other", source="random", shape="tiny", seed=1, layers=1, dtype="bfloat16")
    assert files.read_manifest(tmp_path / "again")["files"] == manifest["files"]
    other = checkpoint.load(tmp_path / "other", dtype=torch.bfloat16)
    assert other.shape.num_hidden_layers == 1
    config = checkpoint.read_config(tmp_path / "other")
    assert config["dtype"] == "bfloat16"
    assert (tmp_path / "other/model.safetensors").stat().st_size < (made / "model.safetensors").stat().st_size / 2


def test_a_random_model_reads_every_text_and_writes_any_id(made):
    tokenizer = Tokenizer(made)
    for text in ("", "12 + 34 = 46\n", "👩‍🔬 naïve\x00", "<|im_start|>user\n<|im_end|>"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert max(tokenizer.encode(text), default=0) < TINY["vocab_size"]
    assert tokenizer.decode([299, *tokenizer.encode("a"), 260]) == "a"
    text, ids = tokenizer.prompt([{"role": "user", "content": "Hi"}])
    assert text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.eos_ids == [tokenizer.end_id] == tokenizer.encode("<|im_end|>")
    assert ids.count(tokenizer.end_id) == 1
    assert tokenizer.pad_id == 0


def test_a_models_folder_loads_in_transformers(made):
    ids = PreTrainedTokenizerFast.from_pretrained(made)("12 apples")["input_ids"]
    assert ids == Tokenizer(made).encode("12 apples")
    theirs, ours = AutoModelForCausalLM.from_pretrained(made), checkpoint.load(made)
    with torch.no_grad():
        logits = theirs(torch.tensor([ids])).logits
        assert torch.allclose(ours.lm_head(ours(torch.tensor([ids]))), logits, atol=1e-5)
    assert theirs.generation_config.eos_token_id == Tokenizer(made).end_id


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"source": "random", "shape": "tinny"}, r"model\.shape: unknown model 'tinny' \(nearest: 'tiny'\); allowed: "),
        (
            {"source": "random", "shape": "tiny", "layers": 3},
            r"model\.layers: 3 is not allowed; allowed: 1 to 2, the layers of tiny",
        ),
        ({"source": "random", "shape": "tiny", "dtype": "half"}, r"model\.dtype: .*float32, bfloat16"),
        ({"source": "hub"}, r"model\.repository: missing"),
        (
            {"source": "hub", "repository": "../etc"},
            r'model\.repository: "\.\./etc" is not allowed; allowed: owner/name',
        ),
        (
            {"source": "hub", "repository": "a/b", "revision": ""},
            r'model\.revision: "" is not allowed; allowed: a commit, a branch or',
        ),
        ({"source": "local", "path": ""}, r'model\.path: "" is not allowed; allowed: a folder, written out, without ~'),
        (
            {"source": "local", "path": "~/x"},
            r'model\.path: "~/x" is not allowed; allowed: a folder, written out, without ~',
        ),
        ({"source": "local", "path": "x", "template": "short"}, r"model\.template: .*auto, chat, base, compact"),
        (
            {"source": "smollm2", "warm_start": {"steps": -1}},
            r"model\.warm_start\.steps: -1 is not allowed; allowed: an integer of at least 0",
        ),
        ({"source": "mini", "warm_start": {"device": "tpu"}}, r"model\.warm_start\.device: .*auto, cpu, cuda"),
        ({"source": "mini", "steps": 5}, r"model\.steps: unknown key"),
        ({"source": "nowhere"}, r"unknown model source 'nowhere'"),
    ],
)
def test_wrong_options_are_named(tmp_path, model, said):
    with pytest.raises(ValueError, match=said):
        build(tmp_path, **model)


def test_a_nested_warm_start_keeps_the_sources_own_defaults():
    options = strict.build(plugins.load(plugins.SOURCES, "mini").Options, {"warm_start": {"steps": 7}}, "")
    assert (options.warm_start.steps, options.warm_start.traces, options.warm_start.device) == (7, 64, "cpu")


def test_a_local_model_is_taken_over_without_a_second_copy(made, tmp_path):
    (made / "pytorch_model.bin").write_bytes(b"pickle")
    (made / "notes.txt").write_text("none of ours")
    manifest = build(tmp_path / "taken", source="local", path=str(made))
    assert manifest["files"] == files.read_manifest(made)["files"]
    assert manifest["template"] == "chat"
    taken = tmp_path / "taken" / "model.safetensors"
    assert os.path.samefile(taken, made / "model.safetensors")
    assert all(os.path.samefile(tmp_path / "taken" / name, made / name) == name.endswith(".safetensors")
               for name in manifest["files"])  # fmt: skip
    assert build(tmp_path / "taken", source="local", path=str(made), template="base")["template"] == "base"


def test_a_local_models_own_files_are_never_written(made, tmp_path):
    """A warm start writes new weights; the linked original stays as it was."""
    before = (made / "model.safetensors").read_bytes()
    dataset.write(TASK, tmp_path / "data")
    model = {"source": "local", "path": str(made), "warm_start": {"steps": 1, "traces": 2, "learning_rate": 0.1}}
    base_model.build(model, TASK, tmp_path / "data", tmp_path / "warm")
    assert (made / "model.safetensors").read_bytes() == before
    assert (tmp_path / "warm" / "model.safetensors").read_bytes() != before
    assert files.read_manifest(tmp_path / "warm")["loss"] > 0


def test_a_local_model_behind_links_and_in_shards(made, tmp_path, monkeypatch):
    model, cache = checkpoint.load(made), tmp_path / "cache"
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 15_000)
    checkpoint.save(model, made, checkpoint.read_config(made))
    shards = sorted(file.name for file in made.glob("*.safetensors"))
    assert len(shards) > 1
    cache.mkdir()
    for file in made.iterdir():
        (cache / file.name).symlink_to(file)
    manifest = build(tmp_path / "taken", source="local", path=str(cache))
    assert {*shards, "model.safetensors.index.json"} <= set(manifest["files"])
    assert not any(file.is_symlink() for file in (tmp_path / "taken").iterdir())
    checkpoint.load(tmp_path / "taken")
    (made / shards[1]).unlink()
    with pytest.raises(ValueError, match=rf"made/{shards[1]}: no such file, although model\.safetensors\.index\.json"):
        build(tmp_path / "taken", source="local", path=str(made))


def test_a_local_folder_that_is_no_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"model\.path: .*nowhere is no folder; allowed: one with model\*\.safe"):
        build(tmp_path / "out", source="local", path=str(tmp_path / "nowhere"))
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"half: tokenizer\.json missing; needed: config\.json, tokenizer\.json and "):
        build(tmp_path / "out", source="local", path=str(tmp_path / "half"))
    with pytest.raises(ValueError, match=r"model\.path: .*half is where the model would go; allowed: any other"):
        build(tmp_path / "half", source="local", path=str(tmp_path / "half"))


def test_a_models_index_leads_nowhere_else(made, tmp_path):
    """Whatever an index lists, no file outside the folder is read, linked or replaced."""
    (made / "model.safetensors").rename(tmp_path / "weights.safetensors")
    for place in (str(tmp_path / "weights.safetensors"), "../weights.safetensors", "..", "config.json", 5, None):
        (made / checkpoint.INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": place}}))
        with pytest.raises(
            ValueError, match=r"made/model\.safetensors\.index\.json: weight_map\.model\.norm\.weight: "
        ):
            build(tmp_path / "out", source="local", path=str(made))
    assert (tmp_path / "weights.safetensors").exists() and not list((tmp_path / "out").iterdir())


def test_a_hybrid_model_keeps_its_thought_open_and_its_own_folder_as_it_was(made, tmp_path, capsys):
    chat_templates.write(made, chat_templates.QWEN3)
    messages = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "So:\n<think>"}]
    assert Tokenizer(made).prompt(messages)[0].endswith("assistant\n<think>\n\n</think>\n\nSo:\n<think>")
    manifest = build(tmp_path / "taken", source="local", path=str(made))
    assert manifest["template"] == "chat" and thinking.FILE in manifest["files"]
    assert (
        Tokenizer(tmp_path / "taken").prompt(messages)[0].endswith("?<|im_end|>\n<|im_start|>assistant\nSo:\n<think>")
    )
    assert not (made / thinking.FILE).exists()
    assert (
        "[base model] the chat template would close the thought of a prompt; chat_template.jinja"
        in capsys.readouterr().out
    )
    again = build(tmp_path / "again", source="local", path=str(tmp_path / "taken"))
    assert again["files"][thinking.FILE] == manifest["files"][thinking.FILE]
    assert build(tmp_path / "taken", source="local", path=str(made), template="base")["template"] == "base"
    assert not (tmp_path / "taken" / thinking.FILE).exists()


def test_a_file_can_be_linked_to_itself_and_again(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("text")
    target.write_text("old")
    for place in (target, target, source):
        files.link(source, place)
        assert os.path.samefile(source, place) and source.read_text() == "text"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


def test_a_taken_model_stays_as_it_was(made, tmp_path):
    (made / "merges.txt").write_text("#version: 0.2\n")
    (made / "vocab.json").write_text("{}")
    manifest = build(tmp_path / "taken", source="local", path=str(made))
    assert {"merges.txt", "vocab.json"} <= set(manifest["files"])
    with (made / "generation_config.json").open("a") as file:  # in place, as some editors do
        file.write(" ")
    again = tmp_path / "taken" / "generation_config.json"
    assert again.read_bytes() != (made / "generation_config.json").read_bytes()


def test_one_shard_without_an_index_is_a_model(made, tmp_path):
    (made / "model.safetensors").rename(made / "model-00001-of-00001.safetensors")
    assert "model-00001-of-00001.safetensors" in build(tmp_path / "taken", source="local", path=str(made))["files"]
    checkpoint.load(tmp_path / "taken")


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


SPOILS = {
    r"made: config\.json: num_hidden_layers 0; allowed": lambda f: edit(f / "config.json", num_hidden_layers=0),
    r"made: config\.json: model_type \"bert\" is not": lambda f: edit(f / "config.json", model_type="bert"),
    r"made: config\.json: layer_types 5; allowed": lambda f: edit(f / "config.json", layer_types=5),
    r"made/config\.json: not a readable JSON": lambda f: (f / "config.json").write_bytes(b'{"a": "\xff"}'),
    r"made: tensor model\.layers\.2\.\S+ is missing": lambda f: edit(f / "config.json", num_hidden_layers=3),
    r"made/model\.safetensors: cut short": lambda f: os.truncate(f / "model.safetensors", 9000),
    r"model: .*made holds pickled weights \(pytorch_model\.bin\); load it with transformers": pickled,
    r"made/tokenizer\.json: not a readable tokenizer": lambda f: (f / "tokenizer.json").write_text("{}"),
    r"made/generation_config\.json: eos_token_id: 300; allowed: ids below 300, the vocab_size": lambda f: edit(
        f / "generation_config.json", eos_token_id=[2, 300]
    ),
    r"made/generation_config\.json: pad_token_id: 301; allowed: ids below 300": lambda f: edit(
        f / "generation_config.json", pad_token_id=301
    ),
    r"made/chat_template\.jinja: chat template: No system, please\.; allowed: a template for system, user, ": (
        lambda f: (f / "chat_template.jinja").write_text("{{ raise_exception('No system,\n please.') }}")
    ),
}


@pytest.mark.parametrize("said", SPOILS)
def test_a_model_that_would_not_train_is_refused_until_it_is_repaired(made, tmp_path, said):
    shutil.copytree(made, tmp_path / "whole")
    SPOILS[said](made)
    with pytest.raises(ValueError, match=said) as error:
        build(tmp_path / "taken", source="local", path=str(made))
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "taken").iterdir())
    shutil.copytree(tmp_path / "whole", made, dirs_exist_ok=True)
    for file in {file.name for file in made.iterdir()} - {file.name for file in (tmp_path / "whole").iterdir()}:
        (made / file).unlink()
    build(tmp_path / "taken", source="local", path=str(made))


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path, monkeypatch):
    small = catalogue.Entry("small", TINY | {"vocab_size": 200}, "owner/small", COMMIT, True)
    monkeypatch.setitem(catalogue.MODELS, "small", small)
    with pytest.raises(ValueError, match=r"tokenizer\.json: '.+': 258; allowed: ids below 200, the vocab_size of con"):
        build(tmp_path / "out", source="random", shape="small")


def test_a_template_that_never_ends_is_stopped(made, monkeypatch):
    monkeypatch.setattr(prompt_template, "TEMPLATE_SECONDS", 0.2)
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    (made / "chat_template.jinja").write_text(loops)
    with pytest.raises(ValueError, match=r"chat_template\.jinja: chat template: not done after 0\.2 s; allowed: "):
        choose_template("auto", made)
    assert choose_template("base", made) == "base"


def test_a_template_is_tried_in_other_threads_too(made):
    chosen = []
    thread = threading.Thread(target=lambda: chosen.append(choose_template("auto", made)))
    thread.start()
    thread.join()
    assert chosen == ["chat"]


def test_a_chat_prompt_needs_a_chat_template(made, tmp_path):
    settings = json.loads((made / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (made / "tokenizer_config.json").write_text(json.dumps(settings))
    assert build(tmp_path / "taken", source="local", path=str(made))["template"] == "base"
    with pytest.raises(ValueError, match=r"model\.template: chat, but .*made has no chat template; allowed: auto, "):
        build(tmp_path / "taken", source="local", path=str(made), template="chat")


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """The folder of a run of the embedded model: its weights lie in `model/`."""
    run, data, base = tiny
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, steps=1))
    out = tmp_path_factory.mktemp("trained")
    trainer.train(run, data, base, out)
    return out


@pytest.mark.parametrize("template", ["auto", "compact"])
def test_a_trained_model_is_a_base_model_again(tiny, trained, tmp_path, template):
    run, data, _ = tiny
    model = {"source": "local", "path": str(trained / "model"), "template": template}
    base_model.build(model, run.task, data, tmp_path / "base")
    assert files.read_manifest(tmp_path / "base")["template"] == "compact"
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, steps=1))
    trainer.train(run, data, tmp_path / "base", tmp_path / "again")
    assert files.read_json(tmp_path / "again/run.json")["template"] == "compact"
    prompt = json.loads((tmp_path / "again/samples.jsonl").read_text().splitlines()[0])["prompt"]
    assert prompt.endswith(":<think>") and "<unk>" not in prompt


def test_a_base_model_of_the_pipeline_has_its_template_recorded(tiny, tmp_path):
    run, data, base = tiny
    model = {"source": "local", "path": str(base), "warm_start": {"steps": 1, "traces": 2}}
    base_model.build(model, run.task, data, tmp_path / "warm")
    manifest = files.read_manifest(tmp_path / "warm")
    assert manifest["template"] == "compact" and manifest["loss"] > 0


def test_a_model_without_words_is_given_none(tiny, trained, tmp_path):
    """A copy has no record: without one, a model that reads symbols would be asked in words that it cannot read."""
    shutil.copytree(trained / "model", tmp_path / "copy")
    with pytest.raises(ValueError, match=r"template: base, but .*copy/tokenizer\.json has no words; allowed: compact"):
        build(tmp_path / "base", source="local", path=str(tmp_path / "copy"))
    assert build(tmp_path / "base", source="local", path=str(tmp_path / "copy"), template="compact")
    with pytest.raises(ValueError, match=r"template: base, but .*model/tokenizer\.json has no words"):
        build(tmp_path / "base", source="local", path=str(trained / "model"), template="base")


def test_records_of_other_tools_are_no_templates(made, tmp_path):
    (made.parent / "run.json").write_text('{"template": "compact"}')
    (made / "manifest.json").write_text('{"template": ["compact"]}')
    assert choose_template("auto", made) == "chat"
    made = made.rename(tmp_path / "model")
    assert choose_template("auto", made) == "compact"
    (tmp_path / "run.json").write_text('{"template"')
    with pytest.raises(ValueError, match=r"run\.json: not a readable JSON file"):
        choose_template("auto", made)


@pytest.mark.parametrize("template", ["auto", "compact"])
def test_a_task_without_compact_prompts_refuses_them(trained, tmp_path, template):
    model = {"source": "local", "path": str(trained / "model"), "template": template}
    with pytest.raises(ValueError, match=r"^model\.template: compact, but gsm8k has no compact prompts; allowed: .*$"):
        base_model.build(model, {"name": "gsm8k"}, tmp_path / "no-data", tmp_path / "base")
    assert not (tmp_path / "base/manifest.json").exists()


def test_a_tokenizer_that_lacks_symbols_of_the_task_is_named(tmp_path):
    size = {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 32, "warm_start": {"steps": 0}}
    products, sums = {"name": "multiplication"}, {"name": "countdown"}
    for task in (products, sums):
        base_model.build({"source": "mini", **size}, task, tmp_path / "no-data", tmp_path / task["name"])
    model = {"source": "local", "path": str(tmp_path / "multiplication")}
    with pytest.raises(
        ValueError, match=r"tokenizer of .*/multiplication lacks '-' '/' .* of countdown; allowed: a mo"
    ):
        base_model.build(model, sums, tmp_path / "no-data", tmp_path / "base")
    base_model.build(model | {"path": str(tmp_path / "countdown")}, products, tmp_path / "no-data", tmp_path / "base")
    assert files.read_manifest(tmp_path / "base")["template"] == "compact"


def test_a_model_of_the_hub(made, tmp_path, monkeypatch):
    served = {file.name: file.read_bytes() for file in made.iterdir() if file.name != "manifest.json"}
    out = tmp_path / "out"
    with serving(Hub("owner/tiny", served | {"pytorch_model.bin": b"pickle"})) as standin:
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
        out.mkdir()
        (out / "model-00001-of-00002.safetensors").write_bytes(b"of an earlier commit")
        (out / checkpoint.INDEX).write_text("{}")
        manifest = build(out, source="hub", repository="owner/tiny")
        del standin.files["tokenizer.json"]
        with pytest.raises(ValueError, match=r"model\.repository: owner/tiny: .*half: tokenizer\.json missing; needed"):
            build(tmp_path / "half", source="hub", repository="owner/tiny")
        standin.files = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"", "tokenizer.json": b"{}"}
        with pytest.raises(ValueError, match=r"model: .*adapter holds a LoRA adapter \(adapter_config\.json\); merge"):
            build(tmp_path / "adapter", source="hub", repository="owner/tiny")
    assert (manifest["commit"], manifest["template"]) == (COMMIT, "chat")
    assert manifest["files"] == files.read_manifest(made)["files"]
    assert sorted(file.name for file in out.iterdir()) == sorted([*served, "manifest.json"])


def test_a_published_model_of_the_pipeline(tiny, tmp_path, monkeypatch):
    run, data, base = tiny
    with serving(Hub("owner/tiny", {file.name: file.read_bytes() for file in base.iterdir()})) as standin:
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
        base_model.build({"source": "hub", "repository": "owner/tiny"}, run.task, data, tmp_path / "base")
    assert files.verified_manifest(tmp_path / "base")["template"] == "compact"


def test_a_hub_that_is_not_there_says_what_to_do_instead(tmp_path, monkeypatch):
    with serving(Hub("owner/tiny", {})) as standin:
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
    with pytest.raises(ValueError) as error:
        build(tmp_path / "out", source="hub", repository="owner/tiny")
    by_hand = "by hand: put model*.safetensors, *.json, merges.txt, *.jinja of it into"
    assert f"{by_hand} {tmp_path / 'out'}, and set model: {{source: local, path: {tmp_path / 'out'}}}" in str(
        error.value
    )
    assert "\n" not in str(error.value)
