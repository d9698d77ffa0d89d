"""What the benchmarks count and fit; what they measure is not tested."""

import dataclasses
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import growth
import limit
import memory
import numpy as np
import pytest
import step
import torch
import work
from peers import Step, counting
from torch.utils.flop_counter import FlopCounterMode

from softmax_rewards.config import experiments
from softmax_rewards.config.run import Training
from softmax_rewards.data.tasks import countdown
from softmax_rewards.models import checkpoint
from softmax_rewards.models.shape import Shape
from softmax_rewards.models.tokenizer import Tokenizer

ROOT = Path(__file__).parents[2]
CONFIG = work.qwen2(hidden=16, inner=24, layers=2, heads=4, kv_heads=2, vocabulary=40)
SHAPE = Shape.from_config(CONFIG)


def test_counted_by_hand():
    # Per layer 16·(16 + 2·8) for q, k and v, 16·16 behind attention, 3·16·24; the head has 40·16.
    assert limit.matrix_flops(SHAPE) == 2 * 2 * (512 + 256 + 1152)
    assert limit.head_flops(SHAPE) == 2 * 640
    assert limit.weight_bytes(SHAPE, 4) == 4 * (2 * (512 + 256 + 1152) + 640)
    assert limit.cache_bytes(SHAPE, 4) == 4 * 2 * 2 * 8
    assert limit.attention_flops(SHAPE, 5) == 2 * 2 * (2 * 16 * 5)  # scores and mixture, two layers


def decoded_flops(prompt: int, length: int) -> int:
    """FLOPs that torch counts while transformers' Qwen2 reads a prompt token by token and decodes greedily."""
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen2Config(
        **{name: value for name, value in CONFIG.items() if name.startswith(("hidden_s", "inter", "num_", "vocab"))},
        tie_word_embeddings=True,
        attn_implementation="eager",
    )
    model = transformers.Qwen2ForCausalLM(config).eval()
    cache = transformers.DynamicCache(config=config)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for position in range(prompt + length - 1):
            hidden = model.model(torch.tensor([[3]]), past_key_values=cache, use_cache=True).last_hidden_state
            if position >= prompt - 1:
                model.lm_head(hidden)
    return counter.get_total_flops()


def test_forward_flops_are_those_that_torch_counts():
    for prompt, length in ((1, 1), (1, 4), (5, 3)):
        counted = decoded_flops(prompt, length)
        assert limit.forward_flops(SHAPE, [prompt], np.array([[length]])) == counted


def test_a_prompt_is_counted_once_a_group_and_only_for_answers_kept():
    lengths = np.array([[3, 5], [2, 2]])
    whole = limit.forward_flops(SHAPE, [7, 4], lengths)
    apart = sum(limit.forward_flops(SHAPE, [prompt], row[None]) for prompt, row in zip([7, 4], lengths, strict=True))
    assert whole == apart
    alone = limit.forward_flops(SHAPE, [7], np.array([[3]])) + limit.forward_flops(SHAPE, [7], np.array([[5]]))
    prompt = limit.forward_flops(SHAPE, [7], np.array([[1]]))
    assert limit.forward_flops(SHAPE, [7], lengths[:1]) == alone - prompt
    trained = np.array([[True, False], [False, False]])
    assert limit.forward_flops(SHAPE, [7, 4], lengths, trained) == limit.forward_flops(SHAPE, [7], np.array([[3]]))


def test_the_limit_is_flops_or_bytes_whichever_takes_longer():
    lengths = np.array([[3, 2]])
    flops = limit.forward_flops(SHAPE, [4], lengths)
    free = limit.rollout_seconds(SHAPE, [4], lengths, 4, limit.Rates(1.0, float("inf")))
    assert free == pytest.approx(flops)
    # Behind the prompt's 4 tokens, which are read once, two rows of 1 and then one of 2.
    reads = 3 * limit.weight_bytes(SHAPE, 4) + limit.cache_bytes(SHAPE, 4) * ((4 + 1 + 1) + (4 + 2))
    assert limit.rollout_seconds(SHAPE, [4], lengths, 4, limit.Rates(float("inf"), 1.0)) == pytest.approx(reads)
    every = np.ones(lengths.shape, dtype=bool)
    assert limit.update_seconds(SHAPE, [4], lengths, every, limit.Rates(1.0, 1.0)) == pytest.approx(3 * flops)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "hot"))
def test_every_benchmark_still_finds_what_it_measures(name):
    importlib.import_module(name)


def test_memory_is_counted_through_the_real_step():
    settings = Training(
        prompts_per_step=2, group_size=2, max_new_tokens=8, max_microbatch_tokens=64, precision="bfloat16"
    )
    peaks = memory.counted(SHAPE, settings, evaluated=4)
    weights = 2 * SHAPE.parameters
    assert set(peaks) == {"update", "rollout", "evaluation"} and min(peaks.values()) > weights
    longer = dataclasses.replace(settings, max_new_tokens=24)
    assert all(value > peaks[name] for name, value in memory.counted(SHAPE, longer, evaluated=4).items())


def test_exponent():
    sizes = [8, 16, 64]
    assert growth.exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert growth.exponent(sizes, [2.0, 2.0, 2.0]) == pytest.approx(0.0)


