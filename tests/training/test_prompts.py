"""What a base model sees, as `show-prompt` prints it and as other trainers get it."""

import chat_templates
import pytest
from standin_hub import Hub, serving

from softmax_rewards.common import files
from softmax_rewards.config import experiments, folders
from softmax_rewards.data import dataset
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.training import prompts, show_prompt, thinking

TASK = {"name": "countdown", "numbers": 2, "train": 8, "warm_start": 8, "test": 8}
REPLY = "<|im_end|>\n<|im_start|>assistant\nLet me solve this step by step.\n<think>"


def experiment(**model):
    ablations = {"baseline": {"weighting": {"scheme": "linear"}}}
    values = {
        "task": TASK,
        "model": model,
        "seeds": [0],
        "ablations": ablations,
        "evaluation": {"puzzles": 8, "pass_puzzles": 8},
    }
    return experiments.check("mine", values)


def first_puzzle(folder):
    dataset.write(TASK, folder)
    return dataset.read(folder, "test", 1)[0]


def test_the_prompt_of_a_hybrid_model(tmp_path):
    folder = chat_templates.write(tmp_path / "model", chat_templates.QWEN3)
    shown = show_prompt.show(experiment(source="local", path=str(folder)), tmp_path)
    facts, prompt = shown.split("\n\n", 1)
    assert facts.startswith("mine: the first held-out puzzle, template chat, ")
    assert facts.endswith(
        "The model's own chat template would close the thought. The base model has one that keeps it open."
    )
    numbers = ", ".join(map(str, first_puzzle(tmp_path / "data")["nums"]))
    assert prompt.startswith("<|im_start|>system\n") and prompt.endswith(REPLY) and numbers in prompt
    assert not (folder / thinking.FILE).exists() and not (tmp_path / "models").exists()


def test_other_templates_are_shown_without_a_remark(tmp_path):
    folder = chat_templates.write(tmp_path / "model", chat_templates.SMOLLM2)
    for template, end in (("chat", REPLY), ("base", "\nAssistant: Let me solve this step by step.\n<think>")):
        shown = show_prompt.show(experiment(source="local", path=str(folder), template=template), tmp_path)
        assert f"template {template}, " in shown and shown.endswith(end) and "close the thought" not in shown


def test_a_base_model_that_is_made_is_read(tmp_path):
    """Also its recorded template. Neither the hub nor the model's own folder is needed any more."""
    mine = experiment(source="hub", repository="owner/gone")
    base = tmp_path / "models" / folders.model_key(mine.runs()[0])
    base.parent.mkdir()
    chat_templates.write(base, chat_templates.QWEN3)
    thinking.keep_open(base)
    files.write_manifest(base, ["tokenizer.json"], template="chat")
    puzzle = first_puzzle(tmp_path / "tasks" / folders.task_key(mine.runs()[0]))
    writer = prompts.writer(mine, tmp_path)
    assert writer.write(puzzle) == Tokenizer(base).prompt(writer.task.prompt(puzzle, "chat"))
    assert writer.write(puzzle)[0].endswith(REPLY)
    assert show_prompt.show(mine, tmp_path).endswith(writer.write(puzzle)[0])


def test_of_a_model_of_the_hub_only_small_files_are_fetched(tmp_path, monkeypatch):
    folder = chat_templates.write(tmp_path / "model", chat_templates.QWEN3)
    served = {file.name: file.read_bytes() for file in folder.iterdir()} | {"model.safetensors": b"large"}
    mine = experiment(source="hub", repository="owner/hybrid")
    with serving(Hub("owner/hybrid", served)) as standin:
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
        assert show_prompt.show(mine, tmp_path).endswith(REPLY)
        assert not [path for _, path, _ in standin.requests if path.endswith(".safetensors")]
    with serving(Hub("owner/hybrid", {})) as standin:
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
    with pytest.raises(
        ValueError, match=r"^owner/hybrid at main cannot be fetched .*; allowed without the hub: model: "
    ) as error:
        prompts.writer(mine, tmp_path)
    assert "\n" not in str(error.value) and "by hand" not in str(error.value)


def test_a_model_of_the_pipeline_is_not_trained_for_its_prompt(tmp_path):
    shown = show_prompt.show(experiment(source="mini"), tmp_path)
    assert "template compact, " in shown and shown.endswith(":<think>")


def test_a_prompt_cannot_control_the_terminal(tmp_path):
    folder = chat_templates.write(tmp_path / "model", "\x1b]0;title\x07" + chat_templates.SMOLLM2)
    shown = show_prompt.show(experiment(source="local", path=str(folder)), tmp_path)
    assert r"\x1b]0;title\x07<|im_start|>system" in shown


def test_a_text_that_the_tokenizer_would_begin_otherwise_is_refused(tmp_path):
    folder = chat_templates.write(tmp_path / "model", chat_templates.SMOLLM2)
    writer = prompts.writer(experiment(source="local", path=str(folder)), tmp_path)
    puzzle = {"nums": [3, 4], "target": 7}
    assert writer.plain_text(puzzle) == writer.write(puzzle)[0]

    chat_templates.begin_with_bos(folder)
    writer = prompts.writer(experiment(source="local", path=str(folder)), tmp_path)
    with pytest.raises(ValueError, match=r"does not write '<\|endoftext\|>' first, but the tokenizer would$"):
        writer.plain_text(puzzle)


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    show_prompt.main(["multiplication-mini", "--data", "none"])
    assert "\n\n" in (out := capsys.readouterr().out) and out.endswith("=<think>\n")
    with pytest.raises(SystemExit, match="unknown experiment 'multiplication' "):
        show_prompt.main(["multiplication"])
