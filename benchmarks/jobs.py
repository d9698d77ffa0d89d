"""Training jobs side by side: the throughput of several one-thread jobs compared with one such job alone."""

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from queue import Queue
from typing import Any

import torch
import work
from peers.project import trainers

PATIENCE = 600  # seconds that a job waits until the others are ready; after that a job counts as lost


def compare(case: work.Case, base: Path, data: Path, jobs: int, steps: int, device: str) -> dict[str, Any]:
    """Tokens per second of one job, of `jobs` at once, and of one again. `ratio` compares all with the mean of one."""
    alone, together, again = (_throughput(case, base, data, count, steps, device) for count in (1, jobs, 1))
    return {"jobs": jobs, "alone": [alone, again], "together": together, "ratio": 2 * together / (alone + again)}


def _throughput(case: work.Case, base: Path, data: Path, jobs: int, steps: int, device: str) -> float:
    """Generated tokens per second, summed over jobs that begin at the same moment."""
    context = multiprocessing.get_context("spawn")
    start, rates = context.Barrier(jobs, timeout=PATIENCE), context.Queue()
    arguments = (case, base, data, steps, device, start, rates)
    processes = [context.Process(target=_job, args=(*arguments, seed), daemon=True) for seed in range(jobs)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise SystemExit(f"a job ended with exit code {process.exitcode}")
    return sum(rates.get() for _ in processes)


def _job(
    case: work.Case, base: Path, data: Path, steps: int, device: str, start: Barrier, rates: "Queue[float]", seed: int
) -> None:
    """One job: a step that does not count, then `steps` that count, when all jobs are ready."""
    torch.set_num_threads(1)
    step_work = work.make(case, base, data, 1, device)
    trainer = trainers(step_work, None)["project"]
    choice = trainer.choices[0]
    trainer.step(0, choice)
    start.wait()
    began = time.perf_counter()  # a step's own clock does not see that jobs wait for a core
    taken = [trainer.step(1 + seed + index, choice) for index in range(steps)]
    rates.put(sum(int(step.lengths.sum()) for step in taken) / (time.perf_counter() - began))


def report(result: dict[str, Any]) -> None:
    alone = sum(result["alone"]) / 2
    print(
        f"\n{result['jobs']} one-thread jobs side by side: {result['together']:,.0f} tokens/s, one alone {alone:,.0f}: "
        f"{result['ratio']:.2f} times the throughput"
    )
