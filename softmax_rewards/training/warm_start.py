"""The warm start: supervised learning on a task's search traces, before any reinforcement learning.

Its base model knows the format and is sometimes right, so that reinforcement learning can begin. The `mini` model
learns everything here; a pretrained model may need little of it, or none.
"""

import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softmax_rewards.models.warm_start import WarmStart
from softmax_rewards.policy import optimizer

if TYPE_CHECKING:
    from torch import Tensor


def train(options: WarmStart, task: dict[str, Any], data: Path, template: str, folder: Path) -> float:
    """Train the model in `folder` on traces of the warm-start puzzles in `data`, and write it back in float32.

    AdamW in float32, gradients clipped at norm 1. The loss is the mean over all tokens of an update's traces; returns
    its mean over the last 50 updates, in nats per token. If training diverges, raises FloatingPointError and leaves the
    model in `folder` unchanged.
    """
    import torch

    from softmax_rewards.common.randomness import numpy_stream, torch_stream
    from softmax_rewards.data import dataset, tasks
    from softmax_rewards.models import checkpoint
    from softmax_rewards.models.tokenizer import Tokenizer
    from softmax_rewards.policy.gradients import Gradients
    from softmax_rewards.policy.micro_batches import Samples

    torch.set_num_threads(options.threads)
    device = checkpoint.pick_device(options.device)
    module, task_options = tasks.load(task)
    puzzles = dataset.read(data, "warm_start")
    tokenizer = Tokenizer(folder)
    model = checkpoint.load(folder, device)
    adamw = optimizer.build(model, options.learning_rate, "device")
    gradients = Gradients(model, adamw, options.threads)
    draw = numpy_stream(options.seed, "warm start")
    window: list[float] = []
    for step in range(options.steps):
        adamw.learning_rate = options.learning_rate * warmup_cosine(step, options.steps)
        chosen = [puzzles[index] for index in draw.integers(len(puzzles), size=options.traces)]
        prompts = [tokenizer.prompt(module.prompt(puzzle, template))[1] for puzzle in chosen]
        traces = [module.trace(puzzle, draw, task_options, template) for puzzle in chosen]
        answers = [[*tokenizer.encode(trace), tokenizer.end_id] for trace in traces]
        lengths = [len(answer) for answer in answers]
        completions = torch.tensor([answer + [0] * (max(lengths) - len(answer)) for answer in answers], device=device)
        loss = gradients.add(
            Samples(prompts, completions, lengths),
            range(len(chosen)),
            options.max_microbatch_tokens,
            functools.partial(_token_loss, sum(lengths)),
        )
        adamw.step(1.0, torch_stream(options.seed, "rounding", step, device=device))
        window = [*window[-49:], loss]
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            mean = sum(window) / len(window)
            print(f"[base model] step {step + 1}/{options.steps}  loss {mean:.4f} nats/token", flush=True)
    checkpoint.save(model, folder, checkpoint.read_config(folder))
    return sum(window) / len(window)


def _token_loss(total: int, batch: Any, log_probs: "Tensor", entropies: Any) -> "Tensor":
    """A micro-batch's share of the loss: mean −log π over `total` tokens."""
    return -log_probs.sum() / total


def warmup_cosine(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear over the first twentieth of the steps, then a cosine to one tenth."""
    warmup = max(steps // 20, 1)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(steps - warmup, 1)
    return 0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2
