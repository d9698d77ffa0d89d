"""The training loop: sample, score, weight, update; log, evaluate, save checkpoints. Read it from top to bottom.

`step.py` computes the numbers of a step. `run_folder.py` writes the files. There is no value model.
"""

import dataclasses
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from softmax_rewards.common import provenance
from softmax_rewards.common.files import verified_manifest
from softmax_rewards.common.terminal import log
from softmax_rewards.config.run import Run, Training
from softmax_rewards.data import dataset
from softmax_rewards.models import checkpoint
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy import kl, world
from softmax_rewards.policy.dynamic_sampling import Collected
from softmax_rewards.policy.engine import Engine
from softmax_rewards.policy.learning_rate import learning_rate
from softmax_rewards.policy.limits import Limits, exhausted
from softmax_rewards.policy.rollout import Rollouts, Sampler
from softmax_rewards.policy.update import Diverged, Facts
from softmax_rewards.policy.world import World
from softmax_rewards.training import records, samplers, shared_folder, step_log, timing
from softmax_rewards.training.divergence import DivergenceGuard
from softmax_rewards.training.run_folder import Folder
from softmax_rewards.training.state_file import StateFile
from softmax_rewards.training.step import Steps
from softmax_rewards.training.termination import TerminationRequest


def train(run: Run, data: Path, base: Path, out: Path, plans: Mapping[str, str | None] | None = None) -> Decoder | None:
    """Train one ablation with one seed. Start from the base model in `base`, train on the puzzles in `data`.

    All files go to `out`. An interrupted run continues from its newest undamaged checkpoint there. On a CPU, it ends
    with the same bytes as an uninterrupted run. On a GPU, results may differ by rounding, because the order of sums is
    not fixed there. A finished run is not trained again.

    `plans` are the hashes of the analysis plan and of the predictions (`provenance.plan_hashes`). They go into
    `run.json`; a run that continues keeps those of its first start.

    Returns the final policy, as it was saved. None if several processes trained it, and if the run was not trained
    again.

    Raises:
        SystemExit: after SIGTERM or Control-C, when the step is done and a checkpoint is written.
        KeyboardInterrupt: after a second Control-C, at once and without a checkpoint.
        ValueError: if a file of the puzzles or the base model differs from its manifest.
        RuntimeError: if another process trains in `out`.
        NotWritten: if a file cannot be written.
        FloatingPointError: if loss, gradient or model weights are not finite and the update may not be skipped.
        scoring.RewardError: if the verifier fails.
        torch.OutOfMemoryError: if memory is too small. One process first halves its batches as often as possible;
            several ranks do not.
    """
    with ExitStack() as stack:
        processes = stack.enter_context(world.opened(run.training.device))
        torch.set_num_threads(run.training.threads)
        manifests = {"data": verified_manifest(data), "base": verified_manifest(base)}
        sources = {name: manifest["sha256"] for name, manifest in manifests.items()}
        record = provenance.run_record(run.to_dict(), **sources, device=checkpoint.device_name(processes.device))
        # The fingerprint covers settings and code, the checksums cover the puzzles and the base model. Files in `out`
        # are used again only if they have the same identity.
        identity = " ".join((record["fingerprint"], *sources.values()))
        folder = stack.enter_context(shared_folder.opened(out, identity, processes, plans))
        state = stack.enter_context(StateFile(out, run, record["fingerprint"], record["device"], processes.is_main))
        stack.enter_context(exhausted(run.training, alone=processes.size == 1))
        termination = stack.enter_context(TerminationRequest())
        if folder.restore():  # the run has already finished in `out`
            return None
        template = manifests["base"]["template"]
        steps = prepare(run, data, base, template, processes)
        record |= {"template": template, "gpus": processes.size}
        record["versions"] |= samplers.versions(run.training)
        Trainer(run, steps, folder, state, termination, processes).train(base, record)
    return steps.updater.engine.policy if processes.size == 1 else None


def prepare(run: Run, data: Path, base: Path, template: str, processes: World) -> Steps:
    """Load the model and the puzzles, and return the `Steps` of the run."""
    settings, device = run.training, processes.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)  # so that the logged peak is this run's
    tokenizer, limits = Tokenizer(base), Limits.of(settings)
    # Several ranks load float32, because FSDP shards float32 weights. It computes in the run's precision itself.
    precision = getattr(torch, settings.precision) if processes.size == 1 else torch.float32
    policy = checkpoint.load(base, device, precision)
    policy.gradient_checkpointing = settings.gradient_checkpointing
    engine = build_engine(policy, settings, processes)
    reference = kl.reference_model(settings, base, device) if settings.kl_coef else None
    native = Sampler(
        tokenizer,
        run.task,
        template,
        limits,
        settings.max_new_tokens,
        settings.reward_timeout,
        world=processes,
        hidden_budget=settings.hidden_budget,
    )
    sampler, updater = samplers.chosen(settings, base, native)
    return Steps(
        run,
        sampler,
        updater.of(settings, run.seed, engine, limits, reference, measures_change=True),
        dataset.read(data, "train"),
        dataset.read(data, "test", run.evaluation.puzzles),
    )


