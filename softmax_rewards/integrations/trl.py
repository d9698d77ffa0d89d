"""TRL: `GRPOTrainer` with any weighting scheme instead of the z-score.

    trainer = WeightedGRPOTrainer(
        model,
        [accuracy, well_formed],
        GRPOConfig(..., reward_weights=[1.0, 0.1]),
        dataset,
        scheme=Scheme({"scheme": "softmax_centered", "tau": "auto"}, reward_range=(0.0, 1.1), threshold=1.0),
        correct="accuracy",
    )

TRL computes advantages from the rewards of all processes, and each process keeps its own part. Here the scheme turns
the same rewards into weights, which replace the advantages in the loss and in the log of completions. Generation, loss,
clipping and KL stay TRL's. TRL's z-score divides by the sample standard deviation, `linear` by that of the population.
The two differ by a factor √(N/(N−1)) that is the same for all groups, so Adam cancels it.

The groups that were trained on are kept in `<output_dir>/training_groups/` (`group_log`). A whole script is
examples/trl/countdown.py. TRL 0.29, 1.0 and later work (`pip install 'softmax-rewards[trl]'`), 0.28 and older do not.
"""

from collections import deque
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate.utils import gather_object
from trl import GRPOTrainer

from softmax_rewards.common import plugins
from softmax_rewards.integrations.group_log import GroupLog
from softmax_rewards.integrations.scheme import Scheme

# Settings of TRL's own advantages. A scheme replaces these advantages, so any other value would have no effect.
REPLACED = {"scale_rewards": "group", "multi_objective_aggregation": "sum_then_normalize"}


class WeightedGRPOTrainer(GRPOTrainer):
    """`GRPOTrainer` whose advantages are the weights of a scheme.

    scheme   the scheme and the range of the sum of the weighted rewards; a schedule of τ follows the `global_step` at
             which the answers are sampled
    correct  name or index of the reward function that decides what is right: an answer is right if this reward is at
             least `scheme.threshold`; None: the sum of the weighted rewards decides
    A reward of None counts as in TRL: as 0 if another function gave a reward. An answer without any reward is left out
    of its group and gets weight 0. Raises ValueError, one line, for a `correct` that is no reward function or has no
    threshold, and for a setting in `args` that would have no effect.
    """

    def __init__(self, *args: Any, scheme: Scheme, correct: str | int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, only in REPLACED.items():
            if getattr(self.args, name) != only:
                raise ValueError(f"{name}: {getattr(self.args, name)!r}; allowed beside a scheme: {only!r}")
        self.scheme = scheme
        self._judge = None if correct is None else self._reward_function(correct)
        self._group_log = GroupLog(Path(cast(str, self.args.output_dir)))

    def _reward_function(self, correct: str | int) -> int:
        names = self.reward_func_names
        if self.scheme.threshold is None:
            raise ValueError(f"correct: {correct!r} without a threshold; allowed: with Scheme(..., threshold=a number)")
        if isinstance(correct, str) and correct in names:
            return names.index(correct)
        if isinstance(correct, int) and correct in range(len(names)):
            return correct
        raise ValueError(plugins.unknown("reward function", correct, [*names, *map(str, range(len(names)))]))

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: list[list[int]]
    ) -> torch.Tensor:
        self._rewards_of_all = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        # The loss mask is no measure of length: it leaves out cut answers if `mask_truncated_completions` is on.
        self._lengths_of_all = gather_object([len(ids) for ids in completion_ids_list])
        return self._rewards_of_all

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        model = cast(torch.nn.Module, self.model)  # TRL has set it by now
        samples = cast(int, self.num_generations if model.training else self.num_generations_eval)
        weights = self.weigh(self._rewards_of_all, samples)
        rank, count = self.accelerator.process_index, len(inputs)
        theirs = output["advantages"]
        output["advantages"] = torch.as_tensor(weights[rank * count : (rank + 1) * count]).to(theirs)
        # TRL has just logged its own advantages, as many as fit into the log. The weights replace them.
        logged = cast("deque[float]", self._logs["advantages"])
        for _ in range(min(len(weights), len(logged))):
            logged.pop()
        logged.extend(weights.tolist())
        if model.training and self.is_world_process_zero():
            self._log_groups(samples, weights)
        return output

    def _log_groups(self, samples: int, weights: np.ndarray) -> None:
        each, total, right = self._judged(self._rewards_of_all)
        columns = dict(zip(self.reward_func_names, each.T, strict=True))
        # A reward function may have one of these names. Then its column gives way.
        columns |= {"reward": total, "correct": right.astype(int), "weight": weights}
        self._group_log.append(
            self.state.global_step, samples, columns | {"length": np.array(self._lengths_of_all, dtype=int)}
        )

    def weigh(self, rewards: torch.Tensor, samples: int) -> np.ndarray:
        """Weights [B] of the answers of all processes. Each `samples` consecutive answers belong to one prompt.

        rewards  [B, F], one column per reward function; NaN where a function gave no reward
        """
        _, total, right = self._judged(rewards)
        scored = np.flatnonzero(~np.isnan(total))
        weights = np.zeros(len(total))
        weights[scored] = self.scheme.weights(total[scored], right[scored], scored // samples, self.state.global_step)
        return weights

    def _judged(self, rewards: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rewards of each function [B, F], their weighted sum [B], NaN without any reward, and what is right [B]."""
        each = rewards.double().cpu().numpy()
        total = np.nansum(each * self.reward_weights.double().cpu().numpy(), axis=1)
        total[np.isnan(each).all(axis=1)] = np.nan
        return each, total, self.scheme.right(total if self._judge is None else each[:, self._judge])
