"""The training loop, to be read from top to bottom: sample, score, weigh, update; log, evaluate, checkpoint.

Where it departs from the textbook: prompts and sampling noise come from streams keyed by (seed, purpose, step), so
all arms of a seed see the same and a resumed run needs no generator state; and there is no value model.
"""

import dataclasses
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from softmax_rewards import weighting
from softmax_rewards.common import provenance
from softmax_rewards.common.files import verified_manifest
from softmax_rewards.common.randomness import numpy_stream
from softmax_rewards.common.terminal import log
from softmax_rewards.config.run import Run
from softmax_rewards.data import dataset, tasks
from softmax_rewards.models import checkpoint
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy import ranks, reference
from softmax_rewards.policy.limits import exhausted
from softmax_rewards.policy.ranks import Ranks
from softmax_rewards.policy.rollout import Episodes, play
from softmax_rewards.policy.teacher import inject, log_ratios
from softmax_rewards.policy.update import Updater
from softmax_rewards.training import divergence, records, trajectory
from softmax_rewards.training.run_folder import RunFolder
from softmax_rewards.training.state_file import StateFile
from softmax_rewards.weighting import temperature


def train(run: Run, data: Path, base: Path, out: Path) -> None:
    """Train one arm with one seed from the base model in `base` on the puzzles in `data`; all files go to `out`.

    An interrupted run continues from its last whole checkpoint in `out` and ends with the same bytes as an
    uninterrupted one (on a GPU the same up to rounding, whose order is not fixed there); one that had ended is not
    trained again. Raises SystemExit after a checkpoint on SIGTERM and Control-C, ValueError if puzzles or base model
    are not as their manifests have them, RuntimeError if another process trains in `out`, NotWritten if the disk does
    not take a file, FloatingPointError if the loss, the gradient or the weights are no longer finite,
    scoring.RewardError for a verifier that fails, and torch.OutOfMemoryError.
    """
    with ranks.opened(run.training.device) as own:
        _train(run, data, base, out, own)


