"""TRL: its `GRPOTrainer` with any weighting scheme in place of the z-score.

    trainer = WeightedGRPOTrainer(
        model,
        [accuracy, well_formed],
        GRPOConfig(..., reward_weights=[1.0, 0.1]),
        dataset,
        scheme=Scheme({"scheme": "softmax_centered", "tau": "auto"}, reward_range=(0.0, 1.1), threshold=1.0),
        correct="accuracy",
    )

TRL makes advantages from the rewards of all processes and keeps its own part. Here the same rewards are weighed by
the scheme, and the weights take the place of the advantages, in the loss and in the log of completions. All else is
TRL's: generation, loss, clipping, KL. TRL's own z-score divides by the sample standard deviation, `linear` by the
population's: the two differ by a factor √(N/(N−1)), the same for all groups, which Adam cancels.

Written for TRL 1.16 (`pip install 'softmax-rewards[trl]'`).
"""

from typing import Any

import numpy as np
import torch
from trl import GRPOTrainer

from softmax_rewards.common import plugins
from softmax_rewards.integrations.scheme import Scheme

# Settings of TRL's own advantages, which a scheme replaces: another value would silently have no effect.
REPLACED = {"scale_rewards": "group", "multi_objective_aggregation": "sum_then_normalize"}


class WeightedGRPOTrainer(GRPOTrainer):
    """`GRPOTrainer` whose advantages are the weights of a scheme.

    scheme   the scheme, its hyperparameters and the range of the sum of the weighted rewards; τ follows the trainer's
             `global_step` at which the answers are sampled
    correct  name or index of the reward function whose reward, from `scheme.threshold` on, says that an answer is
             right; None: the sum of the weighted rewards says it
    A reward of None counts as TRL counts it: as 0 beside others; an answer without any gets weight 0 and is left
    out of its group. Raises ValueError in one line for a `correct` that is no reward function or has no threshold,
    and for a setting of `args` that would be without effect.
    """

    def __init__(self, *args: Any, scheme: Scheme, correct: str | int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, only in REPLACED.items():
            if getattr(self.args, name) != only:
                raise ValueError(f"{name}: {getattr(self.args, name)!r}; allowed beside a scheme: {only!r}")
        self.scheme = scheme
        self._judge = None if correct is None else self._reward_function(correct)

    def _reward_function(self, correct: str | int) -> int:
        names = self.reward_func_names
        if self.scheme.threshold is None:
            raise ValueError(f"correct: {correct!r} without a threshold; allowed: with Scheme(..., threshold=a number)")
        if correct in names:
            return names.index(correct)
        if correct in range(len(names)):
            return correct
        raise ValueError(plugins.unknown("reward function", correct, [*names, *map(str, range(len(names)))]))

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self._rewards_of_all = super()._calculate_rewards(*args, **kwargs)
        return self._rewards_of_all

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        samples = self.num_generations if self.model.training else self.num_generations_eval
        weights = self.weigh(self._rewards_of_all, samples)
        rank, count = self.accelerator.process_index, len(inputs)
        theirs = output["advantages"]
        output["advantages"] = torch.as_tensor(weights[rank * count : (rank + 1) * count]).to(theirs)
        logged = self._logs["advantages"]  # TRL has appended its own advantages, as many as fit
        for _ in range(min(len(weights), len(logged))):
            logged.pop()
        logged.extend(weights.tolist())
        return output

    def weigh(self, rewards: torch.Tensor, samples: int) -> np.ndarray:
        """Weights [B] of all processes' answers; every `samples` answers in a row belong to one prompt.

        rewards [B, F], one column per reward function; NaN where it gave none.
        """
        each = rewards.double().cpu().numpy()
        scored = np.flatnonzero(~np.isnan(each).all(axis=1))
        total = np.nansum(each * self.reward_weights.double().cpu().numpy(), axis=1)
        verdict = total if self._judge is None else each[:, self._judge]
        weights = np.zeros(len(each))
        groups = np.arange(len(each)) // samples
        weights[scored] = self.scheme.weights(
            total[scored], self.scheme.right(verdict[scored]), groups[scored], self.state.global_step
        )
        return weights
