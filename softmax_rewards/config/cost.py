"""What a run costs before it runs: device memory, host memory and hours on one GPU.

Every answer is assumed to be as long as `max_new_tokens` allows, and every prompt to have `PROMPT_TOKENS`. Shorter
answers need less memory and time. The rest is a model of what the code does:

*Memory.* The state is `STATE` bytes per parameter: float32 has weights, gradients and AdamW's two moments (4 × 4);
bfloat16 weights and first moment (2 + 2), gradients summed and second moment in float32 (4 + 4); a state on the host
takes `HOST` bytes there (masters and moments) and leaves weights and gradients here. The update adds what autograd
keeps of one micro-batch (with gradient checkpointing each layer's input and all of one layer), three chunks of logits
and the gradient of the largest parameter. Sampling adds the cache of `rollout_batch_size` sequences and a few tensors
as large as their logits; gradients are freed by then. A KL reference on the device adds its weights, measured noise one
gradient more; a reference on the host is copied into the room of the gradients for its pass. Several GPUs share the
float32 state; each gathers the layers that it computes with, and for sampling all weights.

*Time.* Decoding a token takes the longest of reading memory (weights, cache, `LOGIT_PASSES` over the logits),
2 FLOPs per parameter and row, and starting every layer's kernels; the update takes 6 FLOPs per parameter and token, 8
with gradient checkpointing, and `UPDATE_LOGIT_PASSES` over the logits; a KL reference takes 2. Evaluations while
training and at the end are counted; making and evaluating the base model is not. Several GPUs are assumed to share a
run's training without loss, but not its final evaluation. The device is an H100 (80 GB, SXM) with NVIDIA's peaks for
dense matrices. PyTorch's eager mode is assumed to reach the shares `ACHIEVED_FLOPS` and `ACHIEVED_BANDWIDTH` of them.
These shares are guesses: the hours may be wrong by a factor of two.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softmax_rewards.config.experiments import Experiment
from softmax_rewards.config.run import ConfigError, Evaluation, Run, Training
from softmax_rewards.models import catalogue
from softmax_rewards.models.shape import Shape

DEVICE = "H100 (80 GB)"
PEAK_FLOPS = {"float32": 67e12, "bfloat16": 989e12}  # a second
PEAK_BANDWIDTH = 3.35e12  # bytes a second
ACHIEVED_FLOPS, ACHIEVED_BANDWIDTH = 0.4, 0.6
LAYER_SECONDS = 200e-6  # about 40 kernels per layer and token, each 5 µs to start from Python
HOST_UPDATE_SECONDS = 4e-9  # per parameter: its gradient to the host, AdamW there, its weight back

PROMPT_TOKENS = 160  # Countdown's chat prompt, template and all, in the Qwen and Llama vocabularies
BYTES = {"float32": 4, "bfloat16": 2}  # of a weight, an activation or an entry of the cache
STATE = {
    ("float32", "device"): 16,
    ("float32", "host"): 8,
    ("bfloat16", "device"): 12,
    ("bfloat16", "host"): 6,
}
GRADIENT = 4  # bytes per parameter, whatever the precision
HOST = {"device": 0, "host": 12}
CHUNK_LOGITS = 2**26  # logits of one chunk of the objective, float32
LOGIT_COPIES = {"update": 3, "rollout": 4}  # tensors of their size alive at once
UPDATE_LOGIT_PASSES = 25  # over the logits of the update: made, normalized, made again and turned into gradients
PREFILL_TOKENS = 2**15  # tokens of prompts read in one pass
GATHERED = 2  # so many of a sharded model's widest parts are whole at once, with their gradients
MARGIN = 2  # a job asks for so many times the estimated hours
START_MINUTES = 30  # until a job's first step, and from its last step to its files
START_MB = 6_000  # Python, PyTorch and the CUDA context
COPIED = 8  # bytes per parameter on the host: one kind of checkpoint tensors in float32, and weights read or held
LOGIT_PASSES = 12  # over the logits, to draw one token per row: log-probabilities, entropy, their running sum
TOP_P_COPIES, TOP_P_PASSES = 7, 40  # more of both with top-p: sorted values, their order, running sums


@dataclass(frozen=True)
class Memory:
    """Bytes. `update` and `rollout` are peaks on the device; they include the part of `state` that is there then."""

    state: int
    update: int
    rollout: int
    host: int

    @property
    def peak(self) -> int:
        return max(self.update, self.rollout)

    @property
    def phase(self) -> str:
        """In which phase the peak is."""
        return "update" if self.update >= self.rollout else "rollout"


@dataclass(frozen=True)
class Request:
    """What a job asks a scheduler for: megabytes on the host, minutes."""

    mem_mb: int
    runtime: int


UNKNOWN = Request(mem_mb=8_000, runtime=12 * 60)  # where there is no estimate: the embedded model, and training on CPUs


def request(run: Run) -> Request:
    """What to ask for so that no limit stops the training of `run`, or its evaluation.

    The estimates are for one H100. The user of a cluster with slower devices sets more time there.
    """
    try:
        shape = shape_of(run.model) if run.training.device != "cpu" else None
    except ValueError:  # a missing local model, which making the base model reports
        shape = None
    if shape is None:
        return UNKNOWN
    host = memory(shape, run.training, run.evaluation).host + COPIED * shape.parameters * run.training.gpus
    minutes = MARGIN * 60 * hours(shape, run.training, run.evaluation)
    return Request(START_MB * run.training.gpus + math.ceil(host / 1e6), START_MINUTES + math.ceil(minutes))


def estimate(experiment: Experiment) -> str | None:
    """One line on the runs of an experiment; None for the embedded model, and where all runs are on the CPU."""
    runs = [run for run in experiment.runs() if run.training.device != "cpu"]
    source = experiment.model
    if not runs or source["source"] == "mini":
        return None
    try:
        shape = shape_of(source)
    except ValueError as error:
        return f"{experiment.name}: no estimate, {error}"
    if shape is None:
        origin = source.get("repository", source["source"])
        return f"{experiment.name}: no estimate, the shape of {origin} is not known before it is fetched"
    each = [run.training.gpus * hours(shape, run.training, run.evaluation) for run in runs]
    most = max((memory(shape, run.training, run.evaluation) for run in runs), key=lambda figure: figure.peak)
    return (
        f"{experiment.name}: {len(runs)} runs, each about {two_digits(max(each))} GPU-hours on one {DEVICE}, "
        f"peak {most.peak / 1e9:.0f} GB device memory ({most.phase}), {most.host / 1e9:.0f} GB host; "
        f"{two_digits(sum(each))} GPU-hours in all"
    )


def shape_of(model: Mapping[str, Any]) -> Shape | None:
    """The shape of the base model that a config's `model` names, None if it is not known before the model is made.

    Raises ValueError if a local model is missing or wrong: one line that begins with the file.
    """
    if model["source"] == "local":
        return _shape_in(Path(model["path"]))
    if model["source"] == "hub":
        known = [entry for entry in catalogue.MODELS.values() if entry.repository == model["repository"]]
        return Shape.from_config(known[0].config) if known else None
    if model["source"] == "random":
        config = catalogue.find(model["shape"]).config
        depth = {"num_hidden_layers": model["layers"]} if model.get("layers") else {}
        return Shape.from_config(config | depth)
    if model["source"] == "smollm2":
        return Shape.from_config(catalogue.find("smollm2-135m-instruct").config)
    return None


def _shape_in(folder: Path) -> Shape:
    file = folder / "config.json"
    if not folder.is_dir():
        raise ConfigError(f"{folder}: the folder is not there")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigError(f"{file}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: the file is {type(values).__name__}; allowed: a mapping of keys")
    try:
        return Shape.from_config(values)
    except ValueError as error:  # begins with config.json
        raise ConfigError(f"{folder}/{error}") from None


def two_digits(value: float) -> str:
    """A positive number with two digits, because no estimate is more exact."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def memory(shape: Shape, training: Training, evaluation: Evaluation) -> Memory:
    """Peak memory of a run, from its shape and settings; on each of its GPUs, if there are several."""
    size, longest = BYTES[training.precision], PROMPT_TOKENS + training.max_new_tokens
    several, gradient = training.gpus > 1, GRADIENT * shape.parameters // training.gpus
    state = STATE[training.precision, training.optimizer_state] * shape.parameters
    if several:
        state = STATE["float32", "device"] * shape.parameters // training.gpus
    if training.kl_coef and training.kl_reference == "device":
        state += size * shape.parameters
    prompts = -(-training.prompts_per_step // training.gpus)
    every = prompts * training.group_size * longest
    tokens = min(max(training.max_microbatch_tokens, longest), every)
    logits = LOGIT_COPIES["update"] * 4 * min(CHUNK_LOGITS, tokens * shape.vocab_size)
    largest = max(shape.vocab_size, 2 * shape.intermediate_size) * shape.hidden_size
    update = activations(shape, training, tokens) + logits + largest * (GRADIENT + size)
    update += gradient * training.measure_noise
    update += GATHERED * largest * (GRADIENT + size) * several

    samplings = (
        (prompts, training.group_size, training.top_p < 1),
        (evaluation.puzzles, evaluation.final_samples, False),
        (evaluation.pass_puzzles, evaluation.pass_samples, False),
    )
    sampling = max(_sampling_memory(shape, training, *sizes) for sizes in samplings)
    rollout = state - gradient + size * shape.parameters * several + sampling
    return Memory(state, state + update, rollout, HOST[training.optimizer_state] * shape.parameters)


def _sampling_memory(shape: Shape, training: Training, prompts: int, samples: int, truncated: bool) -> int:
    """Bytes beside weights and moments to answer `prompts` prompts `samples` times."""
    size = BYTES[training.precision]
    chosen = max(min(prompts, training.rollout_batch_size // samples), 1)  # prompts at once
    rows = chosen * samples
    # The prompts' own cache is there until it has been copied to their samples.
    cache = (rows + chosen * (samples > 1)) * (PROMPT_TOKENS + training.max_new_tokens) * cache_bytes(shape, size)
    drawing = (LOGIT_COPIES["rollout"] + TOP_P_COPIES * truncated) * 4 * rows * shape.vocab_size
    # Prompts are read some at a time. The feed-forward part is the widest of such a pass.
    read = min(chosen * PROMPT_TOKENS, PREFILL_TOKENS)
    return cache + max(drawing, read * size * (4 * shape.intermediate_size + 3 * shape.hidden_size))


def activations(shape: Shape, training: Training, tokens: int) -> int:
    """Bytes that autograd keeps of `tokens` tokens, and the widest gradients of a layer's backward pass."""
    size = BYTES[training.precision]
    attention = (shape.num_attention_heads + shape.num_key_value_heads) * shape.head_dim
    # The norms work in float32: two copies of their input, and of queries and keys where these have norms.
    layer_bytes = (4 * size + 8) * shape.hidden_size + (3 * size + 8 * shape.qk_norm) * attention
    layer_bytes += 4 * size * shape.intermediate_size
    layers = shape.num_hidden_layers
    total = layers * size * shape.hidden_size + layer_bytes if training.gradient_checkpointing else layers * layer_bytes
    return tokens * (total + 3 * size * shape.intermediate_size)


def cache_bytes(shape: Shape, size: int) -> int:
    """Bytes of one token's keys and values in all layers, `size` bytes an entry."""
    return shape.num_hidden_layers * 2 * shape.num_key_value_heads * shape.head_dim * size


def curve_points(training: Training, evaluation: Evaluation) -> int:
    """How often a run is evaluated while training: at step 0, every few steps, and at the last step."""
    return training.steps // evaluation.every + 1 + (training.steps % evaluation.every > 0)


def pass_points(training: Training, evaluation: Evaluation) -> int:
    """How often a run measures pass@k: at its end, and while training where the settings ask for it."""
    return 1 + ((training.steps - 1) // evaluation.pass_every if evaluation.pass_every else 0)


def hours(shape: Shape, training: Training, evaluation: Evaluation) -> float:
    """Hours of one run, its final evaluation included."""
    prompts = -(-training.prompts_per_step // training.gpus)
    batch = prompts * training.group_size
    rollout = _sampling(shape, training, prompts, training.group_size, training.top_p < 1)
    step = training.max_num_gen_batches * rollout + training.updates_per_batch * _update(shape, training, batch)
    if training.kl_coef:
        tokens = batch * (PROMPT_TOKENS + training.max_new_tokens)
        step += 2 * shape.parameters * tokens / (ACHIEVED_FLOPS * PEAK_FLOPS[training.precision])
    points = curve_points(training, evaluation)
    # At the end sampled and greedy answers again, and those of pass@k.
    final = _sampling(shape, training, evaluation.puzzles, evaluation.final_samples)
    final += _sampling(shape, training, evaluation.pass_puzzles, 1)
    curve = points * _sampling(shape, training, -(-evaluation.puzzles // training.gpus), 1) + final
    passes = _sampling(shape, training, evaluation.pass_puzzles, evaluation.pass_samples)
    return (training.steps * step + curve + pass_points(training, evaluation) * passes) / 3600


def _sampling(shape: Shape, training: Training, prompts: int, samples: int, truncated: bool = False) -> float:
    """Seconds to answer `prompts` prompts `samples` times, `rollout_batch_size` sequences at once."""
    size, flops = BYTES[training.precision], ACHIEVED_FLOPS * PEAK_FLOPS[training.precision]
    middle = PROMPT_TOKENS + training.max_new_tokens / 2  # length of a sequence, on average over decoding
    seconds = prompts * PROMPT_TOKENS * 2 * shape.parameters / flops
    whole, rest = divmod(prompts * samples, training.rollout_batch_size)
    for rows in [training.rollout_batch_size] * whole + [rest] * (rest > 0):
        read = size * shape.parameters + rows * middle * cache_bytes(shape, size)
        read += (LOGIT_PASSES + TOP_P_PASSES * truncated) * 4 * rows * shape.vocab_size
        token = max(
            read / (ACHIEVED_BANDWIDTH * PEAK_BANDWIDTH),
            2 * shape.parameters * rows / flops,
            shape.num_hidden_layers * LAYER_SECONDS,
        )
        seconds += training.max_new_tokens * token
    return seconds


def _update(shape: Shape, training: Training, sequences: int) -> float:
    """Seconds of one update on `sequences` answers."""
    tokens = sequences * (PROMPT_TOKENS + training.max_new_tokens)
    work = (8 if training.gradient_checkpointing else 6) * shape.parameters * tokens
    seconds = work / (ACHIEVED_FLOPS * PEAK_FLOPS[training.precision])
    logits = sequences * training.max_new_tokens * shape.vocab_size
    seconds += UPDATE_LOGIT_PASSES * 4 * logits / (ACHIEVED_BANDWIDTH * PEAK_BANDWIDTH)
    return seconds + (HOST_UPDATE_SECONDS * shape.parameters if training.optimizer_state == "host" else 0.0)
