"""The folder of a local model is looked at when the config is checked, and what is no model is named there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from softmax_rewards.config import local_model, settings, shorthand
from softmax_rewards.models import catalogue, model_folder

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "tests/smoke/smoke.yaml"
# Files of a folder → what is said of it. Each is what one tool leaves: peft, llama.cpp, transformers 4.30, Llama's own
# release, MLX, verl, torch's distributed checkpoints, TRL, the hub's cache.
OTHERS = {
    "adapter_config.json adapter_model.safetensors tokenizer.json": r"holds a LoRA adapter \(adapter_config.json\)",
    "adapter_config.json adapter_model.bin": r"holds a LoRA adapter \(adapter_config.json\); merge it into",
    "model-Q4_K_M.gguf config.json": r"holds weights for llama.cpp \(model-Q4_K_M.gguf\); take the model that",
    "config.json tokenizer.json pytorch_model.bin": r"holds pickled weights \(pytorch_model.bin\); load it with tran",
    "config.json pytorch_model-00001-of-00002.bin": r"holds pickled weights \(pytorch_model-00001-of-00002.bin\)",
    "consolidated.00.pth params.json tokenizer.model": r"holds pickled weights \(consolidated.00.pth\)",
    "config.json weights.npz tokenizer.json": r"holds weights for MLX \(weights.npz\); take the model that it was made",
    "config.json tokenizer.json model_world_size_2_rank_0.pt": r"holds a sharded checkpoint \(model_world_size_2_rank",
    "__0_0.distcp __1_0.distcp": r"holds a sharded checkpoint \(__0_0.distcp\); merge the shards",
    "config.json tf_model.h5": r"holds weights of another framework \(tf_model.h5\)",
    "training_args.bin checkpoint-100/ checkpoint-200/": r"holds checkpoints of a trainer \(checkpoint-100\); name",
    "refs/ blobs/ snapshots/": r"holds commits of the hub's cache \(snapshots\); name the folder of one of them",
}


@pytest.fixture
def model(tmp_path):
    """A folder that looks like a model."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(catalogue.find("qwen2.5-0.5b").config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\x08" * 500)
    return folder


def load(folder, tmp_path):
    """Check a config with an experiment whose model is in `folder`."""
    values = yaml.safe_load(SMOKE.read_text(encoding="utf-8")) | {"model": {"source": "local", "path": str(folder)}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    settings.load({"experiments": [str(tmp_path / "mine.yaml")]}, "config.yaml")


def refusal(folder, tmp_path):
    with pytest.raises(settings.ConfigError) as error:
        load(folder, tmp_path)
    text = str(error.value)
    assert text.startswith(f"{tmp_path / 'mine.yaml'}: model.path: {folder}") and text.isprintable()
    return text


@pytest.mark.parametrize("names", OTHERS)
def test_what_is_no_model_is_named_with_what_to_do(tmp_path, names):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in names.split():
        (folder / name).mkdir() if name.endswith("/") else (folder / name).write_text("{}")
    said = refusal(folder, tmp_path)
    assert said.endswith("allowed: a folder with config.json, tokenizer.json and model*.safetensors (docs/models.md)")
    assert re.search(OTHERS[names], said)
    with pytest.raises(settings.ConfigError, match=OTHERS[names]):
        shorthand.experiment("countdown", "baseline", str(folder))


def test_a_model_and_one_that_is_not_made_yet_pass(model, tmp_path):
    load(model, tmp_path)
    load(tmp_path / "later", tmp_path)
    # What tools leave beside a whole model does not matter.
    for name in ("adapter_config.json", "adapter_model.safetensors", "pytorch_model.bin", "model.gguf", "optimizer.pt"):
        (model / name).write_text("{}")
    load(model, tmp_path)
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    load(model, tmp_path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "model.gguf").write_text("GGUF")
    assert "model.gguf is one file; name the folder of a whole model; " in refusal(tmp_path / "model.gguf", tmp_path)
    with pytest.raises(settings.ConfigError, match=r"model: .*model\.gguf is one file"):
        shorthand.experiment("countdown", "baseline", str(tmp_path / "model.gguf"))


def test_weights_that_git_did_not_fetch(model, tmp_path):
    (model / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "model/model.safetensors is a pointer of git-lfs, without weights; call `git" in refusal(model, tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"quantization": {"bits": 4, "group_size": 64}},
            "holds weights quantized for MLX (config.json: quantization);",
        ),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            "holds weights quantized for transformers (config.json: quantization_config); take the model that it",
        ),
        ({"model_type": "bert"}, 'config.json: model_type "bert" is not supported; allowed: qwen2, qwen3, llama'),
        ({"num_hidden_layers": 0}, "config.json: num_hidden_layers 0; allowed: integers from 1"),
    ],
)
def test_a_config_json_that_cannot_be_used(model, tmp_path, changes, said):
    config = json.loads((model / "config.json").read_text()) | changes
    (model / "config.json").write_text(json.dumps(config))
    assert said in refusal(model, tmp_path)


def test_missing_files_are_named(model, tmp_path):
    (model / "tokenizer.json").unlink()
    assert "model: tokenizer.json missing; for the tokenizer: load it with transformers" in refusal(model, tmp_path)
    (model / "model.safetensors").unlink()
    (model / "config.json").write_text("[")
    assert "model: tokenizer.json, model*.safetensors missing; " in refusal(model, tmp_path)
    assert local_model.NEEDED == model_folder.NEEDED


def test_a_dry_run_says_so_without_torch(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text("{}")
    code = (
        "import sys; from pathlib import Path; from softmax_rewards.config import local_model\n"
        "try: local_model.check(Path('adapter'))\n"
        "except ValueError as error: print(error, {'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("model.path: adapter holds a LoRA adapter") and done.stdout.endswith(" set()\n")


def test_the_documents_name_every_kind():
    page = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    assert not [kind.what for kind in local_model.KINDS if kind.what not in page]
