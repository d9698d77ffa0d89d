"""TRL's trainer with our weights: one real step of a tiny model, against formulas written out here; and the example."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("trl", reason="needs trl: pip install 'softmax-rewards[trl]'")

import huggingface_hub.constants
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from softmax_rewards.config import experiments
from softmax_rewards.data import tasks
from softmax_rewards.integrations import advise, group_log, imported, reward_log
from softmax_rewards.integrations.scheme import Scheme
from softmax_rewards.integrations.trl import WeightedGRPOTrainer

pytestmark = pytest.mark.filterwarnings("ignore")  # TRL's and accelerate's own
WORDS = ["<pad>", "<eos>", "yes", "no", "one", "two", "three", "four"]
SAMPLES, PROMPTS, RANGE = 8, 4, (0.0, 1.1)
DATA = Dataset.from_list([{"prompt": word} for word in ("one", "two", "three", "four")])


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Nothing may be downloaded here. The variable of the same name would also hold for other files of tests."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def accuracy(completions, **_):
    return [float(text.startswith("yes")) for text in completions]


def well_formed(completions, **_):
    return [float("two" in text) for text in completions]


@pytest.fixture(scope="module")
def tokenizer():
    raw = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", padding_side="left")


@pytest.fixture
def build(tokenizer, tmp_path):
    def make(kind, steps=1, folder=tmp_path, own=None, **extra):
        torch.manual_seed(0)
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
        config = Qwen2Config(vocab_size=len(WORDS), num_key_value_heads=1, max_position_embeddings=32, **sizes, **ids)
        arguments = GRPOConfig(
            output_dir=str(folder), use_cpu=True, bf16=False, report_to="none", disable_tqdm=True, seed=0,
            max_steps=steps, save_strategy="no", logging_strategy="no", num_generations=SAMPLES,
            per_device_train_batch_size=SAMPLES * PROMPTS // 2, gradient_accumulation_steps=2, max_completion_length=4,
            reward_weights=[1.0, 0.1], gradient_checkpointing=False, **(own or {}),
        )  # fmt: skip
        model = Qwen2ForCausalLM(config)
        trainer = kind(model, [accuracy, well_formed], arguments, DATA, processing_class=tokenizer, **extra)
        seen, compute = [], trainer._compute_loss

        def spy(model, inputs):
            decode = lambda ids: tokenizer.batch_decode(ids, skip_special_tokens=True)  # noqa: E731
            texts = decode(inputs["prompt_ids"]), decode(inputs["completion_ids"])
            seen.extend(
                zip([trainer.state.global_step] * len(texts[0]), *texts, inputs["advantages"].tolist(), strict=True)
            )
            return compute(model, inputs)

        trainer._compute_loss = spy
        return trainer, seen

    return make


def groups(seen):
    """(step, rewards [N], right [N], what reached the loss [N]) of each prompt of each step."""
    for step, prompt in sorted({row[:2] for row in seen}):
        texts, used = zip(*[row[2:] for row in seen if row[:2] == (step, prompt)], strict=True)
        right, formed = np.array(accuracy(texts)), np.array(well_formed(texts))
        assert len(texts) == SAMPLES
        yield step, right + 0.1 * formed, right, np.array(used)


def own_log(folder):
    return pd.read_json(folder / "training_groups/groups.jsonl", lines=True)


def soft(r, tau):
    return len(r) * np.exp(r / tau) / np.exp(r / tau).sum()


FORMULAS = {
    "linear": lambda r, c: (r - r.mean()) / (r.std() + 1e-4),
    "dr_grpo": lambda r, c: r - r.mean(),
    "rloo": lambda r, c: np.array([r[i] - np.delete(r, i).mean() for i in range(len(r))]),
    "softmax": lambda r, c: soft(r, 0.3),
    "softmax_centered": lambda r, c: soft(r, 0.3) - 1,
    "maxrl": lambda r, c: (c - c.mean()) / c.mean() if c.any() else 0 * c,
    "raft": lambda r, c: c,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_weights_that_reach_the_loss_are_the_schemes(build, name):
    weighting = {"scheme": name, **({"tau": 0.3} if name.startswith("softmax") else {})}
    trainer, seen = build(WeightedGRPOTrainer, scheme=Scheme(weighting, RANGE, threshold=1.0), correct="accuracy")
    trainer.train()
    found = list(groups(seen))
    assert len(found) == PROMPTS and any(0 < right.sum() < SAMPLES for _, _, right, _ in found)
    for _, rewards, right, used in found:
        assert np.allclose(used, FORMULAS[name](rewards, right), rtol=1e-5, atol=1e-5)
    assert sorted(trainer._logs["advantages"]) == pytest.approx(sorted(row[-1] for row in seen), abs=1e-6)


def test_linear_is_trls_own_but_for_the_kind_of_standard_deviation(build):
    trainer, seen = build(WeightedGRPOTrainer, scheme=Scheme({"scheme": "linear"}, RANGE))
    trainer.train()
    trainer, seen_theirs = build(GRPOTrainer)  # made after the other has trained: it seeds all randomness
    trainer.train()
    assert [row[:3] for row in seen] == [row[:3] for row in seen_theirs]
    factor = np.sqrt(SAMPLES / (SAMPLES - 1))
    mine, own = np.array([row[3] for row in seen]), np.array([row[3] for row in seen_theirs])
    assert np.any(own) and np.allclose(mine, factor * own, rtol=2e-3, atol=1e-6)  # σ ≥ 0.03, ε = 1e-4


def test_tau_follows_the_trainers_steps_and_auto_the_range(build):
    annealed = {"scheme": "softmax", "tau": {"from": 1.0, "to": 0.5, "steps": 1}}
    trainer, seen = build(WeightedGRPOTrainer, scheme=Scheme(annealed, RANGE), steps=2)
    trainer.train()
    found = list(groups(seen))
    assert {step for step, *_ in found} == {0, 1}
    for step, rewards, _, used in found:
        assert np.allclose(used, soft(rewards, (1.0, 0.5)[step]), atol=1e-5)
    trainer, seen = build(WeightedGRPOTrainer, scheme=Scheme({"scheme": "softmax", "tau": "auto"}, RANGE))
    trainer.train()
    assert all(np.allclose(used, soft(rewards, 0.55), atol=1e-5) for _, rewards, _, used in groups(seen))


def test_a_process_gets_its_part_and_all_processes_make_the_groups(build, monkeypatch, tmp_path):
    trainer, _ = build(WeightedGRPOTrainer, scheme=Scheme({"scheme": "dr_grpo"}, RANGE))
    own = SAMPLES // 2 * 3  # a group lies across the two processes
    rewards = torch.randint(0, 2, (2 * own, 2)).float()
    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", lambda *_: {"advantages": torch.zeros(own)})
    trainer._rewards_of_all, trainer._lengths_of_all = rewards, list(range(2 * own))
    trainer._logs["advantages"].extend([0.0] * 2 * own)
    total = (rewards.double().numpy() @ [1.0, 0.1]).reshape(-1, SAMPLES)
    wanted = (total - total.mean(1, keepdims=True)).ravel()
    for index in (0, 1):
        trainer.accelerator = SimpleNamespace(process_index=index)
        monkeypatch.setattr(trainer, "is_world_process_zero", lambda rank=index: rank == 0)
        found = trainer._generate_and_score_completions([{}] * own)["advantages"]
        assert np.allclose(found, wanted[index * own :][:own], atol=1e-6)
    assert np.allclose(trainer._logs["advantages"], wanted, atol=1e-6)
    rows = own_log(tmp_path)  # written by one process, with the answers of both
    assert rows["weight"].tolist() == pytest.approx(wanted, abs=1e-6) and rows["length"].tolist() == [*range(2 * own)]
    assert rows["group"].tolist() == np.repeat(range(2 * own // SAMPLES), SAMPLES).tolist()


def test_its_own_log_has_every_group_that_reached_the_loss_and_no_held_out_one(build, tmp_path):
    evaluated = {"eval_strategy": "steps", "eval_steps": 1, "eval_on_start": True, "log_completions": True}
    scheme = Scheme({"scheme": "softmax", "tau": 0.3}, RANGE, threshold=1.0)
    extra = {"correct": "accuracy", "eval_dataset": Dataset.from_list([{"prompt": "no"}] * SAMPLES)}
    trainer, seen = build(WeightedGRPOTrainer, 2, own=evaluated, scheme=scheme, **extra)
    trainer.train()
    seen = [row for row in seen if row[1] != "no"]
    rows = own_log(tmp_path)
    assert sorted(rows["step"]) == sorted(row[0] for row in seen) == [0] * 32 + [1] * 32
    used = {tuple(sorted(np.round(used, 5))) for *_, used in groups(seen)}
    assert {tuple(sorted(part["weight"].round(5))) for _, part in rows.groupby(["step", "group"])} == used
    assert rows["reward"].to_numpy() == pytest.approx((rows["accuracy"] + 0.1 * rows["well_formed"]).to_numpy())
    assert (rows["correct"] == (rows["accuracy"] == 1)).all() and rows["correct"].sum() == sum(
        right.sum() for _, _, right, _ in groups(seen)
    )
    assert rows["length"].between(1, 4).all() and rows["length"].nunique() > 1


def test_missing_rewards_count_as_trl_counts_them(build):
    trainer, _ = build(WeightedGRPOTrainer, scheme=Scheme({"scheme": "dr_grpo"}, RANGE, threshold=1.0), correct=0)
    nan = np.nan
    rewards = torch.tensor([[1, nan], [nan, 1], [nan, nan], [0, 0], [nan, nan], [nan, nan], [1, 1], [nan, nan]])
    mean = 1.1 / 3
    assert trainer.weigh(rewards, 4) == pytest.approx([1 - mean, 0.1 - mean, 0, -mean, 0, 0, 0, 0], abs=1e-7)


def test_rewards_outside_the_range_end_the_training_with_one_line(build):
    """TRL's default weights are 1, so the sum reaches 2 where 1 + 0.1 was meant."""
    scheme = Scheme({"scheme": "softmax", "tau": "auto"}, RANGE, threshold=1.0)
    trainer, _ = build(WeightedGRPOTrainer, scheme=scheme, correct="accuracy")
    trainer.reward_weights = torch.ones(2)
    with pytest.raises(ValueError, match=r"^reward 2 is outside reward_range \(0, 1.1\), and tau is a share of it"):
        trainer.train()


