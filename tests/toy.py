"""A policy small enough to enumerate: three tokens, at most two of them generated."""

import itertools
from collections.abc import Iterable, Iterator

import torch

from softmax_rewards.config.run import Training
from softmax_rewards.models.decoder import Decoder, Shape
from softmax_rewards.models.prefix import SharedPrefix
from softmax_rewards.policy.engine import Engine
from softmax_rewards.policy.kl import Reference
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.micro_batches import MicroBatch, Samples, micro_batches, prompt_chunks
from softmax_rewards.policy.objective import token_log_probs
from softmax_rewards.policy.update import Updater

END, TOKENS, LONGEST = 0, 3, 2
PROMPT = [1, 2]


def decoder(seed: int = 0, vocabulary: int = TOKENS) -> Decoder:
    shape = Shape(
        vocab_size=vocabulary,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=4,
        rope_theta=10_000.0,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        qkv_bias=True,
    )
    return Decoder(shape).initialize(torch.Generator().manual_seed(seed), std=0.7)


def completions() -> list[tuple[int, ...]]:
    """Every completion the toy can generate."""
    return [
        (*head, last)
        for length in range(1, LONGEST + 1)
        for *head, last in itertools.product(range(TOKENS), repeat=length)
        if END not in head and (last == END or length == LONGEST)
    ]


def batched(
    model: Decoder, prompts: list[list[int]], tokens: torch.Tensor, lengths: list[int], keep: Iterable[int], budget: int
) -> Iterator[tuple[SharedPrefix, MicroBatch]]:
    """The micro-batches of the rows `keep`, each with its prompts as `model` reads them."""
    samples = Samples(prompts, tokens, lengths)
    for chunk in prompt_chunks(samples, keep, budget):
        prefix = SharedPrefix(model, chunk.prompts)
        for batch in micro_batches(chunk, samples, budget):
            yield prefix, batch


def updater(settings: Training, policy: Decoder, reference: Reference | None = None) -> Updater:
    """An updater of a policy in this process."""
    return Updater.of(settings, 0, Engine(policy, settings), Limits.of(settings), reference)


def log_probs(model: Decoder, prompt: list[int] = PROMPT) -> torch.Tensor:
    """log π of every completion, `[completions]`, differentiable, through the project's own training pass."""
    rows = completions()
    padded = torch.tensor([list(row) + [END] * (LONGEST - len(row)) for row in rows])
    ((read, batch),) = batched(model, [prompt], padded, [len(row) for row in rows], range(len(rows)), 10**6)
    values, _ = token_log_probs(model, read, batch)
    return torch.zeros(len(rows)).index_add(0, batch.samples, values)


def gradients(model: Decoder) -> torch.Tensor:
    """∇ log π of every completion, `[completions, parameters]`."""
    values = log_probs(model)
    parameters = list(model.parameters())
    rows = []
    for value in values:
        parts = torch.autograd.grad(value, parameters, retain_graph=True)
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows).double()
