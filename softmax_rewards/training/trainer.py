"""The training loop, to be read from top to bottom: sample, score, weight, update; log, evaluate, checkpoint.

`step.py` computes the numbers of a step, `run_folder.py` keeps files on disk. There is no value model.
"""

import dataclasses
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from softmax_rewards.common import provenance
from softmax_rewards.common.files import verified_manifest
from softmax_rewards.common.terminal import log
from softmax_rewards.config.run import Run
from softmax_rewards.data import dataset
from softmax_rewards.models import checkpoint
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy import kl, sharded, world
from softmax_rewards.policy.limits import Limits, exhausted
from softmax_rewards.policy.rollout import Rollouts, Sampler
from softmax_rewards.policy.update import Diverged, Facts, Updater
from softmax_rewards.policy.world import World
from softmax_rewards.training import records, shared_folder
from softmax_rewards.training.divergence import DivergenceGuard
from softmax_rewards.training.run_folder import Folder
from softmax_rewards.training.state_file import StateFile
from softmax_rewards.training.step import Steps
from softmax_rewards.training.termination import TerminationRequest


def train(run: Run, data: Path, base: Path, out: Path) -> None:
    """Train one ablation with one seed from the base model in `base` on the puzzles in `data`; all files go to `out`.

    An interrupted run continues from its last whole checkpoint in `out` and ends with the same bytes as an
    uninterrupted one (on a GPU only up to rounding, because the order of sums is not fixed there). A finished run is
    not trained again.

    Raises:
        SystemExit: after SIGTERM or Control-C, with a checkpoint written.
        ValueError: if a file of the puzzles or the base model differs from its manifest.
        RuntimeError: if another process trains in `out`.
        NotWritten: if a file cannot be written.
        FloatingPointError: if the loss, the gradient or the weights are no longer finite.
        scoring.RewardError: if the verifier fails.
        torch.OutOfMemoryError: if memory does not suffice for the smallest batches.
    """
    with ExitStack() as stack:
        processes = stack.enter_context(world.opened(run.training.device))
        torch.set_num_threads(run.training.threads)
        manifests = {"data": verified_manifest(data), "base": verified_manifest(base)}
        sources = {name: manifest["sha256"] for name, manifest in manifests.items()}
        record = provenance.run_record(run.to_dict(), **sources, device=checkpoint.device_name(processes.device))
        identity = " ".join((record["fingerprint"], *sources.values()))
        folder = stack.enter_context(shared_folder.opened(out, identity, processes))
        state = stack.enter_context(StateFile(out, run, record["fingerprint"], record["device"], processes.is_main))
        stack.enter_context(exhausted(run.training, alone=processes.size == 1))
        termination = stack.enter_context(TerminationRequest())
        if folder.restore():
            return
        template = manifests["base"]["template"]
        steps = prepare(run, data, base, template, processes)
        record |= {"template": template, "gpus": processes.size}
        Trainer(run, steps, folder, state, termination, processes).train(base, record)


def prepare(run: Run, data: Path, base: Path, template: str, processes: World) -> Steps:
    """Load model and puzzles, and put together what the steps of the run need."""
    settings, device = run.training, processes.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)  # so that the peak is that of this run
    tokenizer, limits = Tokenizer(base), Limits.of(settings)
    # With several ranks, the sharded weights are float32; ranks compute in the run's precision.
    precision = getattr(torch, settings.precision) if processes.size == 1 else torch.float32
    policy = checkpoint.load(base, device, precision)
    policy.gradient_checkpointing = settings.gradient_checkpointing
    engine = sharded.build(policy, settings, processes)
    reference = kl.reference_model(settings, base, device) if settings.kl_coef else None
    return Steps(
        run,
        Sampler(
            tokenizer, run.task, template, limits, settings.max_new_tokens, settings.reward_timeout, world=processes
        ),
        Updater.of(settings, run.seed, engine, limits, reference),
        dataset.read(data, "train"),
        dataset.read(data, "test", run.evaluation.puzzles),
    )