def test_growth_varies_one_quantity_at_a_time():
    start = dataclasses.asdict(growth.START)
    for name, value, case in growth.cases():
        differing = {key for key, other in dataclasses.asdict(case).items() if other != start[key]}
        if name == "hidden_size":
            assert case.config["hidden_size"] == value and differing <= {"config"}
        else:
            assert getattr(case, name) == value and differing <= {name}


def test_random_weights_never_end(tmp_path):
    case = work.Case(2, 2, 4, config=CONFIG)
    step_work = work.make(case, tmp_path / "base", tmp_path / "data", 1, "cpu")
    lengths = {len(ids) for _, ids in step_work.prompts}
    assert lengths == {24} and len({text for text, _ in step_work.prompts}) == 2
    policy, tokenizer = checkpoint.load(step_work.base), Tokenizer(step_work.base)
    with torch.no_grad():
        logits = policy.lm_head(policy(torch.randint(3, 40, (8, 50))))
    probabilities = logits.softmax(-1)
    assert probabilities[..., [*tokenizer.eos_ids, tokenizer.pad_id]].max() < 1e-12
    assert (step_work.rewards(np.zeros((2, 2))) > 0).all()  # drawn


@pytest.mark.parametrize("size", ["0.1m", "0.4m", "1.6m", "6m"])
def test_the_scale_series_is_measured_in_its_experiments_shapes(size):
    experiment = experiments.load(ROOT / f"config/experiments/countdown-mini-scale-{size}.yaml")
    case, model, training = work.SHAPES[f"mini-{size}"], experiment.model, experiment.training
    sizes = [model[key] for key in ("hidden_size", "intermediate_size", "layers", "heads", "kv_heads")]
    assert case.config == work.qwen2(*sizes, vocabulary=len(countdown.ALPHABET) + 3)  # and three special tokens
    settings = (training.prompts_per_step, training.group_size, training.max_new_tokens)
    assert (case.prompts, case.samples, case.longest) == settings
    assert f"{Shape.from_config(case.config).parameters / 1e6:.1g}" == f"{float(size[:-1]):.1g}"


def test_counting_sees_what_is_computed_with_gradients():
    embedding = torch.nn.Embedding(4, 2)
    with counting(embedding) as passed:
        embedding(torch.zeros(2, 3, dtype=torch.int64))
        embedding(torch.zeros(1, 4, dtype=torch.int64))
        with torch.no_grad():
            embedding(torch.zeros(5, dtype=torch.int64))
    embedding(torch.zeros(7, dtype=torch.int64))
    assert passed == [6, 4]


def taken(*rows: list[list[int]]) -> list[Step]:
    return [Step(1.0, 1.0, np.array(row), np.ones((1, len(row[0])), dtype=bool), 1) for row in rows]


def test_unequal_work_is_told():
    training = SimpleNamespace(max_new_tokens=4)
    step_work = SimpleNamespace(forced=True, training=training)
    assert step.wrong_tokens(step_work, {"project": taken([[4, 4]]), "peer": taken([[4, 4]])}) == []
    (failure,) = step.wrong_tokens(step_work, {"project": taken([[4, 4]]), "peer": taken([[4, 3]])})
    assert failure.startswith("peer: answers of 3 to 4 tokens")
    step_work.forced = False
    draws = np.random.default_rng(0).integers(1, 5, size=(3, 1, 64)).tolist()
    assert step.wrong_tokens(step_work, {"project": taken(draws[0]), "peer": taken(draws[1])}) == []
    (failure,) = step.wrong_tokens(step_work, {"project": taken(draws[0]), "peer": taken([[4] * 64])})
    assert "tokens per answer" in failure
    skipping = [dataclasses.replace(taken(draws[1])[0], trained=np.arange(64)[None] % 2 == 0)]
    (failure,) = step.wrong_tokens(step_work, {"project": taken(draws[0]), "peer": skipping})
    assert failure == "peer: 50.0% of the answers are not trained"


def test_unequal_losses_are_told():
    assert step.wrong_losses({"project": (1.0, 2.0), "peer": (1.00009, 2.0001)}) == []
    failures = step.wrong_losses({"project": (1.0, 2.0), "peer": (1.0002, float("nan"))})
    assert [failure.split(" on")[0] for failure in failures] == ["peer: loss 1.0002", "peer: gradient norm nan"]


@pytest.mark.parametrize(
    ("peers", "message"),
    [
        ("grpo-zero", "error: grpo-zero needs the path of a checkout: --peers grpo-zero=<checkout>"),
        ("grpo-zero=nowhere", "no checkout of GRPO-Zero, grpo.py is missing"),
        ("trl=nowhere", "error: trl takes no path"),
        ("trk", "error: unknown peer 'trk' (nearest: 'trl'); allowed: grpo_zero, project, trl"),
    ],
)
def test_a_peer_that_cannot_be_had_is_one_line(tmp_path, peers, message, monkeypatch, capsys):
    work.write_random(CONFIG, torch.float32, torch.device("cpu"), {"name": "countdown"}, tmp_path)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["step.py", "--shape", "long", "--base", str(tmp_path), "--peers", peers])
    monkeypatch.setattr(step, "keep_memory", lambda: None)  # it changes the process for good
    with pytest.raises(SystemExit) as stopped:
        step.main()
    (line,) = stopped.value.code.splitlines()  # Python prints it to the standard error, and ends with 1
    assert message in line
    assert capsys.readouterr().err == ""