def test_an_evaluation_is_weighed_too(build):
    trainer, seen = build(WeightedGRPOTrainer, scheme=Scheme({"scheme": "uniform"}, RANGE))
    trainer.evaluate(DATA)
    assert seen and {row[3] for row in seen} == {1.0}


def test_its_own_log_can_be_judged(build, tmp_path):
    evaluated = {"eval_strategy": "steps", "eval_steps": 1, "eval_on_start": True}
    for name in ("linear", "dr_grpo"):
        scheme = Scheme({"scheme": name}, RANGE)
        trainer, _ = build(
            WeightedGRPOTrainer, 2, tmp_path / name / "seed-0", evaluated, scheme=scheme, eval_dataset=DATA
        )
        trainer.train()
        trainer.save_state()
    first, second = imported.read(tmp_path, "eval_rewards/accuracy/mean", [])
    assert (first.ablation, second.ablation) == ("linear", "dr_grpo")
    assert first.evaluations["step"].tolist() == [0, 1, 2]
    assert first.evaluations["success"].between(0, 1).all()


@pytest.mark.parametrize(
    ("extra", "threshold", "own", "said"),
    [
        ({"correct": "acuracy"}, 1.0, None, "unknown reward function 'acuracy' .nearest: 'accuracy'"),
        ({"correct": 2}, 1.0, None, "unknown reward function 2"),
        ({"correct": "accuracy"}, None, None, "without a threshold"),
        ({}, None, {"scale_rewards": "batch"}, "scale_rewards: 'batch'; allowed beside a scheme: 'group'"),
    ],
)
def test_what_would_be_without_effect_is_refused(build, extra, threshold, own, said):
    with pytest.raises(ValueError, match=said):
        build(WeightedGRPOTrainer, scheme=Scheme({"scheme": "maxrl"}, RANGE, threshold), own=own, **extra)


