"""Score sums: gradients of log-likelihoods, summed over many sets of answers in one backward pass.

A score is the gradient of an answer's log-likelihood. The gradient of any weighted loss is a sum of weight times score,
so the sums over answers of equal weight are enough to know it for every choice of weights.

Autograd adds the scores of all answers. But each layer's part of a score follows from two things that one pass already
has: the layer's input a_t and the gradient δ_t of its output, at each token t. It is Σ_t δ_t a_tᵀ for a linear layer.
Source: I. Goodfellow, "Efficient per-example gradient computations" (arXiv 1510.01799).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from softmax_rewards.models.decoder import Decoder, RMSNorm
from softmax_rewards.policy.micro_batches import Samples

LENGTHS = 16
"""Answers are sorted by length in steps of this many tokens."""


def score_sums(
    model: Decoder,
    samples: Samples,
    scales: np.ndarray,
    sets: np.ndarray,
    token_budget: int,
    temperature: float = 1.0,
) -> Tensor:
    """Σ_i s_i ∇ log π_T(y_i) over the answers i of each set, float32 `[sets, parameters]` on the model's device.

    `sets[Q·N]` has the number of each answer's set, from 0. `scales[Q·N]` are the s_i, as in `objective`. Parameters
    are flat, in the order of `model.parameters()`. Each pass has at most `token_budget` tokens with prompts and
    padding, or one answer. Memory grows with sets times parameters.
    """
    recorder = _Recorder(model, int(sets.max()) + 1)
    # Answers of similar length go together, so that there is little padding. Among them, those of a set stand side by
    # side, so that each set is a slice of the pass.
    order = np.lexsort((sets, np.array(samples.lengths) // LENGTHS))
    with recorder.recording():
        for rows in _passes(samples, order, token_budget):
            recorder.add(samples, rows, sets[rows], scales[rows], temperature)
    return recorder.sums


def _passes(samples: Samples, order: np.ndarray, token_budget: int) -> Iterator[np.ndarray]:
    """`order` in parts of at most `token_budget` tokens with padding, or of one answer."""
    lengths = [samples.lengths[row] + len(samples.prompts[row // samples.per_prompt]) for row in order]
    start = longest = 0
    for end, length in enumerate(lengths):
        longest = max(longest, length)
        if end > start and longest * (end + 1 - start) > token_budget:
            yield order[start:end]
            start, longest = end, length
    yield order[start:]


class _Recorder:
    """Forms the sums while a backward pass goes through the model's layers."""

    def __init__(self, model: Decoder, count: int) -> None:
        self.model = model
        self._slices: dict[nn.Parameter, slice] = {}
        start = 0
        for parameter in model.parameters():  # a head that is tied to the embedding comes once, so both add to it
            self._slices[parameter] = slice(start, start + parameter.numel())
            start += parameter.numel()
        self.sums = torch.zeros(count, start, device=model.embed_tokens.weight.device)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Within the block, passes of the model add to the sums, and autograd computes no gradients of weights."""
        parameters = list(self.model.parameters())
        known = {parameter for module in self._layers() for parameter in module.parameters(recurse=False)}
        assert known == set(parameters)  # a layer of another kind would be left out silently
        wanted = [parameter.requires_grad for parameter in parameters]
        hooks = [module.register_forward_hook(self._after) for module in self._layers()]
        self.model.requires_grad_(False)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for parameter, value in zip(parameters, wanted, strict=True):
                parameter.requires_grad_(value)

    def add(self, samples: Samples, rows: np.ndarray, sets: np.ndarray, scales: np.ndarray, temperature: float) -> None:
        """Add the answers `rows`. Those of one of the `sets` should stand side by side."""
        device, values = self.sums.device, samples.completions.cpu()
        prompts = [samples.prompts[row // samples.per_prompt] for row in rows]
        ends = [len(prompt) + samples.lengths[row] for prompt, row in zip(prompts, rows, strict=True)]
        # Padding is on the right, where attention is causal, so that no token sees it.
        ids, factors = torch.zeros(len(rows), max(ends), dtype=torch.int64), torch.zeros(len(rows), max(ends) - 1)
        for index, (row, prompt, end, scale) in enumerate(zip(rows, prompts, ends, scales, strict=True)):
            ids[index, :end] = torch.tensor([*prompt, *values[row, : samples.lengths[row]].tolist()])
            factors[index, len(prompt) - 1 : end - 1] = scale
        self._sets = torch.from_numpy(sets).to(device)
        self._runs = [
            (key, slice(run[0], run[-1] + 1))
            for key, members in groupby(range(len(sets)), key=lambda index: int(sets[index]))
            if (run := list(members))
        ]
        ids, factors = ids.to(device), factors.to(device)
        logits = self.model.lm_head(self.model(ids[:, :-1])).float() / temperature
        log_probs = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        # Only the embedded tokens need a gradient of their own. On its way to them, autograd passes every layer.
        (gradient,) = torch.autograd.grad((factors * log_probs).sum(), self._embedded)
        self._add_embedding(self.model.embed_tokens.weight, ids[:, :-1], gradient)

    def _layers(self) -> list[nn.Module]:
        return [module for module in self.model.modules() if isinstance(module, (nn.Linear, RMSNorm, nn.Embedding))]

    def _after(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor | None:
        """Called with the output of each layer in the forward pass."""
        if isinstance(module, nn.Embedding):
            self._embedded = output.requires_grad_()
            return output
        add: Any = self._add_linear if isinstance(module, nn.Linear) else self._add_norm
        output.register_hook(lambda gradient: add(module, inputs[0].detach(), gradient))
        return None

    def _sums_of(self, parameter: Tensor) -> Tensor:
        """The part of the sums that belongs to a parameter, `[sets, elements]`."""
        return self.sums[:, self._slices[parameter]]  # type: ignore[index]

    def _add_linear(self, layer: nn.Linear, x: Tensor, gradient: Tensor) -> None:
        sums = self._sums_of(layer.weight)
        for key, rows in self._runs:
            delta, inputs = gradient[rows].flatten(0, 1).float(), x[rows].flatten(0, 1).float()
            sums[key].view_as(layer.weight).addmm_(delta.T, inputs)
        if layer.bias is not None:
            self._sums_of(layer.bias).index_add_(0, self._sets, gradient.float().sum(1))

    def _add_norm(self, layer: RMSNorm, x: Tensor, gradient: Tensor) -> None:
        wide = x.float()
        part = gradient.float() * wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + layer.eps)
        # Heads, if the norm is one of queries or keys, and tokens are summed.
        self._sums_of(layer.weight).index_add_(0, self._sets, part.flatten(1, -2).sum(1))

    def _add_embedding(self, weight: nn.Parameter, ids: Tensor, gradient: Tensor) -> None:
        sums = self._sums_of(weight)
        for key, rows in self._runs:
            sums[key].view_as(weight).index_add_(0, ids[rows].flatten(), gradient[rows].flatten(0, 1).float())
