"""Teacher forcing: the reference answer y* of every puzzle takes part in a step, in one of three ways.

`training.injection`: y* joins its group (`inject`), and the ablation's scheme weights it like any other sample. So no
group is without a right answer. `training.imitation`: y* has a loss of its own (`Imitation`). `training.target`:
`log_ratios` compares the policy's samples with y* and becomes part of their reward.

In the first two ways y* is off-policy: the policy did not write it, and nothing corrects for that.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from softmax_rewards.config.run import Training
from softmax_rewards.data.tasks import Score
from softmax_rewards.policy.decoding import Completions
from softmax_rewards.policy.objective import sample_scales
from softmax_rewards.policy.rollout import Rollouts


class Imitation:
    """The loss L_sup + λ·L_RL, for groups of N samples and then their reference answer."""

    def __init__(self, coefficient: float) -> None:
        self.coefficient = coefficient  # λ

    def sample_factors(
        self, settings: Training, rollouts: Rollouts, mask: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Like `update.sample_factors`, but for rollouts with N + 1 answers per group, and `weights[Q, N]`."""
        lengths = rollouts.lengths.ravel()
        taught = np.arange(len(lengths)) % rollouts.group_size == rollouts.group_size - 1
        # The two losses are scaled separately. L_sup is −log π(y*|x), a mean over the tokens of all reference answers.
        scales = sample_scales(lengths, mask & ~taught, settings.loss_aggregation, settings.max_new_tokens)
        weights = np.pad(weights, ((0, 0), (0, 1)))  # weight 0 for the reference answers, which have no part in L_RL
        return scales, self.coefficient * scales * weights.ravel() + (mask & taught) / lengths[taught].sum()


def inject(rollouts: Rollouts, answers: Sequence[Sequence[int]], reward: float, pad_id: int) -> Rollouts:
    """The Q groups of N samples, each with its reference answer as sample N + 1 with this `reward`.

    `answers` are token ids with the end token. Nobody sampled them, so their texts are empty, and their
    log-probabilities and entropies are 0.
    """
    sampled, groups = rollouts.completions, len(answers)
    device = sampled.tokens.device
    width = max(sampled.tokens.shape[1], *map(len, answers))

    def joined(samples: Tensor, references: Tensor) -> Tensor:
        """`samples[Q·N, …]` with `references[Q, …]` behind each group, `[Q·(N + 1), …]`."""
        return torch.cat((samples.unflatten(0, (groups, -1)), references[:, None]), dim=1).flatten(0, 1)

    tokens = torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in answers], device=device)
    padding = (0, width - sampled.tokens.shape[1])
    zeros = torch.zeros(tokens.shape, device=device)
    completions = Completions(
        tokens=joined(pad(sampled.tokens, padding, value=pad_id), tokens),
        log_probs=joined(pad(sampled.log_probs, padding), zeros),
        entropies=joined(pad(sampled.entropies, padding), zeros),
        lengths=joined(sampled.lengths, torch.tensor([len(row) for row in answers], device=device)),
        finished=joined(sampled.finished, torch.ones(groups, dtype=torch.bool, device=device)),
    )
    score = Score(reward, correct=True, formatted=True, attempts=0, self_checks=0, gave_up=False)
    texts, scores = [], []
    for start in range(0, len(rollouts.scores), rollouts.group_size):
        texts += [*rollouts.texts[start : start + rollouts.group_size], ""]
        scores += [*rollouts.scores[start : start + rollouts.group_size], score]
    return Rollouts(rollouts.prompts, rollouts.prompt_texts, completions, texts, scores, rollouts.group_size + 1)


def log_ratios(rollouts: Rollouts, answers: Sequence[Sequence[int]], smoothing: float, vocabulary: int) -> np.ndarray:
    """log p*(y|x) − log π(y|x) of every sample, `[Q, N]` in nats, where p* is the smoothed reference answer.

    With β times this value in the reward, the expected gradient is that of E[R] − β·KL(π‖p*).
    """
    target = smoothed_log_probs(rollouts, answers, smoothing, vocabulary)
    sampled = rollouts.completions.log_probs.double().sum(1).cpu().numpy()
    return target - sampled.reshape(target.shape)


def smoothed_log_probs(
    rollouts: Rollouts, answers: Sequence[Sequence[int]], smoothing: float, vocabulary: int
) -> np.ndarray:
    """log p*(y|x) of every completion, `[Q, N]` in nats, where p* is the reference answer y* smoothed token by token.

    At position t, p* gives y*_t the probability 1 − `smoothing` and shares the rest among all `vocabulary` tokens.
    After the end of y* it is uniform.
    """
    # Without smoothing every other answer would have the log-probability −∞.
    tokens, lengths = rollouts.completions.tokens, rollouts.completions.lengths
    columns = tokens.shape[1]
    rows = [[*row[:columns], *[-1] * (columns - len(row))] for row in answers]  # −1 after the end of y*
    expected = torch.tensor(rows, device=tokens.device).repeat_interleave(rollouts.group_size, 0)
    share = torch.where(expected < 0, 1.0, smoothing) / vocabulary
    # In float64, because a share of `smoothing` / `vocabulary` is tiny and its logarithms are summed over the tokens.
    chances = (share.double() + (1 - smoothing) * (tokens == expected)).log()
    inside = torch.arange(columns, device=tokens.device) < lengths[:, None]
    return chances.masked_fill(~inside, 0.0).sum(1).cpu().numpy().reshape(-1, rollouts.group_size)
