"""Peak device memory of a training step by model and precision, compared with cards of 24, 48 and 80 GB.

    python benchmarks/memory.py [--models qwen2.5-3b] [--out benchmarks/results/memory.json]

The step has 32 prompts of 160 tokens × 8 answers of 1024, gradient checkpointing, and micro-batches of 8192 tokens.
With a GPU, the update and the beginning of rollout and evaluation (with the whole cache) really run, and PyTorch's
allocator reports the peak. Without a GPU, the same code runs on tensors without content (`FakeTensorMode`), and the
bytes of live tensors are counted. This does not count fragmentation and the workspaces of matrix products. A step fits
into a card if it leaves `RESERVE` for them and for the CUDA context.
"""

import argparse
import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import write_result
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from softmax_rewards.config import cost
from softmax_rewards.config.run import Evaluation, Training
from softmax_rewards.data.tasks import Score
from softmax_rewards.models import catalogue
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.kv_cache import Cache
from softmax_rewards.models.prefix import SharedPrefix
from softmax_rewards.models.shape import Shape
from softmax_rewards.policy import optimizer
from softmax_rewards.policy.decoding import PREFILL_TOKENS, draw
from softmax_rewards.policy.engine import Engine
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.micro_batches import Samples, micro_batches, prompt_chunks
from softmax_rewards.policy.objective import token_log_probs
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.sampling import sample
from softmax_rewards.policy.update import Updater

MODELS = ("qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-3b", "qwen2.5-7b")
WAYS = [(precision, state) for precision in ("float32", "bfloat16") for state in ("device", "host")]
CARDS = (24, 48, 80)  # GiB
RESERVE = 1.5  # GiB
PROMPT = 160  # tokens
EVALUATED = 256  # puzzles
GIB = 2**30


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all live tensors while it is active. `peak` is the highest count."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: weakref.WeakSet = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._note, result)
        return result

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self._known:
            self._known.add(storage)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, storage.nbytes())

    def _forget(self, size: int) -> None:
        self.live -= size


def usable() -> float:
    """The GiB that are used of the GPU at most. Without a GPU nothing is allocated, so there is no limit."""
    if not torch.cuda.is_available():
        return float("inf")
    return 0.9 * torch.cuda.get_device_properties(0).total_memory / GIB


def policy_of(shape: Shape, settings: Training, device: str) -> Decoder:
    policy = Decoder.empty(shape, device, getattr(torch, settings.precision))
    policy.gradient_checkpointing = settings.gradient_checkpointing
    return policy


