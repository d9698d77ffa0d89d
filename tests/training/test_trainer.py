"""A training run is exact: the same bytes twice, also after it was killed; ablations of a seed see the same."""

import dataclasses
import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import forks
import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from softmax_rewards.common.files import read_manifest, write_manifest
from softmax_rewards.config import experiments
from softmax_rewards.models import checkpoint
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy.learning_rate import learning_rate
from softmax_rewards.training import evaluate, trainer

SAME = (
    "metrics.csv",
    "evaluations.csv",
    "groups.csv",
    "episodes.parquet",
    "samples.jsonl",
    "model/model.safetensors",
)


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """The folder of an undisturbed run."""
    out = tmp_path_factory.mktemp("runs") / "undisturbed" / "seed-0"
    trainer.train(*tiny, out)
    return out


@pytest.fixture
def start_training(tiny):
    """A function that starts the run of `tiny` in another process; all of them end with the test."""
    processes = []

    def start(out, *output):
        processes.append(forks.start_training(*tiny, out, *output))
        return processes[-1]

    yield start
    for process in processes:
        kill(process)


def kill(process):
    process.kill()
    process.join()


def assert_same(one, other):
    for name in SAME:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def until_checkpoint(process, out, step):
    """Wait until the process has saved a checkpoint of at least `step` updates."""
    while process.is_alive():
        saved = [int(folder.name.split("-")[1]) for folder in out.glob("state/checkpoint-*")]
        if saved and max(saved) >= step:
            return
        time.sleep(0.005)


def test_a_second_run_has_the_same_bytes(tiny, finished, tmp_path):
    trainer.train(*tiny, tmp_path / "again")
    assert_same(finished, tmp_path / "again")
    assert not (finished / "state").exists()


def test_killed_at_random_moments_it_resumes_and_ends_with_the_same_bytes(
    tiny, finished, tmp_path, start_training, capsys
):
    rng = np.random.default_rng()  # a new moment every time the test runs
    out = tmp_path / "killed"
    for step in sorted(rng.integers(1, 8, size=2)):
        process = start_training(out)
        until_checkpoint(process, out, step)
        time.sleep(rng.uniform(0, 0.1))
        kill(process)
    process = start_training(out)
    time.sleep(rng.uniform(0, 2))  # anywhere: while it starts, trains, writes its tables or has ended
    kill(process)
    trainer.train(*tiny, out)
    said = capsys.readouterr().out
    assert "step 8/8" in said or "its files are restored" in said
    assert_same(finished, out)