def build_engine(policy: Decoder, settings: Training, processes: World) -> Engine:
    """The engine for `policy`, which must be in float32 if there are several processes."""
    if processes.size == 1:
        return Engine(policy, settings)
    from softmax_rewards.policy.sharded import ShardedEngine  # takes a second, which one process need not wait for

    return ShardedEngine(policy, settings, processes)


class Trainer:
    """Runs the loop of one run, and writes its logs and checkpoints."""

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
        """Train from the newest checkpoint, or from the beginning. Then write the final files and the `record`."""
        settings, steps = self.run.training, self.steps
        start, self.tokens = self.folder.resume(self.engine, self.limits)
        self.state.begins(start)
        self.folder.append("phases", {"phase": "start", "seconds": timing.process_age()})
        for step in range(start, settings.steps):
            if step % self.run.evaluation.every == 0:
                self.log_evaluation(step)
            began = time.perf_counter()
            collected = steps.collect(step)  # prompts → samples → scores, [Q, N]
            sampled = time.perf_counter()
            batch, rewards = steps.teach(collected, step)  # adds reference answers if the settings use them
            weights, tau = steps.compute_weights(batch, rewards, step)
            facts = self.learn(step, collected.indices, batch, weights)  # gradients → clipping → AdamW
            seconds = (sampled - began, time.perf_counter() - sampled)
            facts |= step_log.row(settings, collected.rollouts, batch, weights)
            self.log_step(step, collected, weights, tau, facts, seconds)
            self.save_or_stop(step)
        self.log_evaluation(settings.steps)
        self.guard.finished()
        with self.engine.gathered_policy() as policy:
            self.folder.finish(policy, base, record)

    def learn(self, step: int, puzzles: np.ndarray, batch: Rollouts, weights: np.ndarray) -> Facts:
        """Update the policy with the `batch` and its `weights`. `puzzles[Q]` index the train split.

        If loss, gradient or model weights are not finite, the guard decides: it skips the update, or it saves the
        update's inputs and raises FloatingPointError.
        """
        try:
            facts = self.steps.learn(step, batch, weights)
        except Diverged as error:
            return self.guard.failed(step, puzzles, batch, weights, error)
        return facts | self.guard.passed(step)

    def log_evaluation(self, step: int) -> None:
        """Evaluate the policy after `step` updates. Log its rates and its answers to a few held-out puzzles."""
        began = time.perf_counter()
        rollouts = self.steps.evaluate()
        row = records.evaluation_row(step, self.tokens, rollouts) | self.steps.passes(step)
        self.folder.append("evaluations", row)
        for text in records.sample_rows(step, rollouts, self.run.evaluation.samples):
            self.folder.append("samples", text)
        self.folder.append("phases", {"phase": "evaluation", "seconds": time.perf_counter() - began})
        self.state.evaluated(step, row["success"])

    def log_step(
        self,
        step: int,
        collected: Collected,
        weights: np.ndarray,
        tau: float | None,
        facts: Facts,
        seconds: tuple[float, float],
    ) -> None:
        """Log the rates and weights of a step, each of its samples, and its `seconds`: (rollout, update)."""
        rollouts = collected.rollouts
        self.tokens += collected.tokens
        rate = learning_rate(self.run.training, step)
        head = {
            "step": step + 1,
            "tokens": self.tokens,
            "sampled": collected.samples,
            "tau": tau,
            "learning_rate": rate,
        }
        rates = records.rollout_row(rollouts) | records.weight_row(weights)
        self.folder.append("metrics", head | facts | rates)
        # An injected reference answer has a weight too, in the last column. But the policy did not sample it.
        sample_weights = weights[:, : rollouts.group_size]
        self.folder.append("episodes", records.episode_row(step + 1, collected.indices, rollouts, sample_weights))
        tokens = (collected.tokens, int(rollouts.lengths.sum()))
        row = records.timing_row(step + 1, seconds, tokens, self.world.device)
        self.folder.append("timing", row | dataclasses.asdict(self.limits))
        self.state.stepped(step + 1, row["seconds"])

    def save_or_stop(self, step: int) -> None:
        """Write a checkpoint every `training.checkpoint_every` steps. If the end was requested, write one and exit."""
        # The signal may have reached only some ranks, but all must stop after the same step: they compute together.
        stopping = self.world.any(bool(self.termination.requested))
        if (step + 1) % self.run.training.checkpoint_every == 0 or stopping:
            self.folder.checkpoint(step + 1, self.tokens, self.engine, self.limits)
            self.state.saved(step + 1)
        if stopping:
            text = f"{self.folder.out}: stopped on request after step {step + 1}; the next start goes on from there"
            self.folder.on_disk(lambda: log("train", text))
            # 128 + signal number is the usual exit status. A rank that got no signal itself exits as after SIGTERM.
            raise SystemExit(128 + (self.termination.requested or signal.SIGTERM))
