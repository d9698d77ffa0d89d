"""What a run costs: hand-computed figures, and what autograd really keeps."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from softmax_rewards.config import cost, experiments
from softmax_rewards.config.run import Evaluation, Training
from softmax_rewards.models import catalogue, log_probs
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.shape import Shape
from softmax_rewards.policy import decoding

TINY = Shape(
    vocab_size=1000,
    hidden_size=8,
    intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=4,
    rope_theta=1e4,
    rms_norm_eps=1e-6,
    tie_word_embeddings=True,
)
# A layer: q and o 8·8 each, k and v 8·4 each, three matrices 8·16, two norms 8: 592. Embedding 8000, last norm 8.
PARAMETERS = 8000 + 2 * 592 + 8
TRAINING = Training(
    steps=25,
    prompts_per_step=4,
    group_size=3,
    max_new_tokens=40,
    max_microbatch_tokens=500,
    rollout_batch_size=100,
    precision="bfloat16",
)
EVALUATION = Evaluation(every=10, puzzles=30, final_samples=1, pass_puzzles=10, pass_samples=16)
LONGEST = 160 + 40


def changed(**changes: object) -> Training:
    return dataclasses.replace(TRAINING, **changes)


def test_the_state_of_the_optimizer():
    assert TINY.parameters == PARAMETERS
    for precision, place, device, host in [
        ("float32", "device", 16, 0),
        ("float32", "host", 8, 12),
        ("bfloat16", "device", 12, 0),
        ("bfloat16", "host", 6, 12),
    ]:
        found = cost.memory(TINY, changed(precision=precision, optimizer_state=place), EVALUATION)
        assert (found.state, found.host) == (device * PARAMETERS, host * PARAMETERS)


def test_memory_of_the_update():
    # Bytes a token and layer: norms (4·2+8)·8 = 128, attention 3·2·(2+1)·4 = 72, feed-forward 4·2·16 = 128.
    # Beside them, going backward, 3·2·16 = 96. Logits: 3 tensors of 500·1000 float32. The embedding's gradient in both.
    fixed = 12 * PARAMETERS + 3 * 4 * 500 * 1000 + 1000 * 8 * (4 + 2)
    assert cost.memory(TINY, TRAINING, EVALUATION).update == fixed + 500 * (2 * 328 + 96)
    checkpointed = cost.memory(TINY, changed(gradient_checkpointing=True), EVALUATION).update
    assert checkpointed == fixed + 500 * (2 * 2 * 8 + 328 + 96)


def test_a_micro_batch_has_at_least_one_sequence_and_at_most_all():
    fixed = 12 * PARAMETERS + 1000 * 8 * (4 + 2)
    for budget, tokens in [(1, LONGEST), (LONGEST, LONGEST), (10**6, 4 * 3 * LONGEST)]:
        found = cost.memory(TINY, changed(max_microbatch_tokens=budget), EVALUATION).update
        assert found == fixed + tokens * (2 * 328 + 96 + 3 * 4 * 1000)


def test_logits_come_in_chunks():
    wide = dataclasses.replace(TINY, vocab_size=200_000)
    few, many = (cost.memory(wide, changed(max_microbatch_tokens=tokens), EVALUATION).update for tokens in (1000, 2000))
    assert many - few == 1000 * (2 * 328 + 96)  # 2^26 logits are 335 tokens of this vocabulary


def test_memory_of_sampling():
    # 6 of the 10 prompts of pass@16 at once, 96 rows of at most 100; a token's keys and values are 2 layers · 2 · 1
    # head · 4 · 2 bytes, and the prompts have a cache of their own before.
    weights_and_moments = (12 - 4) * PARAMETERS
    cache = (96 + 6) * LONGEST * 32
    found = cost.memory(TINY, TRAINING, EVALUATION)
    assert found.rollout == weights_and_moments + cache + max(4 * 4 * 96 * 1000, 6 * 160 * 2 * (4 * 16 + 3 * 8))
    assert cost.memory(TINY, changed(rollout_batch_size=1024), EVALUATION).rollout > found.rollout


def test_the_peak_names_its_phase():
    assert cost.Memory(5, 7, 9, 0).phase == "rollout"
    assert cost.Memory(5, 9, 7, 0).peak == 9 and cost.Memory(5, 9, 7, 0).phase == "update"


def test_hours_where_starting_kernels_is_the_limit():
    # Decoding: 40 tokens · 2 layers · 200 µs a batch. 25 training batches of 12 rows; 4 points (0, 10, 20, 25) and a
    # final pass of 30 rows; 160 rows of pass@16 in two batches, and 10 greedy rows.
    decoding = 40 * 2 * 200e-6 * (25 + 6 + 2)
    flops = 0.4 * 989e12
    prompts = 160 * (25 * 4 + 5 * 30 + 10 + 10) * 2 * PARAMETERS / flops
    updates = 25 * 6 * PARAMETERS * 12 * LONGEST / flops
    updates += 25 * 25 * 4 * 12 * 40 * 1000 / (0.6 * 3.35e12)  # the logits of 40 tokens each, over and over
    assert cost.hours(TINY, TRAINING, EVALUATION) == pytest.approx((decoding + prompts + updates) / 3600, rel=1e-12)


def test_hours_of_the_update():
    base = cost.hours(TINY, TRAINING, EVALUATION)
    tokens = 25 * 12 * LONGEST
    again = cost.hours(TINY, changed(gradient_checkpointing=True), EVALUATION)
    assert (again - base) * 3600 == pytest.approx(2 * PARAMETERS * tokens / (0.4 * 989e12), rel=1e-3)
    host = cost.hours(TINY, changed(optimizer_state="host"), EVALUATION)
    assert (host - base) * 3600 == pytest.approx(25 * 4e-9 * PARAMETERS, rel=1e-6)


def test_a_kl_reference_costs_its_weights_and_a_forward_pass():
    plain, kl = cost.memory(TINY, TRAINING, EVALUATION), cost.memory(TINY, changed(kl_coef=0.02), EVALUATION)
    assert kl.update - plain.update == kl.rollout - plain.rollout == 2 * PARAMETERS  # bfloat16
    assert cost.memory(TINY, changed(kl_coef=0.02, kl_reference="host"), EVALUATION) == plain
    longer = cost.hours(TINY, changed(kl_coef=0.02), EVALUATION) - cost.hours(TINY, TRAINING, EVALUATION)
    assert longer * 3600 == pytest.approx(25 * 2 * PARAMETERS * 12 * LONGEST / (0.4 * 989e12), rel=1e-3)


def test_top_p_costs_copies_of_the_logits_and_passes_over_them():
    shape = dataclasses.replace(TINY, vocab_size=10**6)
    plain, truncated = (cost.memory(shape, changed(top_p=top_p), EVALUATION) for top_p in (1.0, 0.9))
    assert plain.update == truncated.update
    # 12 rows are drawn with top-p in training, 100 without it in the evaluation of pass@k.
    assert truncated.rollout == plain.rollout
    assert cost.hours(shape, changed(top_p=0.9), EVALUATION) > cost.hours(shape, TRAINING, EVALUATION)
    rows = {"prompts_per_step": 100}  # 99 rows at once
    plain, truncated = (cost.memory(shape, changed(top_p=top_p, **rows), EVALUATION) for top_p in (1.0, 0.9))
    assert truncated.rollout - plain.rollout > 6 * 4 * 99 * 10**6


def test_measured_noise_costs_one_gradient_more():
    plain, measured = (cost.memory(TINY, changed(measure_noise=on), EVALUATION) for on in (False, True))
    assert measured.update - plain.update == 4 * PARAMETERS
    assert measured.rollout == plain.rollout


def test_hours_where_memory_or_arithmetic_is_the_limit():
    """Qwen2.5-3B, 512 answers of 1024 tokens, worked out by hand."""
    shape = Shape.from_config(catalogue.find("qwen2.5-3b").config)
    training = Training(
        steps=1,
        prompts_per_step=64,
        group_size=8,
        max_new_tokens=1024,
        precision="bfloat16",
        gradient_checkpointing=True,
    )
    evaluation = Evaluation(every=1, puzzles=16, pass_puzzles=1, pass_samples=16, samples=1)
    parameters = 3_085_938_688
    # A token has 36·2·2·128·2 = 36,864 bytes in the cache, a sequence 672 tokens on average.
    assert cost.cache_bytes(shape, 2) == 36_864
    read = 2 * parameters + 512 * 672 * 36_864 + 12 * 4 * 512 * 151_936
    token = read / (0.6 * 3.35e12)
    assert token > 2 * parameters * 512 / (0.4 * 989e12) > 36 * 200e-6
    step = 1024 * token + 64 * 160 * 2 * parameters / (0.4 * 989e12)
    step += 8 * parameters * 512 * 1184 / (0.4 * 989e12) + 25 * 4 * 512 * 1024 * 151_936 / (0.6 * 3.35e12)
    # Two points of the curve, a final pass, a greedy answer and pass@16, all limited by starting kernels.
    rest = 5 * 1024 * 36 * 200e-6 + (3 * 16 + 1 + 1) * 160 * 2 * parameters / (0.4 * 989e12)
    assert cost.hours(shape, training, evaluation) == pytest.approx((step + rest) / 3600, rel=1e-12)


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_autograd_keeps_what_the_formula_says(precision, qk_norm):
    def kept(layers: int) -> float:
        shape = dataclasses.replace(
            TINY, hidden_size=128, intermediate_size=384, head_dim=32, num_hidden_layers=layers, qk_norm=qk_norm
        )
        model = Decoder(shape).to(getattr(torch, precision))
        storages: dict[int, torch.UntypedStorage] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model(torch.zeros((2, 64), dtype=torch.long))
        own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        measured = sum(storage.nbytes() for place, storage in storages.items() if place not in own)
        formula = cost.activations(shape, changed(precision=precision), 128)
        return measured, formula

    (few, low), (many, high) = kept(2), kept(3)
    assert high - low == pytest.approx(many - few, rel=0.05)


def experiment(folder: Path, **changes: object) -> experiments.Experiment:
    values = {
        "task": {"name": "countdown"},
        "model": {"source": "mini"},
        "seeds": [0, 1],
        "ablations": {
            "baseline": {"weighting": {"scheme": "linear"}},
            "short": {"weighting": {"scheme": "linear"}, "training": {"steps": 1}},
        },
    }
    file = folder / "trial.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return dataclasses.replace(experiments.load(file), **changes)


def test_the_shape_of_a_source(tmp_path):
    known = catalogue.find("qwen2.5-0.5b")
    shape = Shape.from_config(known.config)
    assert cost.shape_of({"source": "hub", "repository": known.repository}) == shape
    assert cost.shape_of({"source": "hub", "repository": "someone/else"}) is None
    shallow = dataclasses.replace(shape, num_hidden_layers=3)
    assert cost.shape_of({"source": "random", "shape": "Qwen2.5-0.5B", "layers": 3}) == shallow
    assert cost.shape_of({"source": "random", "shape": "qwen2.5-0.5b", "layers": None}) == shape
    assert cost.shape_of({"source": "smollm2"}).parameters == 134_515_008
    (tmp_path / "config.json").write_text(json.dumps(known.config))
    assert cost.shape_of({"source": "local", "path": str(tmp_path)}) == shape
    assert cost.shape_of({"source": "mini"}) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("[]", "the file is list; allowed: a mapping of keys"),
        ('{"a":', "not JSON: Expecting value: line 1 column 6 (char 5)"),
        ("{}", "model_type null is not supported; allowed: qwen2, qwen3, llama"),
    ],
)
def test_a_local_model_that_is_none(text, message, tmp_path):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(experiments.ConfigError) as error:
        cost.shape_of({"source": "local", "path": str(tmp_path)})
    assert str(error.value) == f"{tmp_path}/config.json: {message}"


def test_the_estimate_of_an_experiment(tmp_path):
    small = experiment(tmp_path)
    assert cost.estimate(small) is None  # the embedded model
    model = {"source": "random", "shape": "qwen2.5-0.5b", "layers": None}
    large = dataclasses.replace(small, model=model)
    shape, ablations = cost.shape_of(model), large.ablations
    each, short = (cost.hours(shape, ablations[name].training, large.evaluation) for name in ("baseline", "short"))
    peak = cost.memory(shape, ablations["baseline"].training, large.evaluation)
    assert cost.estimate(large) == (
        f"trial: 4 runs, each about {each:.2g} GPU-hours on one H100 (80 GB), "
        f"peak {peak.peak / 1e9:.0f} GB device memory ({peak.phase}), 0 GB host; "
        f"{2 * (each + short):.2g} GPU-hours in all"
    )
    on_cpu = {
        name: dataclasses.replace(ablation, training=dataclasses.replace(ablation.training, device="cpu"))
        for name, ablation in ablations.items()
    }
    assert cost.estimate(dataclasses.replace(large, ablations=on_cpu)) is None
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    other = dataclasses.replace(large, model={"source": "local", "path": str(tmp_path)})
    assert cost.estimate(other).startswith(f"trial: no estimate, {tmp_path}/config.json: model_type")
    nowhere = dataclasses.replace(large, model={"source": "local", "path": "no/where"})
    assert cost.estimate(nowhere) == "trial: no estimate, no/where: the folder is not there"
    unknown = dataclasses.replace(large, model={"source": "hub", "repository": "someone/else"})
    assert cost.estimate(unknown) == "trial: no estimate, the shape of someone/else is not known before it is fetched"


def test_the_estimates_of_this_repository_need_no_torch():
    """The Snakefile makes them at every dry run."""
    code = (
        "import sys; from pathlib import Path; from softmax_rewards.config import cost, experiments as config;"
        "files = sorted(Path('config/experiments').glob('*.yaml'));"
        "print(*(cost.estimate(config.load(file)) for file in files), sep='\\n');"
        "print({'torch', 'scipy'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    *lines, imported = done.stdout.splitlines()
    assert imported == "set()"
    small = next(line for line in lines if line.startswith("countdown-smollm2: "))
    assert float(re.search(r"([\d.]+) GPU-hours in all", small)[1]) <= 1


def test_what_is_known_elsewhere_too_is_the_same():
    """`cost` must not import torch, so it repeats these."""
    assert (cost.CHUNK_LOGITS, cost.PREFILL_TOKENS) == (log_probs.CHUNK_ELEMENTS, decoding.PREFILL_TOKENS)


def test_what_a_training_job_asks_a_scheduler_for(tmp_path):
    experiment = experiments.load(Path("config/experiments/countdown-qwen2.5-3b.yaml"))
    run = experiment.run("baseline", 0)
    shape = cost.shape_of(run.model)
    asked = cost.request(run)
    estimated = 60 * cost.hours(shape, run.training, run.evaluation)
    assert 2 * estimated + 30 <= asked.runtime < 2 * estimated + 31  # minutes
    # 3.09e9 parameters: 8 bytes each for copies, 12 more where moments and masters are on the host.
    host = dataclasses.replace(run, training=dataclasses.replace(run.training, optimizer_state="host"))
    assert asked.mem_mb == pytest.approx(6_000 + 8 * 3086, abs=10)
    assert cost.request(host).mem_mb == pytest.approx(6_000 + 20 * 3086, abs=20)
    # No estimate: on a processor, of a model that the pipeline makes, of one that is not there.
    on_cpu = dataclasses.replace(run, training=dataclasses.replace(run.training, device="cpu"))
    made = experiments.load(Path("config/experiments/countdown-mini.yaml")).run("baseline", 0)
    absent = dataclasses.replace(run, model={"source": "local", "path": str(tmp_path / "absent")})
    assert {cost.request(each) for each in (on_cpu, made, absent)} == {cost.UNKNOWN}
