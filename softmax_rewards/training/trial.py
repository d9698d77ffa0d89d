"""A trial step: what decoding and learning cost on this machine's processor, with a model of a run's shape.

It takes seconds. `measure` starts a process of its own, so that its peak of memory is that of a run, and so that a dry
run need not import PyTorch.
"""

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from softmax_rewards.common import environment, files, plugins
from softmax_rewards.config import cost, experiments
from softmax_rewards.config.processor_cost import Speed
from softmax_rewards.config.run import Run, canonical

if TYPE_CHECKING:
    from softmax_rewards.models.decoder import Decoder
    from softmax_rewards.policy.decoding import Completions

FLOPS = 5e10  # of one try, about; a core does 10^10 to 10^11 per second
LEAST = (8, 16)  # answers, and tokens of each: with fewer a step's overhead outweighs its work
COST = 8  # FLOPs per parameter and token: 2 to decode, 6 to learn
# The settings of a run on which a trial depends.
SIZES = (
    "prompts_per_step",
    "group_size",
    "max_new_tokens",
    "rollout_batch_size",
    "max_microbatch_tokens",
    "precision",
    "gradient_checkpointing",
    "threads",
)
PUZZLES = 64  # whose prompts and traces give the lengths
FEW = (8, 32)  # rows, and positions of each, for the cost of a position where few rows are left
TRIES = 3  # of a small model; the cheapest counts, because other processes only make a step dearer


def measure(run: Run, folder: Path) -> Speed:
    """Try out a step of `run`, or read what the same trial on this machine gave before, from `folder`.

    Raises RuntimeError, one line, if the trial fails, such as for lack of memory.
    """
    file = folder / f"{_identity(run)}.json"
    if file.exists():
        return Speed(**files.read_json(file))
    measured = _measure(run)
    files.write_json(asdict(measured), file)
    return measured


def _identity(run: Run) -> str:
    """What a trial depends on: task, model, the settings that it uses, versions and processor."""
    machine = {key: value for key, value in environment.described().items() if key != "revision"}
    measured = [field.name for field in fields(Speed)]
    values = [run.task, run.model, {key: getattr(run.training, key) for key in SIZES}, machine, measured]
    return hashlib.sha256(canonical(values).encode()).hexdigest()[:16]


def _measure(run: Run) -> Speed:
    command = [sys.executable, "-m", __name__]
    process = subprocess.run(command, input=run.to_json(), capture_output=True, text=True)
    if process.returncode:
        lines = process.stderr.strip().splitlines() or [f"ended with code {process.returncode}"]
        raise RuntimeError(f"the trial step failed: {lines[-1]}")
    return Speed(**json.loads(process.stdout))


def main() -> None:
    """Measure the run on standard input; print its `Speed` as JSON."""
    print(json.dumps(asdict(speed(Run.from_json(sys.stdin.read())))))