# ---- the example --------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_example_trains_the_embedded_model_and_its_logs_can_be_read(tmp_path):
    """On the smoke tests' puzzles and with their small embedded model, so that it takes a minute or two."""
    experiment = ROOT / "tests/smoke/smoke.yaml"
    out = tmp_path / "out"
    example(experiment, out)
    example(experiment, out, "--scheme", "softmax_centered", "--tau", "0.5")
    settings = experiments.load(experiment)
    task, options = tasks.load(settings.task)
    for name in ("linear", "softmax_centered-0.5"):
        rows = own_log(out / "runs" / name / "seed-0")
        sizes = rows.groupby(["step", "group"]).size()
        assert sorted(set(rows["step"])) == list(range(20)) and set(sizes) == {settings.training.group_size}
        assert len(sizes) == 20 * settings.training.prompts_per_step
        assert rows["reward"].isin([0, options.format_reward, 1, sum(task.reward_range(options))]).all()
        assert rows["well_formed"].mean() > 0.1 and rows["length"].between(1, settings.training.max_new_tokens).all()
    first, second = imported.read(out / "runs", "eval_rewards/accuracy/mean", [])
    assert first.evaluations["step"].tolist() == second.evaluations["step"].tolist() == [0, 10, 20]
    assert first.evaluations["success"][0] == second.evaluations["success"][0]  # the same model and puzzles
    assert advise.report(reward_log.read(group_log.preferred(out / "runs/linear/seed-0"))).startswith("plain log: 80 ")


def test_what_the_example_cannot_train_is_one_line_before_anything_is_made(tmp_path):
    for arguments, said in (
        (["--scheme", "sofmax"], "unknown scheme 'sofmax' (nearest: 'softmax')"),
        (["--scheme", "softmax"], "scheme 'softmax' needs the hyperparameter 'tau'"),
    ):
        done = example(ROOT / "config/experiments/countdown-mini.yaml", tmp_path / "out", *arguments, code=1)
        assert said in done.stderr.splitlines()[-1]
    done = example(ROOT / "config/experiments/multiplication-mini.yaml", tmp_path / "out", code=1)
    assert "multiplication-mini.yaml: allowed: task.name countdown" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def example(experiment, out, *arguments, code=0):
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, ROOT / "examples/trl/countdown.py", experiment, out, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert done.returncode == code, done.stderr
    return done
