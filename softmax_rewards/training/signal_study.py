"""Signal study: the measured signal-to-noise of a batch's gradient, for every scheme from the same batches.

Each batch is sampled once from the base model, which is not trained. A scheme's gradient is a sum of weight times score
(`policy/score_sums.py`), and answers of one prompt with the same marks have the same weight. So the score sums of each
group and mark give the gradients of all schemes. KL, entropy bonus, teacher forcing and clipping are left out.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from softmax_rewards.common.files import verified_manifest, write_csv, write_json
from softmax_rewards.common.terminal import log
from softmax_rewards.config.run import Run, Training
from softmax_rewards.data import dataset
from softmax_rewards.models import checkpoint
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.tokenizer import Tokenizer
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.micro_batches import Samples
from softmax_rewards.policy.objective import sample_scales
from softmax_rewards.policy.optimizer import EPSILON
from softmax_rewards.policy.rollout import Rollouts, Sampler
from softmax_rewards.policy.sampling_params import SamplingParams
from softmax_rewards.policy.score_sums import score_sums
from softmax_rewards.policy.update import sample_mask
from softmax_rewards.training import signal_figures
from softmax_rewards.training.gradient_moments import BlockSums
from softmax_rewards.training.signal_figures import MARKS
from softmax_rewards.training.step import prompt_indices

BLOCKS = 10  # parts of the batches, for standard errors
WARM_UP = 5  # one batch for Adam's second moments per so many measured batches


def write(run: Run, batches: int, data: Path, base: Path, out: Path) -> None:
    """Measure `batches` batches of the base model in the folder `base`; write `schemes.csv` and `base.json` to `out`.

    The settings of the batches are those of `run`, and `data` has its puzzles. Raises ValueError if a file of the
    puzzles or the base model differs from its manifest.
    """
    verified_manifest(data)
    template = verified_manifest(base)["template"]
    settings = run.training
    torch.set_num_threads(settings.threads)
    policy = checkpoint.load(base, checkpoint.pick_device(settings.device), torch.float32)
    sampler = Sampler(
        Tokenizer(base),
        run.task,
        template,
        Limits.of(settings),
        settings.max_new_tokens,
        settings.reward_timeout,
        hidden_budget=settings.hidden_budget,
    )
    table, facts = measure(policy, sampler, dataset.read(data, "train"), settings, batches)
    # Both files are written at the end, so that an interrupted study leaves nothing behind.
    write_csv(table, out / "schemes.csv")
    write_json(facts, out / "base.json")


def measure(
    policy: Decoder, sampler: Sampler, puzzles: list[dict[str, Any]], settings: Training, batches: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table and the facts of `signal_figures`. One more batch per WARM_UP batches is sampled before."""
    schemes = signal_figures.schemes(settings.group_size)
    count, warm_up = len(schemes), math.ceil(batches / WARM_UP)
    blocks = BlockSums(batches, min(BLOCKS, batches), slice(count, count + len(MARKS)))
    squares = torch.zeros(())  # summed over the warm-up; the second moment is each scheme's own
    measured = []
    for index in range(warm_up + batches):
        rollouts = _rollouts(policy, sampler, puzzles, settings, index)
        rewards = rollouts.field("reward")
        marks = np.stack([rollouts.field(name, bool) for name in ("correct", "formatted")])
        weights = signal_figures.weights(schemes, rewards, marks)
        gradients = _gradients(policy, rollouts, settings, weights, np.stack([rewards, *marks]))
        if index < warm_up:
            squares = squares + gradients[:count].square()
        else:
            # AdamW's step after so many batches at these weights, without momentum. As in AdamW, the second moment
            # includes this batch, so no entry of the step is above sqrt(warm_up + 1).
            second = (squares + gradients[:count].square()) / (warm_up + 1)
            blocks.add(torch.cat((gradients, gradients[:count] / (second.sqrt() + EPSILON))))
            measured.append(signal_figures.Batch(rewards, marks, weights[:count]))
        if index % 10 == 9:
            log("signal", f"{index + 1} of {warm_up + batches} batches")
    products = blocks.products()
    table = signal_figures.table(schemes, measured, products)
    return table, signal_figures.facts(measured, products, table)


def _rollouts(
    policy: Decoder, sampler: Sampler, puzzles: list[dict[str, Any]], settings: Training, index: int
) -> Rollouts:
    """Batch number `index`. Its prompts are those of step `index` of seed 0."""
    chosen = prompt_indices(0, index, settings.prompts_per_step, len(puzzles))
    stream, params = (0, "signal", index), SamplingParams.of(settings)
    return sampler.rollout(policy, [puzzles[row] for row in chosen], settings.group_size, stream, params)


def _gradients(
    policy: Decoder, rollouts: Rollouts, settings: Training, weights: np.ndarray, values: np.ndarray
) -> Tensor:
    """Gradients of Σ_i s_i w_i log π(y_i) for `weights[V, Q, N]`, float32 `[V, parameters]`.

    Answers of a group have the same weight if their `values[…, Q, N]` (reward and marks) are equal.
    """
    lengths = rollouts.lengths.ravel()
    scales = sample_scales(lengths, sample_mask(settings, rollouts), settings.loss_aggregation, settings.max_new_tokens)
    groups = np.repeat(np.arange(len(rollouts.prompts)), rollouts.group_size)
    keys = np.stack([groups, *values.reshape(len(values), -1)], 1)
    _, first, sets = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    sets, flat = sets.ravel(), weights.reshape(len(weights), -1)
    if not np.allclose(flat, flat[:, first][:, sets], rtol=1e-9, atol=1e-9):
        raise ValueError("a scheme gives answers of equal reward in one group different weights")
    samples = Samples(rollouts.prompts, rollouts.completions.tokens, lengths.tolist())
    sums = score_sums(policy, samples, scales, sets, settings.max_microbatch_tokens, settings.temperature)
    return torch.from_numpy(flat[:, first]).to(sums) @ sums
