"""Divergence: what a run does about an update that is not finite: skip it, or stop and keep what it was made from.

<run>/nonfinite-step-000012/     appears whole, and goes when the run passes step 12 or finishes
    inputs.safetensors           tokens [Q·N, T], lengths, finished, log_probs, weights [Q, N'], rewards [Q, N]
    step.json                    what was not finite, prompts, puzzles and texts; null for what JSON has not

N' is N, less the reference answers where they have a loss of their own (`training.imitation`).
"""

import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from softmax_rewards.common.files import write_json
from softmax_rewards.common.terminal import log
from softmax_rewards.models.checkpoint import write_tensors
from softmax_rewards.policy.reference import Reference
from softmax_rewards.policy.rollout import Episodes
from softmax_rewards.policy.update import Diverged, Updater
from softmax_rewards.training.run_folder import RunFolder

PATIENCE = 10
"""Steps in a row that may be skipped. An overflow by chance passes with its batch; while updates are skipped nothing
of the policy changes, so that ten different batches which all fail say that the policy itself is broken."""


def update(
    updater: Updater,
    folder: RunFolder,
    step: int,
    puzzles: np.ndarray,
    episodes: Episodes,
    weights: np.ndarray,
    reference: Reference | None,
) -> dict[str, float | None]:
    """`updater.update` after `step` updates, and `training.on_nonfinite` applied to it: the facts for the step's row.

    `puzzles[Q]` index the train split. Raises FloatingPointError, the inputs saved, where the run has to stop.
    """
    skipping = updater.settings.on_nonfinite == "skip"
    try:
        facts = updater.update(step, episodes, weights, reference)
        skipped = 0
    except Diverged as error:
        line = f"{error} (step {step + 1}, update {error.index + 1} of {updater.settings.updates})"
        before = folder.rows("metrics")[1 - PATIENCE :] if skipping and not error.weights else []
        failed = len(before) == PATIENCE - 1 and all(row["skipped"] for row in before)
        if not skipping or error.weights or failed:
            place = _place(folder.out, step)
            if folder.ranks.first:
                _save(place, step, puzzles, episodes, weights, error)
            often = f", as in the {PATIENCE - 1} steps before" if failed else ""
            raise FloatingPointError(f"{line}{often}; its inputs are in {place}; {_advice(updater, error)}") from error
        if folder.ranks.first:
            log("train", f"{folder.out}: {line}: this update is skipped")
        facts, skipped = error.facts, 1
    if folder.ranks.first:
        _drop(_place(folder.out, step))
    return facts | ({"skipped": skipped} if skipping else {})


def forget(folder: RunFolder) -> None:
    """Drop the inputs of all steps: the run has finished."""
    for place in folder.out.glob("nonfinite-step-*") if folder.ranks.first else ():
        _drop(place)


def _place(out: Path, step: int) -> Path:
    return out / f"nonfinite-step-{step + 1:06d}"


def _advice(updater: Updater, error: Diverged) -> str:
    settings = updater.settings
    remedies = [f"training.learning_rate below {settings.learning_rate:g}"]
    remedies += ["training.precision: float32"] * (settings.precision != "float32")
    remedies += ["training.on_nonfinite: skip"] * (settings.on_nonfinite == "stop" and not error.weights)
    return f"try {' or '.join(remedies)}"


def _save(
    place: Path, step: int, puzzles: np.ndarray, episodes: Episodes, weights: np.ndarray, error: Diverged
) -> None:
    partial = place.with_name(f".{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    drawn = episodes.completions
    tensors = {name: getattr(drawn, name) for name in ("tokens", "lengths", "finished", "log_probs")}
    tensors |= {"weights": torch.tensor(weights), "rewards": torch.tensor(episodes.field("reward"))}
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
        "prompts": list(episodes.prompt_texts),
        "texts": episodes.texts,
        "samples": episodes.samples,
    }
    write_json(facts, partial / "step.json")
    _drop(place)
    os.rename(partial, place)


def _drop(place: Path) -> None:
    """Delete the folder; renamed first, so that one half deleted is never taken for a whole one."""
    if place.exists():
        discarded = place.with_name(f".{place.name}.discarded")
        shutil.rmtree(discarded, ignore_errors=True)
        os.rename(place, discarded)
        shutil.rmtree(discarded)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
