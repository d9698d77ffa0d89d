"""Compares one training step (rollout and update) of this project and of others, interleaved on the same work.

    python benchmarks/step.py --peers trl,grpo-zero=../GRPO-Zero --out benchmarks/results/step-mini.json

All trainers begin each step with the same weights and prompts. They have the same number of samples, greatest length
and number of threads. Each gets the fastest of a few micro-batch sizes, which are tried in steps that do not count. The
script checks that all do the same work: loss and gradient norm of one fixed batch, generated tokens and trained tokens.

It prints medians and half the range, how many times slower than this project each trainer is, and the share of the
limit (`limit.py`). The limit is the time for the step's FLOPs and bytes at the rates of a matrix product and of a copy,
which are measured here. The share is this time divided by the time that the step took. Exit code 1 means that a check
failed.
"""

import argparse
import ctypes
import dataclasses
import gc
import math
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import gap
import jobs
import limit
import numpy as np
import torch
import work
from machine import write_result
from peers import Step, Trainer

from softmax_rewards.common import plugins

PROJECT = "project"
TOLERANCE = 1e-4  # relative, of losses and gradient norms
DEVIATION = 4.0  # standard errors by which mean lengths may differ


def main() -> None:
    arguments = parsed()
    keep_memory()
    torch.set_num_threads(arguments.threads)
    case = work.SHAPES[arguments.shape]
    changes = {name: getattr(arguments, name) for name in ("prompts", "samples", "longest")}
    case = dataclasses.replace(case, **{name: value for name, value in changes.items() if value})
    with tempfile.TemporaryDirectory() as folder:
        base, data = arguments.base or Path(folder, "base"), Path(folder, "data")
        try:
            step_work = work.make(case, base, data, arguments.threads, arguments.device)
            trainers = find(step_work, arguments.peers)
        except ValueError as error:
            raise SystemExit(f"error: {error}") from None
        results = compare(step_work, trainers, arguments.steps)
        results |= {"shape": arguments.shape, "threads": arguments.threads, "case": dataclasses.asdict(case)}
        report(results)
        results["gap"] = gap.measure(step_work)
        gap.report(results["gap"])
        if arguments.jobs:
            results["jobs"] = jobs.compare(case, base, data, arguments.jobs, arguments.steps, arguments.device)
            jobs.report(results["jobs"])
    write_result(arguments.out, f"step of {arguments.shape}", results)
    for failure in results["failures"]:
        print(f"FAILED: {failure}", file=sys.stderr)
    raise SystemExit(1 if results["failures"] else 0)


def keep_memory() -> None:
    """Have the C library keep freed memory, as in a process that trains for long.

    Here another trainer's step comes before each step. Without this, every step would wait for new pages of memory,
    while a real training waits for them only once.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        for parameter, value in ((-1, 2**31 - 1), (-4, 0), (-8, 1)):  # trim threshold, mapped blocks, arenas
            library.mallopt(parameter, value)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name.replace("_", "-") for name in plugins.names("peers") if name != PROJECT]
    parser.add_argument(
        "--peers", default="", help=f"NAME or NAME=CHECKOUT, separated by commas; known: {', '.join(names)}"
    )
    parser.add_argument("--shape", default="mini", choices=work.SHAPES)
    parser.add_argument("--steps", type=count, default=6)
    parser.add_argument("--threads", type=count, default=2)
    parser.add_argument("--prompts", type=count, help="instead of the shape's own")
    parser.add_argument("--samples", type=count, help="of a prompt, instead of the shape's own")
    parser.add_argument("--longest", type=count, help="tokens of an answer, instead of the shape's own")
    parser.add_argument("--base", type=Path, help="folder of the base model; an empty folder gets one")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--jobs", type=int, default=0, help="also compare this many one-thread jobs with one")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}; allowed: integers from 1")
    return value


def find(step_work: work.Work, peers: str) -> dict[str, Trainer]:
    """The trainers by name, this project's first. Raises ValueError (one line) for a trainer that is not available."""
    trainers: dict[str, Trainer] = {}
    for peer in [PROJECT, *filter(None, peers.split(","))]:
        name, _, checkout = peer.partition("=")
        module = plugins.load("peers", name.replace("-", "_"), "peer")
        trainers |= module.trainers(step_work, Path(checkout).resolve() if checkout else None)
    return trainers


def compare(step_work: work.Work, trainers: dict[str, Trainer], count: int) -> dict[str, Any]:
    """All results: `losses`, `microbatches` and `trainers` (times and tokens) by trainer, and `failures`."""
    batch = step_work.fixed()
    losses = {}
    for name, trainer in trainers.items():
        losses[name] = trainer.learn(batch)
        gc.collect()  # a GPU has no room for the float32 states of two large models
    chosen = {name: fastest(trainer) for name, trainer in trainers.items()}
    taken: dict[str, list[Step]] = {name: [] for name in trainers}
    for seed in range(1, count + 1):
        for name, trainer in trainers.items():
            taken[name].append(trainer.step(seed, chosen[name]))
            gc.collect()
    rates = limit.measure(step_work.device, step_work.dtype)
    rows = {name: summary(step_work, steps, rates) for name, steps in taken.items()}
    failures = [*wrong_losses(losses), *wrong_tokens(step_work, taken)]
    return {
        "parameters": step_work.shape.parameters,
        "rates": vars(rates),
        "losses": losses,
        "microbatches": {name: f"{chosen[name]} {trainer.unit}" for name, trainer in trainers.items()},
        "trainers": rows,
        "failures": failures,
    }