def answers(settings: Training) -> int:
    """The number of answers of the greatest length that fill two micro-batches."""
    return 2 * max(settings.max_microbatch_tokens // (PROMPT + settings.max_new_tokens), 1)


def counted(shape: Shape, settings: Training, evaluated: int) -> dict[str, float]:
    """Bytes at the peaks of update, rollout and evaluation, without a GPU.

    Code that needs the values of tensors cannot run on tensors without content. So this function makes the calls of
    `Updater` and `sample` that allocate memory one by one.
    """
    rows, longest = answers(settings), settings.max_new_tokens
    tokens = torch.ones(rows, longest, dtype=torch.int64)
    samples = Samples([[1] * PROMPT], tokens, [longest] * rows)
    (chunk,) = prompt_chunks(samples, range(rows), settings.max_microbatch_tokens)
    work = list(micro_batches(chunk, samples, settings.max_microbatch_tokens))
    with FakeTensorMode(allow_non_fake_inputs=True), LiveBytes() as counter:
        policy = policy_of(shape, settings, "cpu")
        # `counter` would count a state on the host too. With it, the device only holds the sums of gradients.
        on_host = settings.optimizer_state == "host"
        adamw = optimizer.Optimizer(policy, 1e-6) if on_host else optimizer.build(policy, 1e-6, "device")
        for _ in range(2):  # the first step creates the state, so the second one has the peak
            counter.peak = counter.live
            prefix = SharedPrefix(policy, chunk.prompts).detach()
            for batch in work:
                log_probs, entropies = token_log_probs(policy, prefix, batch)
                log_probs.sum().backward()
                del log_probs, entropies
            prefix.backward()
            del prefix
            if not on_host:
                with torch.no_grad():
                    adamw._apply(adamw.gradients(), torch.Generator())
            update = counter.peak
            adamw.discard()
            gc.collect()
        peaks = {"update": update}
        for name, prompts, group_size in (
            ("rollout", settings.prompts_per_step, settings.group_size),
            ("evaluation", evaluated, 1),
        ):
            counter.peak = counter.live
            with torch.no_grad():
                rollout(policy, min(prompts, settings.rollout_batch_size), group_size, longest)
            gc.collect()
            peaks[name] = counter.peak
        return peaks


def rollout(policy: Decoder, prompts: int, samples: int, longest: int) -> None:
    """Allocate what a rollout allocates: it reads the prompts in parts, draws one token and drops rows."""
    cache = Cache(policy.shape, prompts, PROMPT + longest, policy.embed_tokens.weight)
    cache.open(PROMPT)
    step, last = PREFILL_TOKENS // PROMPT, []
    for start in range(0, prompts, step):
        part = slice(start, min(start + step, prompts))
        ids = torch.ones(part.stop - start, PROMPT, dtype=torch.int64)
        last.append(policy(ids, store=cache.part(part))[:, -1])
    cache.repeat(samples)
    log_probs = policy.lm_head(torch.cat(last).repeat_interleave(samples, 0)).float().log_softmax(1)
    probabilities = log_probs.exp()
    torch.linalg.vecdot(probabilities, log_probs)
    draw(probabilities, torch.zeros(len(log_probs), 1, dtype=torch.float64))
    cache.keep(torch.arange(prompts * samples - 1))


def measured(shape: Shape, settings: Training, evaluated: int) -> dict[str, float]:
    """The same peaks from the allocator of a GPU, and the most bytes that it held (`reserved`)."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    policy = policy_of(shape, settings, "cuda").initialize(torch.Generator("cuda").manual_seed(0))
    updater = Updater.of(settings, 0, Engine(policy, settings), Limits.of(settings))
    rows = answers(settings)

    def drawn(prompts: int, samples: int, longest: int, ends: list[int]) -> Any:
        return sample(policy, [[1] * PROMPT] * prompts, group_size=samples, max_new_tokens=longest, eos_ids=ends,
                      pad_id=0, limits=updater.limits, stream=(0, "benchmark"))  # fmt: skip

    completions = drawn(1, rows, 2, [])
    completions.tokens.resize_(rows, settings.max_new_tokens).fill_(1)
    completions.log_probs.resize_(rows, settings.max_new_tokens).fill_(-1.0)
    completions.entropies.resize_(rows, settings.max_new_tokens).fill_(1.0)
    completions.lengths.fill_(settings.max_new_tokens)
    scores = [Score(float(row % 2), bool(row % 2), True, 1, 0, False) for row in range(rows)]
    rollouts = Rollouts([[1] * PROMPT], [""], completions, [""] * rows, scores, rows)
    for step in range(2):
        torch.cuda.reset_peak_memory_stats()
        updater.update(step, rollouts, np.random.default_rng(step).normal(size=(1, rows)))
    peaks, held = {"update": torch.cuda.max_memory_allocated()}, torch.cuda.max_memory_reserved()
    for name, prompts, group_size in (
        ("rollout", settings.prompts_per_step, settings.group_size),
        ("evaluation", evaluated, 1),
    ):
        torch.cuda.reset_peak_memory_stats()
        drawn(prompts, group_size, settings.max_new_tokens, list(range(shape.vocab_size)))  # ends with the first token
        peaks[name], held = torch.cuda.max_memory_allocated(), max(held, torch.cuda.max_memory_reserved())
    if updater.limits != Limits.of(settings):
        raise SystemExit(f"out of memory, so the step was made smaller: {updater.limits}; leave it out by --largest")
    return peaks | {"reserved": held}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=lambda text: text.split(","), default=MODELS)
    parser.add_argument("--max-microbatch-tokens", type=int, default=8192)
    parser.add_argument(
        "--largest",
        type=float,
        default=usable(),
        help="GiB; leave out what needs more by `cost`, by default more than 90 %% of the GPU",
    )
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = []
    print("model         precision  state   host GiB  update  rollout  evaluation  expected  fits")
    for model in arguments.models:
        shape = Shape.from_config(catalogue.find(model).config)
        for precision, state in WAYS:
            settings = Training(
                prompts_per_step=32, group_size=8, max_new_tokens=1024, rollout_batch_size=256, precision=precision,
                optimizer_state=state, gradient_checkpointing=True,
                max_microbatch_tokens=arguments.max_microbatch_tokens,
            )  # fmt: skip
            expected = cost.memory(shape, settings, Evaluation(puzzles=EVALUATED, pass_puzzles=EVALUATED))
            if expected.peak / GIB > arguments.largest:
                continue
            peaks = (measured if torch.cuda.is_available() else counted)(shape, settings, EVALUATED)
            need = max(peaks.values()) / GIB + RESERVE
            cards = [card for card in CARDS if need <= card]
            row = {"model": model, "precision": precision, "state": state, "host": expected.host / GIB}
            row |= {name: value / GIB for name, value in peaks.items()} | {"expected": expected.peak / GIB}
            results.append(
                {key: round(v, 2) if isinstance(v, float) else v for key, v in row.items()} | {"fits": cards}
            )
            fits = f"{cards[0]} GB" if cards else "more than 80 GB"
            print(f"{model:13} {precision:10} {state:6} {row['host']:9.1f} {row['update']:7.1f} {row['rollout']:8.1f} "
                  f"{row['evaluation']:11.1f} "
                  f"{row['expected']:9.1f}  {fits}", flush=True)  # fmt: skip
            gc.collect()
    write_result(arguments.out, "memory", results)


if __name__ == "__main__":
    main()
