"""Progress: one line at each evaluation: stage, runs done of all, step, success, time left.

The workflow writes `results/<experiment>/plan.json` when it starts: the folder and fingerprint of every run,
and how many run at once. Lines go to the standard output; nothing here is an input of any job.
"""

import json
import math
import time
from pathlib import Path

from softmax_rewards.common.files import write_json
from softmax_rewards.common.terminal import clock, log

PLAN = "plan.json"


def write_plan(folder: Path, runs: dict[str, str], at_once: int) -> None:
    """Write the plan of the experiment in `folder`: run folder (relative to it) → fingerprint."""
    write_json({"runs": runs, "at_once": at_once}, folder / PLAN)


class Progress:
    """The progress of one training job.

    Args:
        out: the run's folder, `results/<experiment>/runs/<ablation>/seed-<n>`.
        steps: the run's last step.
        start: the step it begins at, above 0 when it resumes.
    """

    def __init__(self, out: Path, steps: int, start: int = 0) -> None:
        self.out, self.steps, self.start = out, steps, start
        self.began = time.monotonic()

    def report(self, step: int, success: float) -> None:
        """Print the line of an evaluation after `step` updates, with the success rate (0..1)."""
        name = f"{self.out.parent.name} {self.out.name}"
        done, total, at_once = self._plan()
        line = f"run {done + 1} of {total}  {name}  step {step}/{self.steps}  success {100 * success:.1f} %"
        if step > self.start:
            pace = (time.monotonic() - self.began) / (step - self.start)  # seconds a step
            own = pace * (self.steps - step)
            # The runs beside this one are taken to be as far as it is.
            rounds = math.ceil((total - done) / at_once)
            line += f"  left {clock(own)}, all runs {clock(own + (rounds - 1) * pace * self.steps)}"
        log("train", line)

    def _plan(self) -> tuple[int, int, int]:
        """Runs finished, runs in all, runs at once; a run outside the workflow is alone."""
        folder = self.out.parents[2]
        try:
            plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return 0, 1, 1
        finished = sum(_fingerprint(folder / run / "run.json") == code for run, code in plan["runs"].items())
        return min(finished, len(plan["runs"]) - 1), len(plan["runs"]), plan["at_once"]


def _fingerprint(file: Path) -> str | None:
    try:
        return json.loads(file.read_text(encoding="utf-8"))["fingerprint"]
    except FileNotFoundError:
        return None