def fastest(trainer: Trainer) -> int:
    """The micro-batch size with the fastest update, in one step for each, after a first step for warming up."""
    trainer.step(0, trainer.choices[0])
    gc.collect()
    if len(trainer.choices) == 1:
        return trainer.choices[0]
    seconds = {}
    for choice in trainer.choices:
        seconds[choice] = trainer.step(0, choice).update
        gc.collect()
    return min(seconds, key=seconds.__getitem__)


def wrong_losses(losses: dict[str, tuple[float, float]]) -> list[str]:
    """The trainers whose loss or gradient norm on the fixed batch differs from this project's."""
    return [
        f"{name}: {what} {value:.7g} on the fixed batch, {PROJECT} has {expected:.7g}"
        for name, pair in losses.items()
        for what, value, expected in zip(("loss", "gradient norm"), pair, losses[PROJECT], strict=True)
        if not abs(value - expected) <= TOLERANCE * abs(expected)
    ]


def wrong_tokens(step_work: work.Work, taken: dict[str, list[Step]]) -> list[str]:
    """The trainers that generated a wrong number of tokens, or did not train on all answers."""
    failures, every = [], {name: np.stack([step.lengths for step in steps]) for name, steps in taken.items()}
    expected = every[PROJECT]
    for name, lengths in every.items():
        if lengths.shape != expected.shape:
            failures.append(f"{name}: answers {lengths.shape}, {PROJECT} has {expected.shape}")
        elif step_work.forced and (lengths != step_work.training.max_new_tokens).any():
            failures.append(f"{name}: answers of {lengths.min()} to {lengths.max()} tokens, not all of the longest")
        else:
            error = np.sqrt((lengths.var() + expected.var()) / expected.size)
            if abs(lengths.mean() - expected.mean()) > DEVIATION * error:
                failures.append(f"{name}: {lengths.mean():.2f} tokens per answer, {PROJECT} has {expected.mean():.2f}")
        trained = np.stack([step.trained for step in taken[name]])
        if name != PROJECT and not trained.all():
            failures.append(f"{name}: {np.mean(~trained):.1%} of the answers are not trained")
    return failures


def summary(step_work: work.Work, steps: list[Step], rates: limit.Rates) -> dict[str, Any]:
    """Medians of tokens, and `[median, half the range, share of the limit]` of rollout, update and step.

    `bandwidth` is the rollout's share of the limit by bytes alone. The update's limit is one by FLOPs alone.
    """
    heads, item = [len(ids) for _, ids in step_work.prompts], step_work.dtype.itemsize
    least = np.array(
        [
            (
                limit.rollout_seconds(step_work.shape, heads, step.lengths, item, rates),
                limit.update_seconds(step_work.shape, heads, step.lengths, step.trained, rates),
            )
            for step in steps
        ]
    )
    spent = np.array([(step.rollout, step.update) for step in steps])
    row: dict[str, Any] = {
        "generated": statistics.median(int(step.lengths.sum()) for step in steps),
        "trained": statistics.median(int(step.lengths[step.trained].sum()) for step in steps),
        "positions": statistics.median(step.positions for step in steps),
        "all": [
            vars(step) | {"lengths": int(step.lengths.sum()), "trained": int(step.trained.sum())} for step in steps
        ],
    }
    halves = {"rollout": slice(0, 1), "update": slice(1, 2), "step": slice(0, 2)}
    for name, columns in halves.items():
        seconds = spent[:, columns].sum(1)
        share = float(np.median(least[:, columns].sum(1) / seconds))
        row[name] = [float(np.median(seconds)), float(np.ptp(seconds) / 2), share]
    only_bytes = limit.Rates(math.inf, rates.bytes)
    read = [limit.rollout_seconds(step_work.shape, heads, step.lengths, item, only_bytes) for step in steps]
    row["bandwidth"] = float(np.median(np.array(read) / spent[:, 0]))
    return row


def report(results: dict[str, Any]) -> None:
    """Print the tables: tokens, seconds, share of the limit, and how many times slower than this project."""
    rates, rows = results["rates"], results["trainers"]
    names = {"rollout": "rollout s", "update": "update s", "step": "step s"}
    flops, copied = rates["flops"] / 1e9, rates["bytes"] / 1e9
    print(f"\n{results['shape']}: {results['parameters']:,} parameters, {results['threads']} threads; measured")
    print(f"{flops:,.0f} GFLOP/s in a matrix product and {copied:,.0f} GB/s in a copy")
    print(f"\n{'trainer':18} {'micro-batch':12} {'loss':>10} {'norm':>9}  generated  trained  computed")
    for name, row in rows.items():
        loss, norm = results["losses"][name]
        print(f"{name:18} {results['microbatches'][name]:12} {loss:10.6f} {norm:9.6f} {row['generated']:10.0f} "
              f"{row['trained']:8.0f} {row['positions']:9.0f}")  # fmt: skip
    print(f"\n{'':18}" + "".join(f"{names[half]:>16}  limit" for half in names) + "  rollout's by bytes alone")
    for name, row in rows.items():
        cells = [f"{row[half][0]:8.3f} ± {row[half][1]:5.3f}  {row[half][2]:5.1%}" for half in names]
        print(f"{name:18}" + "".join(cells) + f"  {row['bandwidth']:24.1%}")
    for project in (name for name in rows if name.startswith(PROJECT)):
        print(f"\n{'times ' + project:24} {'rollout':>8} {'update':>8} {'step':>8}")
        for name, row in rows.items():
            print(f"{name:24}" + "".join(f" {row[half][0] / rows[project][half][0]:8.2f}" for half in names))


if __name__ == "__main__":
    main()
