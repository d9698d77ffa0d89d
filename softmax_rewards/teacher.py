"""Teacher forcing by injection: a reference answer joins every group, so that no group is without a right one.

It is weighted by the arm's scheme like any other sample, its tokens count in the loss, and it is off-policy: the
policy did not write it, and nothing corrects for that.
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import pad

from softmax_rewards.rollout import Completions, Episodes
from softmax_rewards.tasks import Score


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
