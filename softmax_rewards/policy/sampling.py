"""Sampling: prompts → completions, with as many rows at once as memory allows.

Each row and position has one uniform random number. The token is drawn by inverting the distribution function at this
number. So a completion depends neither on other rows nor on how many rows are decoded at once. Ablations with the same
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
from softmax_rewards.policy.sampling_params import PLAIN, SamplingParams

Stream = tuple[int | str, ...]
"""The name of a random stream (see `common/randomness.py`)."""

LARGE = 2**23
"""From this number of parameters on, each CPU core decodes its own rows. With a smaller model, threads would wait for
Python's lock longer than they compute."""


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
    params: SamplingParams = PLAIN,
    share: range | None = None,
) -> Completions:
    """Draw `group_size` completions of every prompt with `params`. `stream=None` decodes greedily.

    With a `share`, only the prompts in this range are decoded; their completions are the same as without it. At most
    `limits.rollout_batch_size` sequences are decoded at once, but at least those of one prompt. Running out of memory
    halves the limit.
    """
    noise = None
    if stream is not None:
        # Drawn on the CPU for every device, so that a GPU has the same noise. In float64, because a float32 number has
        # steps of 2^-24, too coarse for tokens with a lower probability. Drawn for all prompts even if there is a
        # `share`, so that each row keeps its noise, whichever rank decodes it.
        size = (len(prompts), group_size, max_new_tokens)
        noise = torch.rand(size, dtype=torch.float64, generator=torch_stream(*stream))

    def decode(chosen: slice) -> Completions:
        uniform = None if noise is None else noise[chosen].flatten(0, 1)
        return decoding.decode(model, prompts[chosen], group_size, max_new_tokens, eos_ids, pad_id, uniform, params)

    # On a CPU, rows of a large model are decoded in as many parts at once as PyTorch has threads.
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
        if part is None:  # not within `except`: there the error's traceback would keep the tensors in memory
            limits.lower("rollout_batch_size", len(chunk) // 2 * group_size)
            continue
        parts.append(part)
        start = chunk.stop
    return joined(parts)


def _by_cores(decode: Callable[[slice], Completions], chunk: range, cores: int) -> Completions:
    """`decode` of the prompts `chunk`. If there are enough prompts, each core gets an equal share."""
    if not 1 < cores <= len(chunk):
        return decode(slice(chunk.start, chunk.stop))
    size = -(-len(chunk) // cores)
    shares = [slice(start, min(start + size, chunk.stop)) for start in range(chunk.start, chunk.stop, size)]
    with one_core():
        return joined(list(Workers(cores).map(decode, shares)))
