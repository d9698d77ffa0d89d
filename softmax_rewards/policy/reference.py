"""The frozen reference of the KL penalty: what the base model says of the answers that the policy sampled.

It need not share the training GPU: its weights stay on the `device`, or on the `host`, whose memory caches the files
that they are read from for each pass, or it is a `process` of its own, on another GPU where one is free and else on the
processor.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor

from softmax_rewards.common import devices
from softmax_rewards.config.run import Training
from softmax_rewards.models import checkpoint
from softmax_rewards.policy.gradients import Samples, log_probs

Reference = Callable[[Samples, int], Tensor]
"""Samples and a token budget -> log-probabilities of their tokens, as `gradients.log_probs`."""


@contextmanager
def opened(settings: Training, base: Path, device: torch.device) -> Iterator[Reference | None]:
    """Within the block, the reference that `settings` ask for; None where there is no penalty."""
    dtype = getattr(torch, settings.precision)
    if not settings.kl:
        yield None
    elif settings.kl_reference == "process":
        with _served(base, dtype, device) as reference:
            yield reference
    else:
        stays = checkpoint.load(base, device, dtype) if settings.kl_reference == "device" else None

        def reference(samples: Samples, token_budget: int) -> Tensor:
            # Before the update, when there are neither activations nor gradients, a copy finds room.
            return log_probs(stays or checkpoint.load(base, device, dtype), samples, token_budget)

        yield reference


@contextmanager
def _served(base: Path, dtype: torch.dtype, device: torch.device) -> Iterator[Reference]:
    context = multiprocessing.get_context("spawn")
    connection, other = context.Pipe()
    wanted = "cpu" if device.type == "cpu" else "auto"
    threads = torch.get_num_threads()
    process = context.Process(target=_serve, args=(other, base, dtype, wanted, threads, devices.offered()), daemon=True)
    process.start()
    other.close()

    def reference(samples: Samples, token_budget: int) -> Tensor:
        try:
            connection.send((samples.prompts, samples.completions.cpu().numpy(), samples.lengths, token_budget))
            return torch.from_numpy(connection.recv()).to(device)
        except (EOFError, ConnectionError):
            process.join()
            raise RuntimeError(f"the process of the KL reference has ended with code {process.exitcode}") from None

    try:
        yield reference
    finally:
        connection.close()  # which ends it, as does the end of this process, however it comes
        process.join()


def _serve(
    connection: Connection, base: Path, dtype: torch.dtype, wanted: str, threads: int, offered: str | None
) -> None:
    """The process: answers until the other end is closed."""
    os.environ.pop(devices.VISIBLE, None)
    if offered is not None:
        os.environ[devices.VISIBLE] = offered
    if devices.devices() and devices.lease(wanted, wait=False) is None:
        wanted = "cpu"  # every GPU is taken, that of this process's parent, too
    torch.set_num_threads(threads)
    model = checkpoint.load(base, checkpoint.pick_device(wanted), dtype)
    while True:
        try:
            prompts, completions, lengths, token_budget = connection.recv()
        except EOFError:
            return
        found = log_probs(model, Samples(prompts, torch.from_numpy(completions), lengths), token_budget)
        connection.send(found.cpu().numpy())
