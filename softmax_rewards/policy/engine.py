"""The engine: a policy with its optimizer and its gradients, in one process or in several.

This module has the engine of a single process. `sharded.py` has the engine of several processes, with the same
interface, so that trainer and updater need not know which one they use.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from softmax_rewards.config.run import Training
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.prefix import SharedPrefix
from softmax_rewards.policy import optimizer
from softmax_rewards.policy.gradients import Gradients
from softmax_rewards.policy.micro_batches import Samples
from softmax_rewards.policy.objective import token_log_probs


class Engine:
    """The whole policy in this process."""

    can_retry = True  # whether an update that ran out of memory may be repeated in smaller micro-batches

    def __init__(self, policy: Decoder, settings: Training) -> None:
        self.policy = policy
        self.optimizer = self._optimizer(settings)
        self.gradients = Gradients(policy, self.optimizer, settings.threads, settings.temperature)

    def _optimizer(self, settings: Training) -> optimizer.Optimizer:
        return optimizer.build(self.policy, settings.learning_rate, settings.optimizer_state, settings.rounding)

    def gathered_policy(self) -> AbstractContextManager[Decoder]:
        """Within the block, the whole policy as a model in this process, for sampling and for saving."""
        return nullcontext(self.policy)

    def own_rows(self, samples: Samples, rows: np.ndarray) -> np.ndarray:
        """Those of a step's `rows` that this process computes."""
        return rows[np.isin(rows // samples.per_prompt, self.share(len(samples.prompts)))]

    @torch.no_grad()
    def log_probs(self, samples: Samples, rows: Sequence[int], token_budget: int) -> Tensor:
        """log π of every token of `rows`, in the passes of an update without gradients, float32 `[Q·N, T]`.

        It is 0 after the ends, and it may be 0 in other rows.
        """
        values = torch.zeros(samples.completions.shape, device=samples.completions.device)
        for chunk, batches in self.gradients.passes(samples, rows, token_budget):
            prefix = SharedPrefix(self.policy, chunk.prompts)
            for batch in batches:
                values[batch.samples, batch.token_index] = token_log_probs(
                    self.policy, prefix, batch, temperature=self.gradients.temperature
                )[0]
        return values

    def share(self, prompts: int) -> range:
        """The range of a step's `prompts` that this process computes."""
        return range(prompts)

    def sum(self, value: float) -> float:
        """The sum of `value` over all processes."""
        return value

    def sum_tensor(self, value: Tensor) -> Tensor:
        """The sum of `value`, a tensor on the host, over all processes."""
        return value

    def union(self, names: Sequence[str]) -> list[str]:
        """The `names` of all processes, each once."""
        return list(names)

    def state(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Weights and optimizer state on the host: (kind of tensor, parameter's name → tensor), kind after kind."""
        # One kind at a time, so that the host need not hold all of them.
        kinds: dict[str, Mapping[str, Tensor]] = {"policy": self.optimizer.parameters, **self.optimizer.state()}
        for kind, tensors in kinds.items():
            yield kind, {name: value.detach().cpu() for name, value in tensors.items()}

    def load(self, kind: str, name: str, value: Tensor) -> None:
        """Set one tensor of `state`: the parameter `name`'s tensor of this `kind`."""
        if kind == "policy":
            self.optimizer.set(name, value)
        else:
            self.optimizer.load(kind, name, value)
