"""Gradients of a loss over many samples, added up in micro-batches that only bound memory.

The loss is a sum over tokens whose factors already carry the normaliser of the whole step, so it does not matter how
the samples are cut. Every prompt is read once for all its samples.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from softmax_rewards.models.decoder import Decoder
from softmax_rewards.models.prefix import Prompts
from softmax_rewards.policy.objective import Batch, Part, batches, parts, token_log_probs
from softmax_rewards.policy.optimizer import Optimiser
from softmax_rewards.policy.parallel import Workers, one_core
from softmax_rewards.policy.ranks import ALONE, Ranks

Loss = Callable[[Batch, Tensor, Tensor], Tensor]
"""A micro-batch, its tokens' log-probabilities and the entropies there, each `[tokens]` -> its part of the loss."""


@dataclass(frozen=True)
class Samples:
    """Q prompts with N completions each; row `r` is sample `r % N` of prompt `r // N`."""

    prompts: Sequence[Sequence[int]]
    completions: Tensor  # [Q·N, T] int64
    lengths: Sequence[int]  # Q·N

    @property
    def per_prompt(self) -> int:
        """N."""
        return len(self.lengths) // len(self.prompts)

    def of(self, prompts: range) -> "Samples":
        """Those of some prompts alone."""
        rows = slice(prompts.start * self.per_prompt, prompts.stop * self.per_prompt)
        return Samples(self.prompts[prompts.start : prompts.stop], self.completions[rows], self.lengths[rows])


@torch.no_grad()
def log_probs(model: Decoder, samples: Samples, token_budget: int) -> Tensor:
    """log π of every token of the completions, float32 `[Q·N, T]` on the model's device, 0 behind their ends.

    A forward pass has at most `token_budget` padded tokens, or one row.
    """
    found = torch.zeros(samples.completions.shape, device=model.embed_tokens.weight.device)
    completions = samples.completions.to(found.device)
    for part in parts(samples.prompts, samples.per_prompt, range(len(samples.lengths)), token_budget):
        prompts = Prompts(model, part.prompts)
        for batch in batches(part, completions, samples.lengths, token_budget):
            found[batch.samples, batch.columns] = token_log_probs(model, prompts, batch)[0]
    return found


class Gradients:
    """Computes gradients of `model` for `optimiser`; on a processor `threads` micro-batches at once.

    A sharded model is computed with by all `ranks` in lock-step.
    """

    def __init__(self, model: Decoder, optimiser: Optimiser, threads: int, ranks: Ranks = ALONE) -> None:
        self.model, self.optimiser, self.ranks = model, optimiser, ranks
        alone = model.embed_tokens.weight.device.type == "cpu" and not model.sharded
        self.workers = Workers(threads if alone else 1)

    def add(
        self, samples: Samples, rows: Iterable[int], token_budget: int, loss: Loss, entropies: bool = False
    ) -> float:
        """Add the gradient of the loss over this rank's `rows` to the optimiser's; returns their loss.

        A micro-batch has at most `token_budget` padded tokens, or one row. `loss` is given entropies if they are asked
        for, else zeros. Raises torch.OutOfMemoryError, part of the gradient added.
        """
        if self.workers.count == 1:
            return self._add(samples, rows, token_budget, loss, entropies)
        with one_core():
            return self._add(samples, rows, token_budget, loss, entropies)

    def _add(self, samples: Samples, rows: Iterable[int], token_budget: int, loss: Loss, entropies: bool) -> float:
        losses: list[Tensor] = []
        for part, work in self._work(samples, rows, token_budget):
            prompts = Prompts(self.model, part.prompts).cut()

            def compute(item: tuple[Batch, bool], prompts: Prompts = prompts) -> tuple[Tensor, Sequence[Tensor]]:
                batch, counts = item
                value = loss(batch, *token_log_probs(self.model, prompts, batch, entropies))
                if not counts:
                    value = 0.0 * value
                if self.workers.count == 1:
                    value.backward()
                    return value.detach(), ()
                weights = tuple(self.optimiser.parameters.values())
                return value.detach(), torch.autograd.grad(value, (*prompts.values, *weights))

            for value, found in self.workers.map(compute, work):
                losses.append(value)  # left on the device, where the next micro-batch need not wait for it
                if found:
                    prompts.add(found[: len(prompts.values)])
                    self.optimiser.add(found[len(prompts.values) :])
            prompts.backward()
        return sum(value.item() for value in losses)

    def _work(
        self, samples: Samples, rows: Iterable[int], token_budget: int
    ) -> Iterator[tuple[Part, Iterable[tuple[Batch, bool]]]]:
        """The parts of `rows` with their micro-batches, and whether each of these counts.

        All ranks get equally many of both. One that has fewer repeats a micro-batch that does not count, for layers are
        gathered, and their gradients summed, by all ranks at once.
        """

        def cut(part: Part) -> Iterator[Batch]:
            return batches(part, samples.completions, samples.lengths, token_budget)

        own = parts(samples.prompts, samples.per_prompt, rows, token_budget)
        if self.ranks.count == 1:
            for part in own:
                yield part, ((batch, True) for batch in cut(part))
            return
        made = [(part, list(cut(part))) for part in own]
        counts = self.ranks.gather([len(found) for _, found in made])
        shortest = min(range(len(samples.lengths)), key=samples.lengths.__getitem__)
        (spare,) = parts(samples.prompts, samples.per_prompt, [shortest], token_budget)
        for index, needed in enumerate(map(max, zip_longest(*counts, fillvalue=0))):
            part, found = made[index] if index < len(made) else (spare, [])
            filler = found[-1] if found else next(cut(spare))
            yield part, [(batch, True) for batch in found] + [(filler, False)] * (needed - len(found))
