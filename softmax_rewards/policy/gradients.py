"""Gradients of a loss over many samples, summed over micro-batches that bound the memory.

The loss is a sum over tokens. Each token's factor already includes the scale of the whole step. So the result does not
depend on how samples are split into micro-batches. Each prompt is computed once for all its samples.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.prefix import SharedPrefix
from softmax_rewards.policy.micro_batches import MicroBatch, PromptChunk, Samples, micro_batches, prompt_chunks
from softmax_rewards.policy.objective import token_log_probs
from softmax_rewards.policy.optimizer import Optimizer
from softmax_rewards.policy.parallel import Workers, one_core

MicroBatchLoss = Callable[[MicroBatch, Tensor, Tensor], Tensor]
"""(micro-batch, log-probabilities, entropies) → the micro-batch's part of the loss.

Log-probabilities and entropies are `[tokens]`, one value per token of the micro-batch.
"""


@torch.no_grad()
def log_probs(model: Decoder, samples: Samples, token_budget: int, temperature: float = 1.0) -> Tensor:
    """log π_T of every token of the completions, float32 `[Q·N, T]` on the model's device; 0 after their ends.

    Prompts and completions have separate passes. Each pass has at most `token_budget` tokens, padding included. A
    prompt or completion that is longer has its own pass.
    """
    device = model.embed_tokens.weight.device
    values = torch.zeros(samples.completions.shape, device=device)
    samples = Samples(samples.prompts, samples.completions.to(device), samples.lengths)
    for chunk in prompt_chunks(samples, range(len(samples.lengths)), token_budget):
        prefix = SharedPrefix(model, chunk.prompts)
        for batch in micro_batches(chunk, samples, token_budget):
            values[batch.samples, batch.token_index] = token_log_probs(model, prefix, batch, temperature=temperature)[0]
    return values


class Gradients:
    """Computes gradients of `model` at a `temperature` for `optimizer`.

    On a CPU, `threads` micro-batches are computed in parallel.
    """

    def __init__(self, model: Decoder, optimizer: Optimizer, threads: int, temperature: float = 1.0) -> None:
        self.model, self.optimizer, self.temperature = model, optimizer, temperature
        self.workers = Workers(threads if model.embed_tokens.weight.device.type == "cpu" else 1)

    def add(
        self, samples: Samples, rows: Iterable[int], token_budget: int, loss: MicroBatchLoss, entropies: bool = False
    ) -> float:
        """Add the gradient of the loss over `rows` to the optimizer's gradients. Returns the loss of these rows.

        `token_budget` limits each pass, as in `log_probs`. `loss` gets entropies if `entropies` is true, otherwise
        zeros. After a torch.OutOfMemoryError, the optimizer's gradients contain only a part of the sum.
        """
        if self.workers.count == 1:
            return self._add(samples, rows, token_budget, loss, entropies)
        with one_core():  # each thread computes a micro-batch of its own, so it uses one core
            return self._add(samples, rows, token_budget, loss, entropies)

    def _add(
        self, samples: Samples, rows: Iterable[int], token_budget: int, loss: MicroBatchLoss, entropies: bool
    ) -> float:
        losses: list[Tensor] = []
        for chunk, batches in self.passes(samples, rows, token_budget):
            # The prefix is detached, so that each micro-batch has its own backward pass, which frees its activations.
            # The gradients of the prompts' keys and values are summed over the micro-batches. After the last one, they
            # are backpropagated through the prompts once.
            prefix = SharedPrefix(self.model, chunk.prompts).detach()

            def compute(batch: MicroBatch, prefix: SharedPrefix = prefix) -> tuple[Tensor, Sequence[Tensor]]:
                value = loss(batch, *token_log_probs(self.model, prefix, batch, entropies, self.temperature))
                if batch.spare:  # repeated only to keep in step with other ranks, see `ShardedGradients.passes`
                    value = 0.0 * value  # has no effect on the sum, but has the backward pass that other ranks wait for
                if self.workers.count == 1:
                    value.backward()
                    return value.detach(), ()
                # Two threads must not add to the same `.grad` at the same time. So each thread returns its gradients,
                # and the loop below adds them in the order of the micro-batches. A sum in another order would be
                # rounded differently.
                weights = tuple(self.optimizer.parameters.values())
                return value.detach(), torch.autograd.grad(value, (*prefix.values, *weights))

            for value, gradients in self.workers.map(compute, batches):
                losses.append(value)  # stays on the device, because `item()` would make the CPU wait for the GPU here
                if gradients:
                    prefix.add(gradients[: len(prefix.values)])
                    self.optimizer.add(gradients[len(prefix.values) :])
            prefix.backward()
        return sum(value.item() for value in losses)

    def passes(
        self, samples: Samples, rows: Iterable[int], token_budget: int
    ) -> Iterator[tuple[PromptChunk, Iterable[MicroBatch]]]:
        """The prompt chunks of `rows`, each with its micro-batches. `ShardedGradients` overrides this method."""
        for chunk in prompt_chunks(samples, rows, token_budget):
            yield chunk, micro_batches(chunk, samples, token_budget)