class Trainer:
    """The loop of one run, with its logs and checkpoints."""

    def __init__(
        self,
        run: Run,
        steps: Steps,
        folder: Folder,
        state: StateFile,
        termination: TerminationRequest,
        processes: World,
    ) -> None:
        self.run, self.steps, self.folder, self.state = run, steps, folder, state
        self.termination, self.world = termination, processes
        self.engine, self.limits = steps.updater.engine, steps.updater.limits
        self.guard = DivergenceGuard(folder, run.training)

    def train(self, base: Path, record: dict) -> None:
        """Continue from the newest checkpoint to the last step, and write the finished run with its `record`."""
        settings, steps = self.run.training, self.steps
        start, self.tokens = self.folder.resume(self.engine, self.limits)
        self.state.begins(start)
        for step in range(start, settings.steps):
            if step % self.run.evaluation.every == 0:
                self.log_evaluation(step)
            began = time.perf_counter()
            rollouts = steps.collect(step)  # prompts → samples → scores, [Q, N]
            sampled = time.perf_counter()
            batch, rewards = steps.teach(rollouts, step)  # reference answers, where they take part
            weights, tau = steps.compute_weights(batch, rewards, step)
            facts = self.learn(step, batch, weights)  # gradients → clipping → AdamW
            seconds = (sampled - began, time.perf_counter() - sampled)
            self.log_step(step, rollouts, weights, tau, facts, seconds)
            self.save_or_stop(step)
        self.log_evaluation(settings.steps)
        self.guard.finished()
        with self.engine.gathered_policy() as policy:
            self.folder.finish(policy, base, record)

    def learn(self, step: int, batch: Rollouts, weights: np.ndarray) -> Facts:
        """Update the policy. An update that is not finite is skipped, or ends the run after its inputs are saved."""
        try:
            facts = self.steps.learn(step, batch, weights)
        except Diverged as error:
            return self.guard.failed(step, self.steps.prompt_indices(step), batch, weights, error)
        return facts | self.guard.passed(step)

    def log_evaluation(self, step: int) -> None:
        """Evaluate the policy on held-out puzzles after `step` updates; log rates, and the texts of the first few."""
        rollouts = self.steps.evaluate()
        row = records.evaluation_row(step, self.tokens, rollouts)
        self.folder.append("evaluations", row)
        for text in records.sample_rows(step, rollouts, self.run.evaluation.samples):
            self.folder.append("samples", text)
        self.state.evaluated(step, row["success"])

    def log_step(
        self,
        step: int,
        rollouts: Rollouts,
        weights: np.ndarray,
        tau: float | None,
        facts: Facts,
        seconds: tuple[float, float],
    ) -> None:
        """Log a step's rates, weights, every sample, and its `seconds` of rollout and update."""
        generated = int(rollouts.lengths.sum())
        self.tokens += generated
        head = {"step": step + 1, "tokens": self.tokens, "tau": tau}
        rates = records.rollout_row(rollouts) | records.weight_row(weights)
        self.folder.append("metrics", head | facts | rates)
        # An injected reference answer also has a weight, but it is no sample.
        sample_weights = weights[:, : rollouts.group_size]
        indices = self.steps.prompt_indices(step)
        self.folder.append("episodes", records.episode_row(step + 1, indices, rollouts, sample_weights))
        timing = records.timing_row(step + 1, *seconds, generated, self.world.device)
        self.folder.append("timing", timing | dataclasses.asdict(self.limits))
        self.state.stepped(step + 1, timing["seconds"])

    def save_or_stop(self, step: int) -> None:
        """Write a checkpoint every few steps. If the end was requested, write one and end the run."""
        stopping = self.world.any(bool(self.termination.requested))  # all ranks stop at the same step
        if (step + 1) % self.run.training.checkpoint_every == 0 or stopping:
            self.folder.checkpoint(step + 1, self.tokens, self.engine, self.limits)
            self.state.saved(step + 1)
        if stopping:
            text = f"{self.folder.out}: stopped on request after step {step + 1}; the next start goes on from there"
            self.folder.on_disk(lambda: log("train", text))
            raise SystemExit(128 + (self.termination.requested or signal.SIGTERM))