def speed(run: Run) -> Speed:
    """What one step of `run` costs in this process. It is called once, at its start."""
    import torch

    from softmax_rewards.policy.engine import Engine
    from softmax_rewards.policy.limits import Limits
    from softmax_rewards.policy.micro_batches import Samples
    from softmax_rewards.policy.sampling import sample

    settings = replace(run.training, device="cpu", optimizer_state="device")
    torch.set_num_threads(settings.threads)
    model, prompt_tokens, answer_tokens = _model(run)
    model.gradient_checkpointing = settings.gradient_checkpointing
    engine = Engine(model.to(getattr(torch, settings.precision)), settings)
    # Seconds of processor time, not of a clock: other processes do not count, and threads count each.
    start = time.process_time()

    def decode(prompts: list[list[int]], rows: int, tokens: int, number: int) -> "tuple[Completions, float]":
        """Completions of `tokens` tokens, and their seconds."""
        before = time.process_time()
        completions = sample(
            model,
            prompts,
            group_size=rows,
            max_new_tokens=tokens,
            eos_ids=[model.shape.vocab_size],  # no token has this number, so every answer runs to its last token
            pad_id=0,
            limits=Limits.of(settings),
            stream=(number, "trial"),
        )
        return completions, time.process_time() - before

    parameters, size = model.shape.parameters, settings.group_size
    answers, tokens = _size(parameters, settings.prompts_per_step * size, answer_tokens)
    prompts = torch.randint(model.shape.vocab_size, (-(-answers // size), prompt_tokens)).tolist()
    lengths = [tokens] * len(prompts) * size
    rollouts, updates, positions = [], [], []
    for number in range(TRIES if sum(lengths) * COST * parameters < FLOPS else 1):
        completions, seconds = decode(prompts, size, tokens, number)
        sampled = time.process_time()
        engine.gradients.add(
            Samples(prompts, completions.tokens, lengths),
            range(len(lengths)),
            settings.max_microbatch_tokens,
            lambda batch, log_probs, entropies: -log_probs.mean(),
        )
        engine.optimizer.step(settings.max_grad_norm, torch.Generator())
        rollouts.append(seconds / sum(lengths))
        updates.append((time.process_time() - sampled) / sum(lengths))
        few = min(FEW[1], tokens)
        positions.append(decode(prompts[:1], min(FEW[0], size), few, number)[1] / few)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes, on Linux
    return Speed(start, answer_tokens, min(rollouts), min(positions), min(updates), peak)


def _size(parameters: int, answers: int, tokens: float) -> tuple[int, int]:
    """How many answers of how many tokens to try: those of the step, or as many as `FLOPS` allow."""
    longest = max(round(tokens), 1)
    affordable = FLOPS / (COST * parameters)
    if affordable >= answers * longest:
        return answers, longest
    least, shortest = min(LEAST[0], answers), min(LEAST[1], longest)
    fewer = max(int(affordable / longest), least)
    return fewer, max(min(int(affordable / fewer), longest), shortest)


def _model(run: Run) -> "tuple[Decoder, int, float]":
    """A model of the run's shape with random weights, and the tokens of its prompts and of its answers."""
    from softmax_rewards.common.randomness import torch_stream
    from softmax_rewards.models.decoder import Decoder

    if run.model["source"] == "mini":
        return _embedded(run)
    shape = cost.shape_of(run.model)
    if shape is None:
        raise ValueError(f"the shape of {run.model['source']} is not known before it is fetched")
    model = Decoder.empty(shape, "cpu").initialize(torch_stream(0, "trial"))
    return model, cost.PROMPT_TOKENS, float(run.training.max_new_tokens)


def _embedded(run: Run) -> "tuple[Decoder, int, float]":
    """The embedded model before its warm start. Its answers will be as long as the traces that it will imitate."""
    import numpy as np

    from softmax_rewards.data import tasks
    from softmax_rewards.models import checkpoint
    from softmax_rewards.models.tokenizer import Tokenizer

    source = plugins.load(plugins.SOURCES, "mini", "model source")
    module, options = tasks.load(run.task)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        template = source.make(experiments.options("sources", run.model), run.task, folder, folder)["template"]
        tokenizer, model = Tokenizer(folder), checkpoint.load(folder)
    if module.public(options):  # a dry run fetches nothing
        return model, cost.PROMPT_TOKENS, float(run.training.max_new_tokens)
    few = replace(options, train=PUZZLES, warm_start=PUZZLES, test=PUZZLES)
    puzzles = module.build(few)["warm_start"].to_dict("records")
    dice = np.random.default_rng(0)
    prompts = [len(tokenizer.prompt(module.prompt(puzzle, template))[1]) for puzzle in puzzles]
    traces = [len(tokenizer.encode(module.trace(puzzle, dice, options, template))) + 1 for puzzle in puzzles]
    length = min(sum(traces) / len(traces), run.training.max_new_tokens)
    return model, round(sum(prompts) / len(prompts)), length


if __name__ == "__main__":
    main()
