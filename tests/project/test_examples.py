"""The launch of other trainers in `examples/`: what they are given is what this project uses itself."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import chat_templates
import pandas as pd
import yaml
from transformers import PreTrainedTokenizerFast

from softmax_rewards.config import experiments
from softmax_rewards.data import tasks
from softmax_rewards.training import prompts

ROOT = Path(__file__).parents[2]
VERL = ROOT / "examples" / "verl"
SMOKE = ROOT / "tests" / "smoke" / "smoke.yaml"


def test_the_puzzles_and_the_reward_are_the_tasks_own(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["data.py", str(SMOKE), str(tmp_path), "--data", str(tmp_path)])
    runpy.run_path(str(VERL / "data.py"))
    settings = experiments.load(SMOKE)
    task, options = tasks.load(settings.task)
    compute_score = runpy.run_path(str(VERL / "reward.py"))["compute_score"]
    for split in ("train", "test"):
        rows = pd.read_parquet(tmp_path / f"{split}.parquet").to_dict("records")
        assert len(rows) == {"train": options.train, "test": settings.evaluation.puzzles}[split]
        assert [row["extra_info"]["index"] for row in rows] == list(range(len(rows)))
        truth = rows[0]["reward_model"]["ground_truth"]
        puzzle = json.loads(truth)
        text, _ = prompts.writer(settings, tmp_path).write(puzzle)
        assert list(rows[0]["prompt"]) == [{"role": "user", "content": text}] and text.endswith(":<think>")
        for answer, said in (
            (task.reference_answer(puzzle), {"score": 1.0 + options.format_reward, "acc": 1.0, "format": 1.0}),
            (" </think>\n<answer>1</answer>", {"score": options.format_reward, "acc": 0.0, "format": 1.0}),
            ("no idea", {"score": 0.0, "acc": 0.0, "format": 0.0}),
        ):
            assert compute_score(rows[0]["data_source"], answer, truth, rows[0]["extra_info"], other=None) == said


def test_every_trainer_sees_the_same_prompt(tmp_path):
    """The pipeline, verl with its message and template, and TRL with its text, for a model that closes thoughts."""
    template = (VERL / "chat_template.jinja").read_text(encoding="utf-8")
    for name in ("QWEN3", "SMOLLM3", "R1_DISTILL"):
        folder = chat_templates.write(tmp_path / name, getattr(chat_templates, name))
        if name == "R1_DISTILL":
            chat_templates.begin_with_bos(folder)
        values = yaml.safe_load(SMOKE.read_text(encoding="utf-8")) | {"model": {"source": "local", "path": str(folder)}}
        writer = prompts.writer(experiments.check(name, values), tmp_path)
        puzzle = {"nums": [3, 4], "target": 7}
        text, ids = writer.write(puzzle)
        theirs = PreTrainedTokenizerFast.from_pretrained(folder)
        message = [{"role": "user", "content": text}]
        assert (
            theirs.apply_chat_template(message, chat_template=template, add_generation_prompt=True)["input_ids"] == ids
        )
        assert theirs(writer.plain_text(puzzle))["input_ids"] == ids


def launched(script, folder, *arguments, **variables):
    """What the script would give verl: key -> value. Printed instead of run."""
    variables = {"SEED": "7", "RUNS": str(folder), "LAUNCH": "printf %s\\0", **variables}
    command = ["bash", str(VERL / script), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return dict(part.split("=", 1) for part in done.stdout.split("\0") if part)


def test_the_launch_names_the_scheme_and_quotes_the_template(tmp_path):
    """hydra reads a value in single quotes as it stands, so that there may be none inside."""
    given = launched(
        "countdown.sh",
        tmp_path,
        "+algorithm.softmax_rewards.tau=0.5",
        ABLATION="centered",
        SCHEME="softmax_centered",
    )
    assert given["algorithm.adv_estimator"] == "softmax_rewards.softmax_centered"
    assert given["+algorithm.softmax_rewards.tau"] == "0.5" and given["data.seed"] == "7"
    template = (VERL / "chat_template.jinja").read_text(encoding="utf-8")
    assert given["actor_rollout_ref.model.custom_chat_template"] == f"'{template}'" and "'" not in template
    assert Path(given["reward.custom_reward_function.path"]) == VERL / "reward.py"
    assert (tmp_path / "centered" / "seed-7").is_dir()
    assert Path(given["data.train_files"]).is_absolute() and Path(given["trainer.rollout_data_dir"]).is_absolute()


def test_the_launch_on_processors_adds_its_module_to_ours(tmp_path, monkeypatch):
    """The key stands twice, first with `+`. Only `++` may set it again."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    variables = {"ABLATION": "linear", "MODEL": str(tmp_path), "GPUS": "2"}
    given = launched("cpu/countdown.sh", tmp_path, **variables)
    key = "ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES"
    assert given[f"+{key}"] == "softmax_rewards.integrations.verl_plugin"
    assert given[f"++{key}"] == "'verl_cpu,softmax_rewards.integrations.verl_plugin'"
    assert given["+ray_kwargs.ray_init.num_gpus"] == given["trainer.n_gpus_per_node"] == "2"
    assert given["actor_rollout_ref.model.path"] == str(tmp_path)
    joined = launched("cpu/countdown.sh", tmp_path, **variables, RAY_ADDRESS="10.0.0.1:6379")
    assert not [name for name in joined if name.startswith("+ray_kwargs.ray_init.num_")]  # Ray refuses them then