def _train(run: Run, data: Path, base: Path, out: Path, own: Ranks) -> None:
    settings = run.training
    torch.set_num_threads(settings.threads)
    manifests = {"data": verified_manifest(data), "base": verified_manifest(base)}
    sources = {name: manifest["sha256"] for name, manifest in manifests.items()}
    template = manifests["base"]["template"]
    record = provenance.run_record(run.to_dict(), **sources, device=checkpoint.device_name(own.device))
    identity = " ".join((record["fingerprint"], *sources.values()))

    with (
        RunFolder(out, identity, own) as folder,
        StateFile(out, run, record["fingerprint"], record["device"], own.first) as state,
        exhausted(settings, alone=own.count == 1),
        TerminationRequest() as termination,
        reference.opened(settings, base, own.device) as held_to,
    ):
        if folder.restore():
            return
        if own.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(own.device)  # of whatever this process did before
        puzzles = dataset.read(data, "train")
        held_out = dataset.read(data, "test", run.evaluation.puzzles)
        tokenizer = Tokenizer(base)
        precision = getattr(torch, settings.precision) if own.count == 1 else torch.float32
        policy = checkpoint.load(base, own.device, precision)
        policy.gradient_checkpointing = settings.gradient_checkpointing
        updater = Updater(settings, run.seed, policy, own)
        first, tokens = folder.resume(updater)
        state.begins(first)

        for step in range(first, settings.steps + 1):
            with updater.whole() as actor:
                if step % run.evaluation.every == 0 or step == settings.steps:
                    row, samples = trajectory.point(
                        run, step, tokens, actor, tokenizer, template, held_out, updater.limits, own
                    )
                    folder.append("evaluations", row)
                    for text in samples:
                        folder.append("samples", text)
                    state.evaluated(step, row["success"])
                if step == settings.steps:
                    divergence.forget(folder)
                    folder.finish(actor, base, record | {"template": template, "gpus": own.count})
                    break

                began = time.perf_counter()
                indices = prompt_indices(run.seed, step, settings.prompts, len(puzzles))
                episodes = play(
                    actor,
                    tokenizer,
                    run.task,
                    [puzzles[index] for index in indices],
                    template=template,
                    samples=settings.samples,
                    max_new_tokens=settings.max_new_tokens,
                    reward_seconds=settings.reward_seconds,
                    limits=updater.limits,
                    stream=(run.seed, "rollout", step),
                    ranks=own,
                )
            sampled = time.perf_counter()
            batch, bonus = episodes, 0.0
            if settings.injection is not None or settings.imitation is not None or settings.target:
                answers = references(run, tokenizer, template, [puzzles[index] for index in indices])
                if settings.target:
                    vocabulary = policy.shape.vocab_size
                    bonus = settings.target * log_ratios(episodes, answers, settings.target_smoothing, vocabulary)
                else:
                    batch = inject(episodes, answers, settings.injection or 0.0, tokenizer.pad_id)
            # With `imitation` the reference answers have a loss of their own, and no share in their groups' weights.
            weights, tau = weigh(run, step, batch if settings.imitation is None else episodes, bonus)
            losses = divergence.update(updater, folder, step, indices, batch, weights, held_to)
            updated = time.perf_counter()

            generated = int(episodes.lengths.sum())
            tokens += generated
            head = {"step": step + 1, "tokens": tokens, "tau": tau}
            folder.append("metrics", head | losses | records.rollout_row(episodes) | records.weight_row(weights))
            folder.append("episodes", records.episode_row(step + 1, indices, episodes, weights[:, : settings.samples]))
            timing = records.timing_row(step + 1, sampled - began, updated - sampled, generated, own.device)
            folder.append("timing", timing | dataclasses.asdict(updater.limits))
            state.stepped(step + 1, timing["seconds"])
            ending = own.any(bool(termination.requested))  # all ranks at the same step
            if (step + 1) % settings.checkpoint_every == 0 or ending:
                folder.checkpoint(step + 1, tokens, updater)
                state.saved(step + 1)
            if ending:
                if own.first:
                    log(
                        "train",
                        f"{out}: stopped on request after step {step + 1}; the next start goes on from there",
                    )
                raise SystemExit(128 + (termination.requested or signal.SIGTERM))


def prompt_indices(seed: int, step: int, count: int, puzzles: int) -> np.ndarray:
    """Which of the `puzzles` train puzzles step `step` uses, `[count]`: one random order an epoch, cut into steps."""
    places = np.arange(step * count, (step + 1) * count)
    orders = {
        epoch: numpy_stream(seed, "prompts", epoch).permutation(puzzles) for epoch in set((places // puzzles).tolist())
    }
    return np.array([orders[place // puzzles][place % puzzles] for place in places.tolist()])


def references(run: Run, tokenizer: Tokenizer, template: str, puzzles: list[dict[str, Any]]) -> list[list[int]]:
    """Token ids of the puzzles' reference answers, the end token included."""
    task, _ = tasks.load(run.task)
    return [[*tokenizer.encode(task.reference(puzzle, template)), tokenizer.end_id] for puzzle in puzzles]


def weigh(run: Run, step: int, episodes: Episodes, bonus: np.ndarray | float = 0.0) -> tuple[np.ndarray, float | None]:
    """The weights `[Q, N]` of the arm's scheme, and the temperature they were computed at (None without one).

    `bonus[Q, N]` is added to the rewards.
    """
    given: dict[str, Any] = {key: value for key, value in run.weighting.items() if key != "scheme"}
    if "tau" in given:
        task, options = tasks.load(run.task)
        given["tau"] = temperature.resolve(given["tau"], step, task.reward_range(options))
    rewards, correct = episodes.field("reward") + bonus, episodes.field("correct", bool)
    return weighting.compute(run.weighting["scheme"], rewards, correct, **given), given.get("tau")


class TerminationRequest:
    """Within its block SIGTERM and Control-C only set `requested`, so that the loop can end at a step's boundary.

    A second Control-C ends it at once, where the run has one process.
    """

    def __enter__(self) -> "TerminationRequest":
        self.requested = 0  # or the signal's number
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = number
