"""Timing: `timing.json` of a run, the seconds of wall-clock that its training steps do not have.

start_s                from the start of the process to its first step, summed over all starts of the run
evaluation_s           evaluations while training
final_evaluation_s     evaluation of the final model, without the start of a job for it

The seconds of each step are in `timing.csv`.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from softmax_rewards.common.files import read_json, write_json
from softmax_rewards.training.state import start_of

FILE = "timing.json"


def process_age() -> float:
    """Seconds since this process started."""
    ticks = start_of(os.getpid())
    if ticks is None:  # not Linux; this process has hardly waited so far, so its processor time is nearly the same
        return time.process_time()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def write(out: Path, **seconds: float) -> None:
    """Write the `timing.json` of the run in `out`."""
    write_json({name: round(value, 3) for name, value in seconds.items()}, out / FILE)


@contextmanager
def measured(out: Path, name: str) -> Iterator[None]:
    """Set the entry `name` of the run's file to the seconds that the block takes, if it succeeds."""
    began = time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    with suppress(OSError, ValueError):  # what was measured is worth more than its time
        file = out / FILE
        write(out, **((read_json(file) if file.exists() else {}) | {name: seconds}))
