"""Gradients of a loss over many samples, summed over micro-batches that bound the memory.

The loss is a sum over tokens. Their factors already include the scale of the whole step, so the result does not depend
on how samples are split into micro-batches. Each prompt is computed once for all its samples.
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
"""(micro-batch, log-probabilities of its tokens, entropies there) → its part of the loss. Tensors are `[tokens]`."""


@torch.no_grad()
def log_probs(model: Decoder, samples: Samples, token_budget: int) -> Tensor:
    """log π of every token of the completions, float32 `[Q·N, T]` on the model's device; 0 after their ends.

    A forward pass has at most `token_budget` tokens with padding, or one row.
    """
    device = model.embed_tokens.weight.device
    values = torch.zeros(samples.completions.shape, device=device)
    samples = Samples(samples.prompts, samples.completions.to(device), samples.lengths)
    for chunk in prompt_chunks(samples, range(len(samples.lengths)), token_budget):
        prefix = SharedPrefix(model, chunk.prompts)
        for batch in micro_batches(chunk, samples, token_budget):
            values[batch.samples, batch.token_index] = token_log_probs(model, prefix, batch)[0]
    return values


class Gradients:
    """Computes gradients of `model` for `optimizer`. On a CPU, `threads` micro-batches are computed at once."""

    def __init__(self, model: Decoder, optimizer: Optimizer, threads: int) -> None:
        self.model, self.optimizer = model, optimizer
        self.workers = Workers(threads if model.embed_tokens.weight.device.type == "cpu" else 1)

    def add(
        self, samples: Samples, rows: Iterable[int], token_budget: int, loss: MicroBatchLoss, entropies: bool = False
    ) -> float:
        """Add the gradient of the loss over `rows` to the optimizer's gradients. Returns the loss of these rows.

        A micro-batch has at most `token_budget` tokens with padding, or one row. `loss` gets entropies if `entropies`
        is true, otherwise zeros. Raises torch.OutOfMemoryError; then a part of the gradient has been added.
        """
        if self.workers.count == 1:
            return self._add(samples, rows, token_budget, loss, entropies)
        with one_core():
            return self._add(samples, rows, token_budget, loss, entropies)

    def _add(
        self, samples: Samples, rows: Iterable[int], token_budget: int, loss: MicroBatchLoss, entropies: bool
    ) -> float:
        losses: list[Tensor] = []
        for chunk, batches in self.passes(samples, rows, token_budget):
            # Detached: each micro-batch is backpropagated at once, and its activations are freed. The gradients of the
            # prompts' keys and values are summed over the micro-batches, and go through the prompts once at the end.
            prefix = SharedPrefix(self.model, chunk.prompts).detach()

            def compute(batch: MicroBatch, prefix: SharedPrefix = prefix) -> tuple[Tensor, Sequence[Tensor]]:
                value = loss(batch, *token_log_probs(self.model, prefix, batch, entropies))
                if batch.spare:
                    value = 0.0 * value  # still a backward pass, which the other ranks wait for
                if self.workers.count == 1:
                    value.backward()
                    return value.detach(), ()
                # Threads must not add to the same `.grad` at once. So each returns its gradients, and the loop below
                # adds them in the order of the micro-batches: then the sum does not depend on which thread is faster.
                weights = tuple(self.optimizer.parameters.values())
                return value.detach(), torch.autograd.grad(value, (*prefix.values, *weights))

            for value, gradients in self.workers.map(compute, batches):
                losses.append(value)  # stays on the device: `item()` here would make the CPU wait for the GPU
                if gradients:
                    prefix.add(gradients[: len(prefix.values)])
                    self.optimizer.add(gradients[len(prefix.values) :])
            prefix.backward()
        return sum(value.item() for value in losses)

    def passes(
        self, samples: Samples, rows: Iterable[int], token_budget: int
    ) -> Iterator[tuple[PromptChunk, Iterable[MicroBatch]]]:
        """The prompt chunks of `rows`, each with its micro-batches."""
        for chunk in prompt_chunks(samples, rows, token_budget):
            yield chunk, micro_batches(chunk, samples, token_budget)
