"""The training loop, to be read from top to bottom: sample, score, weigh, update; log, evaluate, checkpoint.

Where it departs from the textbook: prompts and sampling noise come from streams keyed by (seed, purpose, step), so
all arms of a seed see the same and a resumed run needs no generator state; and there is no value model.
"""

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from softmax_rewards import dataset, provenance, records, tasks, temperature, trajectory, weighting
from softmax_rewards.files import read_manifest
from softmax_rewards.models import checkpoint
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.objective import batches, policy_loss, sample_scales, token_log_probs
from softmax_rewards.progress import Progress, say
from softmax_rewards.randomness import numpy_stream, torch_stream
from softmax_rewards.rollout import Episodes, play
from softmax_rewards.run import Run, Training
from softmax_rewards.runfolder import RunFolder


def train(run: Run, data: Path, base: Path, out: Path) -> None:
    """Train one arm with one seed from the base model in `base` on the puzzles in `data`; all files go to `out`.

    An interrupted run continues from its last checkpoint in `out` and ends with the same bytes as an
    uninterrupted one. Raises SystemExit(143) after a checkpoint on SIGTERM, RuntimeError if another process
    trains in `out`, FloatingPointError if the loss or the gradient is no longer finite.
    """
    settings = run.training
    torch.set_num_threads(settings.threads)
    device = torch.device(checkpoint.pick_device(settings.device))
    sources = {"data": read_manifest(data)["sha256"], "base": read_manifest(base)["sha256"]}
    template = read_manifest(base)["template"]
    record = provenance.run_record(run.to_dict(), **sources, device=checkpoint.device_name(device))
    identity = " ".join((record["fingerprint"], *sources.values()))

    with RunFolder(out, identity) as folder, TerminationRequest() as termination:
        puzzles = dataset.read(data, "train")
        held_out = dataset.read(data, "test", run.evaluation.puzzles)
        tokenizer = Tokenizer(base)
        policy = checkpoint.load(base, device)
        optimiser = torch.optim.AdamW(policy.parameters(), lr=settings.learning_rate, weight_decay=0.0, foreach=True)
        first, tokens = folder.resume(policy, optimiser)
        progress = Progress(out, settings.steps, first)

        for step in range(first, settings.steps + 1):
            if step % run.evaluation.every == 0 or step == settings.steps:
                row, samples = trajectory.point(run, step, tokens, policy, tokenizer, template, held_out)
                folder.log.append("evaluations", row)
                for text in samples:
                    folder.log.append("samples", text)
                progress.report(step, row["success"])
            if step == settings.steps:
                break

            began = time.perf_counter()
            indices = prompt_indices(run.seed, step, settings.prompts, len(puzzles))
            episodes = play(
                policy,
                tokenizer,
                run.task,
                [puzzles[index] for index in indices],
                template=template,
                samples=settings.samples,
                max_new_tokens=settings.max_new_tokens,
                generator=torch_stream(run.seed, "rollout", step, device=device),
            )
            sampled = time.perf_counter()
            weights, tau = weigh(run, step, episodes)
            losses = update(settings, policy, optimiser, episodes, weights)
            updated = time.perf_counter()

            generated = int(episodes.lengths.sum())
            tokens += generated
            head = {"step": step + 1, "tokens": tokens, "tau": tau}
            folder.log.append("metrics", head | losses | records.rollout_row(episodes) | records.weight_row(weights))
            folder.log.append("episodes", records.episode_row(step + 1, indices, episodes, weights))
            folder.log.append(
                "timing", records.timing_row(step + 1, sampled - began, updated - sampled, generated, device)
            )
            if (step + 1) % settings.checkpoint_every == 0 or termination.requested:
                folder.checkpoint(step + 1, tokens, policy, optimiser)
            if termination.requested:
                say(
                    "train",
                    f"{out}: stopped on request after step {step + 1}; the next start goes on from there",
                )
                raise SystemExit(128 + signal.SIGTERM)
        folder.finish(policy, base, record | {"template": template})


def prompt_indices(seed: int, step: int, count: int, puzzles: int) -> np.ndarray:
    """Which of the `puzzles` train puzzles step `step` uses, `[count]`: one random order an epoch, cut into steps."""
    places = np.arange(step * count, (step + 1) * count)
    orders = {
        epoch: numpy_stream(seed, "prompts", epoch).permutation(puzzles) for epoch in set((places // puzzles).tolist())
    }
    return np.array([orders[place // puzzles][place % puzzles] for place in places.tolist()])


def weigh(run: Run, step: int, episodes: Episodes) -> tuple[np.ndarray, float | None]:
    """The weights `[Q, N]` of the arm's scheme, and the temperature they were computed at (None without one)."""
    given: dict[str, Any] = {key: value for key, value in run.weighting.items() if key != "scheme"}
    if "tau" in given:
        task, options = tasks.load(run.task)
        given["tau"] = temperature.resolve(given["tau"], step, task.reward_range(options))
    rewards, correct = episodes.field("reward"), episodes.field("correct", bool)
    return weighting.compute(run.weighting["scheme"], rewards, correct, **given), given.get("tau")


def update(
    settings: Training,
    policy: Decoder,
    optimiser: torch.optim.Optimizer,
    episodes: Episodes,
    weights: np.ndarray,
) -> dict[str, float]:
    """Update the policy `settings.updates` times on one batch of episodes with `weights[Q, N]`.

    Micro-batches only bound memory: every token's weight already carries the normaliser of the whole step, so
    their gradients add up to the batch's. Returns loss, gradient norm before clipping and policy entropy (nats a
    token) of the first update.
    """
    completions, device = episodes.completions, episodes.completions.tokens.device
    lengths, finished = episodes.lengths.ravel(), completions.finished.cpu().numpy()
    kept = finished if settings.skip_unfinished else np.ones_like(finished)
    if settings.skip_equal:
        kept = kept & np.repeat(np.ptp(episodes.field("reward"), axis=1) > 0, episodes.samples)
    scales = sample_scales(lengths, kept, settings.normaliser, settings.max_new_tokens)
    factors = torch.tensor(scales * weights.ravel(), dtype=torch.float32, device=device)
    bonuses = torch.tensor(scales * settings.entropy_bonus, dtype=torch.float32, device=device)
    clip = (settings.clip_low, settings.clip_high) if settings.updates > 1 else None

    first: dict[str, float] = {}
    for _ in range(settings.updates):
        loss = entropy = 0.0
        for batch in batches(
            episodes.prompts,
            completions.tokens,
            lengths.tolist(),
            episodes.samples,
            np.flatnonzero(kept).tolist(),
            settings.microbatch_tokens,
        ):
            log_probs, entropies = token_log_probs(policy, batch, settings.entropy_bonus > 0)
            part = policy_loss(log_probs, batch.gather(completions.log_probs), factors[batch.samples], clip)
            if settings.entropy_bonus:
                part = part - (bonuses[batch.samples] * entropies).sum()
            part.backward()
            loss += part.item()
            entropy += entropies.sum().item()
        norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), settings.clip_norm).item()
        if not (np.isfinite(loss) and np.isfinite(norm)):
            raise FloatingPointError(f"training has diverged: loss {loss}, gradient norm {norm}")
        optimiser.step()
        optimiser.zero_grad()
        first = first or {
            "loss": loss,
            "grad_norm": norm,
            "entropy": entropy / max(int(lengths[kept].sum()), 1),
        }
    return first


class TerminationRequest:
    """Within its block SIGTERM only sets `requested`, so that the loop can end at a step's boundary."""

    def __enter__(self) -> "TerminationRequest":
        self.requested = False
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
