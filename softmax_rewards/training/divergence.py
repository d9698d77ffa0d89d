"""Divergence: when an update is not finite, a run skips it, or stops and saves the inputs of the update.

<run>/nonfinite-step-000012/     appears whole; deleted when the run passes step 12 or finishes
    inputs.safetensors           tokens [Q·N, T], lengths, finished, log_probs, weights [Q, N'], rewards [Q, N]
    step.json                    what was not finite, prompts, puzzles and texts; null stands for NaN and infinity

N' is N, minus the reference answers if these have a loss of their own (`training.imitation`).
"""

import functools
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from softmax_rewards.common.files import write_json
from softmax_rewards.common.terminal import log
from softmax_rewards.config.run import Training
from softmax_rewards.models.checkpoint import write_tensors
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.policy.update import Diverged, Facts
from softmax_rewards.training.run_folder import Folder

PATIENCE = 10
"""The run stops at this many failed steps in a row. A rare overflow does not occur again with the next batch. Skipped
updates do not change the policy, so when ten different batches fail in a row, the policy itself is broken."""


class DivergenceGuard:
    """Applies `training.on_nonfinite` to the updates of one run."""

    def __init__(self, folder: Folder, settings: Training) -> None:
        self.folder, self.settings = folder, settings
        self.skipping = settings.on_nonfinite == "skip"

    def passed(self, step: int) -> Facts:
        """The update after `step` updates succeeded. Returns the facts for the step's row."""
        self.folder.on_disk(lambda: _drop(_inputs_folder(self.folder.out, step)))
        return {"skipped": 0} if self.skipping else {}

    def failed(self, step: int, puzzles: np.ndarray, batch: Rollouts, weights: np.ndarray, error: Diverged) -> Facts:
        """Skip an update that failed, or save its inputs and raise FloatingPointError. Returns the facts for the row.

        `puzzles[Q]` index the train split. A run that may skip still stops when the weights themselves are broken.
        """
        line = f"{error} (step {step + 1}, update {error.index + 1} of {self.settings.updates_per_batch})"
        before = self.folder.rows("metrics")[1 - PATIENCE :] if self.skipping and not error.weights else []
        exhausted = len(before) == PATIENCE - 1 and all(row["skipped"] for row in before)
        if not self.skipping or error.weights or exhausted:
            inputs = _inputs_folder(self.folder.out, step)
            self.folder.on_disk(lambda: _save(inputs, step, puzzles, batch, weights, error))
            often = f", as in the {PATIENCE - 1} steps before" if exhausted else ""
            raise FloatingPointError(f"{line}{often}; its inputs are in {inputs}; {self._advice(error)}") from error
        self.folder.on_disk(lambda: log("train", f"{self.folder.out}: {line}: this update is skipped"))
        self.folder.on_disk(lambda: _drop(_inputs_folder(self.folder.out, step)))
        return error.facts | {"skipped": 1}

    def finished(self) -> None:
        """The run has finished: delete the saved inputs of all steps."""
        for inputs in self.folder.out.glob("nonfinite-step-*"):
            self.folder.on_disk(functools.partial(_drop, inputs))

    def _advice(self, error: Diverged) -> str:
        settings = self.settings
        remedies = [f"training.learning_rate below {settings.learning_rate:g}"]
        remedies += ["training.precision: float32"] * (settings.precision != "float32")
        remedies += ["training.on_nonfinite: skip"] * (settings.on_nonfinite == "stop" and not error.weights)
        return f"try {' or '.join(remedies)}"


def _inputs_folder(out: Path, step: int) -> Path:
    return out / f"nonfinite-step-{step + 1:06d}"


def _save(folder: Path, step: int, puzzles: np.ndarray, batch: Rollouts, weights: np.ndarray, error: Diverged) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    sampled = batch.completions
    tensors = {name: getattr(sampled, name) for name in ("tokens", "lengths", "finished", "log_probs")}
    tensors |= {"weights": torch.tensor(weights), "rewards": torch.tensor(batch.field("reward"))}
    write_tensors({name: value.cpu().contiguous() for name, value in tensors.items()}, partial / "inputs.safetensors")
    facts: dict[str, Any] = {
        "step": step + 1,
        "update": error.index + 1,
        "what": str(error),
        "loss": _finite(error.loss),
        "grad_norm": _finite(error.grad_norm),
        "gradients": error.gradients,
        "weights": error.weights,
        "puzzles": puzzles.tolist(),
        "prompts": list(batch.prompt_texts),
        "texts": batch.texts,
        "samples": batch.group_size,
    }
    write_json(facts, partial / "step.json")
    _drop(folder)
    os.rename(partial, folder)


def _drop(folder: Path) -> None:
    """Delete the folder. It is renamed first, so that a half deleted one is never taken for a whole one."""
    if folder.exists():
        discarded = folder.with_name(f".{folder.name}.discarded")
        shutil.rmtree(discarded, ignore_errors=True)
        os.rename(folder, discarded)
        shutil.rmtree(discarded)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