def test_what_an_ended_run_left_behind_does_no_harm(tiny, finished, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(finished, out, ignore=shutil.ignore_patterns("finished"))
    (out / "evaluation.json").write_text("of the earlier run")
    (out / "state.discarded").mkdir()
    (out / "state.discarded" / "metrics.jsonl").write_text("half")
    (out / "model" / "chat_template.jinja").write_text("of another base model")
    trainer.train(*tiny, out)
    assert_same(finished, out)
    assert {file.name for file in (out / "model").iterdir()} == {file.name for file in (finished / "model").iterdir()}
    assert [path.name for path in out.glob("state*")] == ["state.json"]
    assert not (out / "evaluation.json").exists()


def test_an_entropy_bonus_keeps_the_policy_spread(tiny, finished, tmp_path):
    run, data, base = tiny
    spread = dataclasses.replace(run, training=dataclasses.replace(run.training, entropy_coef=1.0))
    trainer.train(spread, data, base, tmp_path / "spread")
    with_bonus, without = (pd.read_csv(folder / "metrics.csv") for folder in (tmp_path / "spread", finished))
    assert with_bonus["entropy"].iloc[0] == without["entropy"].iloc[0]
    assert with_bonus["entropy"].iloc[-1] > without["entropy"].iloc[-1]


def test_how_often_checkpoints_are_saved_changes_nothing(tiny, finished, tmp_path):
    run, data, base = tiny
    never = dataclasses.replace(run.training, checkpoint_every=100)
    trainer.train(dataclasses.replace(run, training=never), data, base, tmp_path)
    assert_same(finished, tmp_path)


SCHEDULE = {"lr_warmup_steps": 2, "lr_decay": "cosine"}


@pytest.mark.parametrize(
    "memory",
    [
        {"precision": "bfloat16"},
        {"precision": "bfloat16", "rounding": "nearest", "temperature": 0.8, "top_p": 0.9, **SCHEDULE},
        {"precision": "bfloat16", "optimizer_state": "host", "gradient_checkpointing": True},
        {"optimizer_state": "host", "rollout_batch_size": 4, "max_microbatch_tokens": 100},
    ],
)
def test_a_run_that_saves_memory_resumes_exactly_too(tiny, tmp_path, interrupted_at, memory):
    run, data, base = tiny
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, steps=5, checkpoint_every=3, **memory))
    trainer.train(run, data, base, tmp_path / "undisturbed")
    with interrupted_at(5):
        trainer.train(run, data, base, tmp_path / "resumed")
    assert [folder.name for folder in (tmp_path / "resumed/state").glob("checkpoint-*")] == ["checkpoint-00000003"]
    state = tmp_path / "resumed/state/checkpoint-00000003/state.json"
    limits = json.loads(state.read_text())["limits"]
    assert limits == {name: getattr(run.training, name) for name in ("rollout_batch_size", "max_microbatch_tokens")}
    trainer.train(run, data, base, tmp_path / "resumed")
    assert_same(tmp_path / "undisturbed", tmp_path / "resumed")
    metrics = pd.read_csv(tmp_path / "resumed/metrics.csv")
    rates = [learning_rate(run.training, step) for step in range(5)]
    assert metrics["learning_rate"].tolist() == pytest.approx(rates, rel=1e-12)
    assert ("unchanged_weights" in metrics) == (run.training.precision == "bfloat16")
    saved = checkpoint.read_config(tmp_path / "resumed/model")
    assert saved["dtype"] == run.training.precision
    assert (tmp_path / "resumed/model/tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


def test_coverage_measured_while_training_changes_nothing_else_and_resumes_exactly(
    tiny, finished, tmp_path, interrupted_at
):
    run, data, base = tiny
    run = dataclasses.replace(run, evaluation=dataclasses.replace(run.evaluation, pass_every=4))
    with interrupted_at(6):
        trainer.train(run, data, base, tmp_path)
    trainer.train(run, data, base, tmp_path)
    curve, names = pd.read_csv(tmp_path / "evaluations.csv"), ["pass@1", "pass@4", "pass@16"]
    # Step 0 is the base model, and step 8 the final one. Both are measured by evaluations of their own.
    assert curve.loc[curve[names].notna().all(axis=1), "step"].tolist() == [4]
    (rates,) = curve[names].dropna().to_numpy()
    assert 0 <= rates[0] <= rates[1] <= rates[2] <= 1
    pd.testing.assert_frame_equal(curve.drop(columns=names), pd.read_csv(finished / "evaluations.csv"))
    assert (tmp_path / "metrics.csv").read_bytes() == (finished / "metrics.csv").read_bytes()


def test_a_resumed_run_remembers_that_memory_ran_out(tiny, tmp_path, start_training):
    process = start_training(tmp_path)
    until_checkpoint(process, tmp_path, 2)
    kill(process)
    saved = max(tmp_path.glob("state/checkpoint-*"))
    state = json.loads((saved / "state.json").read_text())
    limits = {"rollout_batch_size": 8, "max_microbatch_tokens": 77}
    (saved / "state.json").write_text(json.dumps(state | {"limits": limits}))
    write_manifest(saved, list(read_manifest(saved)["files"]))
    trainer.train(*tiny, tmp_path)
    timing = pd.read_csv(tmp_path / "timing.csv").set_index("step").loc[state["step"] + 1 :]
    assert set(timing["max_microbatch_tokens"]) == {77} and set(timing["rollout_batch_size"]) == {8}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_end_saves_a_checkpoint_and_exits_within_a_step(tiny, finished, tmp_path, start_training, number):
    out = tmp_path / "stopped"
    process = start_training(out, tmp_path / "output")
    until_checkpoint(process, out, 2)
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == 128 + number
    saved = max(out.glob("state/checkpoint-*"))
    said = (tmp_path / "output").read_text()
    assert f"stopped on request after step {int(saved.name.split('-')[1])}" in said
    assert not (out / "run.json").exists()
    trainer.train(*tiny, out)
    assert_same(finished, out)


def test_a_checkpoint_of_other_settings_is_not_resumed(tiny, tmp_path, start_training):
    run, data, base = tiny
    out = tmp_path / "changed"
    process = start_training(out)
    until_checkpoint(process, out, 2)
    kill(process)
    other = dataclasses.replace(run, weighting={"scheme": "linear"})
    trainer.train(other, data, base, out)
    trainer.train(other, data, base, tmp_path / "fresh")
    assert_same(out, tmp_path / "fresh")


def test_a_run_is_trained_by_one_process_at_a_time(tiny, tmp_path, start_training):
    out = tmp_path / "locked"
    process = start_training(out)
    until_checkpoint(process, out, 1)
    os.kill(process.pid, signal.SIGSTOP)  # it holds the lock as long as it exists
    says = f"process {process.pid} \\(training\\) is at work here on {socket.gethostname()};"
    with pytest.raises(RuntimeError, match=says):
        trainer.train(*tiny, out)


FULL = experiments.load(Path("config/experiments/countdown-mini-full.yaml")).ablations


@pytest.mark.parametrize("ablation", [name for name in FULL if not name.startswith(("softmax-0.", "centered-0."))])
def test_every_ablation_of_the_full_experiment_trains(tiny, tmp_path, ablation):
    run, data, base = tiny
    short = dataclasses.replace(run.training, steps=2)
    trainer.train(dataclasses.replace(run, weighting=FULL[ablation].weighting, training=short), data, base, tmp_path)
    metrics = pd.read_csv(tmp_path / "metrics.csv")
    assert np.isfinite(metrics[["loss", "grad_norm", "entropy", "weight_std"]]).all(axis=None)
    if isinstance(FULL[ablation].weighting.get("tau"), dict):
        assert metrics["tau"].iloc[1] < metrics["tau"].iloc[0] == FULL[ablation].weighting["tau"]["from"]
    if FULL[ablation].weighting.get("tau") == "auto":
        assert metrics["tau"].tolist() == [0.55, 0.55]


def test_ablations_of_a_seed_see_the_same_prompts_base_and_noise(tiny, finished, tmp_path):
    run, data, base = tiny
    trainer.train(dataclasses.replace(run, weighting={"scheme": "linear"}), data, base, tmp_path / "linear")
    ours, theirs = (pd.read_parquet(folder / "episodes.parquet") for folder in (finished, tmp_path / "linear"))
    assert ours["puzzle"].equals(theirs["puzzle"])
    first = [table[table["step"] == 1].drop(columns="weight") for table in (ours, theirs)]
    assert first[0].equals(first[1])
    evaluations = [pd.read_csv(folder / "evaluations.csv") for folder in (finished, tmp_path / "linear")]
    assert evaluations[0].iloc[0].equals(evaluations[1].iloc[0])
    other_seed = tmp_path / "seed-1"
    trainer.train(dataclasses.replace(run, seed=1), data, base, other_seed)
    assert not ours["puzzle"].equals(pd.read_parquet(other_seed / "episodes.parquet")["puzzle"])


def test_tables_agree_with_each_other(tiny, finished):
    run = tiny[0]
    metrics, groups = pd.read_csv(finished / "metrics.csv"), pd.read_csv(finished / "groups.csv")
    rollouts = pd.read_parquet(finished / "episodes.parquet")
    size = run.training.prompts_per_step * run.training.group_size
    assert metrics["step"].tolist() == list(range(1, 9))
    assert (groups.groupby("step")["count"].sum() == run.training.prompts_per_step).all()
    by_step = rollouts.groupby("step")
    np.testing.assert_allclose(metrics["success"], by_step["correct"].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["tokens"], by_step["length"].sum().cumsum())
    np.testing.assert_allclose(metrics["weight_mean"], by_step["weight"].mean(), atol=1e-6)
    assert (by_step.size() == size).all()
    assert pd.read_csv(finished / "evaluations.csv")["step"].tolist() == [0, 2, 4, 6, 8]
    texts = pd.read_json(finished / "samples.jsonl", lines=True)
    assert texts["step"].tolist() == [step for step in (0, 2, 4, 6, 8) for _ in range(run.evaluation.samples)]
    timing = pd.read_csv(finished / "timing.csv")
    assert (timing[["rollout_s", "update_s", "memory_mb"]] > 0).all(axis=None)
    record = json.loads((finished / "run.json").read_text())
    assert record["config"] == json.loads(run.to_json())


def test_with_one_answer_per_puzzle_the_final_evaluation_is_the_last_point_of_the_curve(tiny, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    record["config"]["evaluation"]["final_samples"] = 1
    (folder / "run.json").write_text(json.dumps(record))
    evaluate.final(folder, tiny[1])
    facts = json.loads((folder / "evaluation.json").read_text())
    assert facts["success"] == pytest.approx(pd.read_csv(folder / "evaluations.csv")["success"].iloc[-1])


def test_the_final_model_loads_in_transformers_and_is_judged(tiny, finished):
    evaluate.final(finished, tiny[1])
    facts = json.loads((finished / "evaluation.json").read_text())
    puzzles = pd.read_csv(finished / "puzzles.csv")
    assert facts["success"] == pytest.approx(puzzles["sampled"].mean())
    assert facts["greedy"] == pytest.approx(puzzles["greedy"].mean())
    assert 0 <= facts["pass@1"] <= facts["pass@4"] <= facts["pass@16"] <= 1

    ours = checkpoint.load(finished / "model")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(finished / "model")
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(finished / "model")
    text = "[3,5,7]=22:<think>3+5*7=38no\n3*5+7=22yes</think>\n<answer>3*5+7</answer>"
    ids = Tokenizer(finished / "model").encode(text)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids
    assert Tokenizer(finished / "model").decode(ids) == text
    batch = torch.tensor([ids])
    with torch.no_grad():
        torch.testing.assert_close(ours.lm_head(ours(batch)), theirs(batch).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("part", ["data", "base"])
def test_puzzles_or_base_that_changed_after_their_manifest_are_refused(tiny, tmp_path, part):
    run, *folders = tiny
    changed = {name: tmp_path / name for name in ("data", "base")}
    for source, target in zip(folders, changed.values(), strict=True):
        shutil.copytree(source, target)
    file = changed[part] / {"data": "train.parquet", "base": "model.safetensors"}[part]
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{file.name} is damaged \(sha256 differs\)"):
        trainer.train(run, changed["data"], changed["base"], tmp_path / "run")


def test_a_diverged_run_says_so(tiny, tmp_path):
    run, data, base = tiny
    wild = dataclasses.replace(run, training=dataclasses.replace(run.training, learning_rate=1e30))
    with pytest.raises(FloatingPointError, match="training has diverged"):
        trainer.train(wild, data, base, tmp_path / "wild")
    assert not (tmp_path / "wild" / "run.json").exists()
