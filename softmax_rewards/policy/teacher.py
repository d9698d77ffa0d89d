"""Teacher forcing: a reference answer y* of every puzzle, and the ways in which it takes part in a step.

`inject` lets it join its group, so that no group is without a right answer: weighted by the arm's scheme like any
other sample (`training.injection`), or with a loss of its own (`training.imitation`). It is off-policy: the policy did
not write it, and nothing corrects for that. `log_ratios` only judge what the policy wrote (`training.target`).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import pad

from softmax_rewards.data.tasks import Score
from softmax_rewards.policy.rollout import Completions, Episodes


def inject(episodes: Episodes, references: Sequence[Sequence[int]], reward: float, pad_id: int) -> Episodes:
    """The Q groups of N samples with a reference each, as token ids with its end token, as sample N + 1 of `reward`.

    Texts, log-probabilities and entropies of the references are empty and 0: nobody sampled them.
    """
    drawn, groups = episodes.completions, len(references)
    device = drawn.tokens.device
    width = max(drawn.tokens.shape[1], *map(len, references))

    def joined(samples: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """`samples[Q·N, …]` with `own[Q, …]` behind each group, `[Q·(N + 1), …]`."""
        return torch.cat((samples.unflatten(0, (groups, -1)), own[:, None]), dim=1).flatten(0, 1)

    rows = torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in references], device=device)
    space = (0, width - drawn.tokens.shape[1])
    nothing = torch.zeros(rows.shape, device=device)
    completions = Completions(
        tokens=joined(pad(drawn.tokens, space, value=pad_id), rows),
        log_probs=joined(pad(drawn.log_probs, space), nothing),
        entropies=joined(pad(drawn.entropies, space), nothing),
        lengths=joined(drawn.lengths, torch.tensor([len(row) for row in references], device=device)),
        finished=joined(drawn.finished, torch.ones(groups, dtype=torch.bool, device=device)),
    )
    teacher = Score(reward, correct=True, formatted=True, attempts=0, self_checks=0, gave_up=False)
    texts, scores = [], []
    for start in range(0, len(episodes.scores), episodes.samples):
        texts += [*episodes.texts[start : start + episodes.samples], ""]
        scores += [*episodes.scores[start : start + episodes.samples], teacher]
    return Episodes(episodes.prompts, episodes.prompt_texts, completions, texts, scores, episodes.samples + 1)


def log_ratios(
    episodes: Episodes, references: Sequence[Sequence[int]], smoothing: float, vocabulary: int
) -> np.ndarray:
    """log p*(y|x) − log π(y|x) of every sample, `[Q, N]` in nats, p* the smoothed reference answer.

    As part of the reward, factor β, it makes the expected gradient that of E[R] − β·KL(π‖p*).
    """
    target = smoothed_log_probs(episodes, references, smoothing, vocabulary)
    own = episodes.completions.log_probs.double().sum(1).cpu().numpy()
    return target - own.reshape(target.shape)


def smoothed_log_probs(
    episodes: Episodes, references: Sequence[Sequence[int]], smoothing: float, vocabulary: int
) -> np.ndarray:
    """log p*(y|x) of every completion, `[Q, N]` in nats, p* being the reference y* smoothed token by token.

    At position t p* has y*_t with probability 1 − `smoothing`, and shares the rest among all `vocabulary` tokens;
    behind the end of y* it is uniform. Without smoothing every other answer would have log 0.
    """
    tokens, lengths = episodes.completions.tokens, episodes.completions.lengths
    columns = tokens.shape[1]
    rows = [[*row[:columns], *[-1] * (columns - len(row))] for row in references]
    wanted = torch.tensor(rows, device=tokens.device).repeat_interleave(episodes.samples, 0)
    share = torch.where(wanted < 0, 1.0, smoothing) / vocabulary
    chances = (share.double() + (1 - smoothing) * (tokens == wanted)).log()
    inside = torch.arange(columns, device=tokens.device) < lengths[:, None]
    return chances.masked_fill(~inside, 0.0).sum(1).cpu().numpy().reshape(-1, episodes.samples)
