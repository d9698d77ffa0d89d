"""Sampling: prompts -> completions, as many rows at once as memory allows.

A token is drawn by inverting its distribution function at one uniform number, which belongs to its row and position.
So a row's completion depends neither on the other rows nor on how many are decoded at once, and ablations that share a
random stream share their noise.
"""

from collections.abc import Callable, Sequence

import torch

from softmax_rewards.common.randomness import torch_stream
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.policy import decoding
from softmax_rewards.policy.decoding import Completions, joined
from softmax_rewards.policy.limits import Limits
from softmax_rewards.policy.parallel import Workers, one_core

Stream = tuple[int | str, ...]
"""The name of a random stream, see `common/randomness.py`."""

LARGE = 2**23
"""Parameters from which each core of a processor decodes rows of its own. The threads of a smaller model would wait
for Python's lock more than they compute."""


def sample(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    group_size: int,
    max_new_tokens: int,
    eos_ids: Sequence[int],
    pad_id: int,
    limits: Limits,
    stream: Stream | None,
    share: range | None = None,
) -> Completions:
    """Draw `group_size` completions of every prompt at temperature 1; `stream=None` decodes greedily.

    With a `share` only those of some prompts, the same as among those of all. At most `limits.rollout_batch_size`
    sequences (and at least one prompt's) are decoded at once, half as many after running out of memory.
    """
    noise = None
    if stream is not None:
        # Drawn on the processor for every device, in float64: a probability below 2^-24 is a probability, too.
        size = (len(prompts), group_size, max_new_tokens)
        noise = torch.rand(size, dtype=torch.float64, generator=torch_stream(*stream))

    def decode(chosen: slice) -> Completions:
        uniform = None if noise is None else noise[chosen].flatten(0, 1)
        return decoding.decode(model, prompts[chosen], group_size, max_new_tokens, eos_ids, pad_id, uniform)

    # Rows of a large model on a processor are decoded in as many parts at once as PyTorch has threads.
    apart = model.shape.parameters >= LARGE and model.embed_tokens.weight.device.type == "cpu"
    cores = torch.get_num_threads() if apart else 1
    share = range(len(prompts)) if share is None else share
    start, parts = share.start, []
    while start < share.stop:
        chunk = range(start, min(start + max(limits.rollout_batch_size // group_size, 1), share.stop))
        part = None
        try:
            part = _by_cores(decode, chunk, cores)
        except torch.OutOfMemoryError:
            if len(chunk) == 1:
                raise
        if part is None:  # outside of `except`, whose traceback keeps the tensors alive
            limits.lower("rollout_batch_size", len(chunk) // 2 * group_size)
            continue
        parts.append(part)
        start = chunk.stop
    return joined(parts)


def _by_cores(decode: Callable[[slice], Completions], chunk: range, cores: int) -> Completions:
    """`decode` of the prompts `chunk`, an equal share on each core if there is a prompt for each."""
    if not 1 < cores <= len(chunk):
        return decode(slice(chunk.start, chunk.stop))
    size = -(-len(chunk) // cores)
    shares = [slice(start, min(start + size, chunk.stop)) for start in range(chunk.start, chunk.stop, size)]
    with one_core():
        return joined(list(Workers(cores).map(decode, shares)))
