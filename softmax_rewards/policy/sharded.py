"""The engine of several processes: weights, gradients and AdamW moments shared out by PyTorch's FSDP2.

A rank holds 1/k of the float32 weights (16 bytes a parameter in all, with gradient and moments). For a pass each layer
is gathered in the run's precision, computed with, and dropped; gradients are summed in float32 over the ranks.
Sampling would gather every layer for every token, so it gets a whole copy of the policy for as long as it takes. Before
the policy is shared out, every rank holds all of it in float32. See arXiv 1910.02054 (ZeRO), 2304.11277 (FSDP).
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from softmax_rewards.config.run import Training
from softmax_rewards.models.decoder import Decoder
from softmax_rewards.policy.engine import Engine
from softmax_rewards.policy.gradients import Gradients
from softmax_rewards.policy.micro_batches import MicroBatch, PromptChunk, Samples, micro_batches, prompt_chunks
from softmax_rewards.policy.optimizer import DeviceAdamW
from softmax_rewards.policy.world import World


def build(policy: Decoder, settings: Training, world: World) -> Engine:
    """The engine for `policy`, which must be in float32 if the world has several ranks."""
    return Engine(policy, settings) if world.size == 1 else ShardedEngine(policy, settings, world)


def shard(policy: Decoder, world: World, precision: torch.dtype) -> None:
    """Leave this rank its share of the float32 `policy`, from now on computed with in `precision`."""
    mesh = init_device_mesh(world.device.type, (world.size,))
    mixed = MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=torch.float32)
    for module in (*policy.layers, policy):
        # Embedding and head, of the policy itself, are whole until its backward pass: the objective uses them outside.
        fully_shard(module, mesh=mesh, reshard_after_forward=module is not policy, mp_policy=mixed)
        assert isinstance(module, FSDPModule)
        module.set_gradient_divide_factor(1.0)  # the loss is a sum over all ranks' tokens, already scaled
        module.set_force_sum_reduction_for_comms(True)
    policy.sharded = True


class ShardedEngine(Engine):
    """This rank's share of the policy. All ranks must make the same calls."""

    can_retry = False  # a rank cannot go back while the others go on

    def __init__(self, policy: Decoder, settings: Training, world: World) -> None:
        self.world, self.precision = world, getattr(torch, settings.precision)
        shard(policy, world, self.precision)
        super().__init__(policy, settings)
        self.gradients = ShardedGradients(policy, self.optimizer, world)

    def _optimizer(self, settings: Training) -> "ShardedAdamW":
        return ShardedAdamW(self.policy, settings.learning_rate, self.world)

    @contextmanager
    def gathered_policy(self) -> Iterator[Decoder]:
        copy = Decoder.empty(self.policy.shape, self.world.device, self.precision)
        with torch.no_grad():
            for (_, target), (_, share) in zip(copy.named_parameters(), self.policy.named_parameters(), strict=True):
                target.copy_(share.full_tensor())
        try:
            yield copy
        finally:
            copy.to("meta")  # whoever still holds the copy, its memory is free

    def share(self, prompts: int) -> range:
        return self.world.share(prompts)

    def sum(self, value: float) -> float:
        return self.world.sum(value)

    def sum_tensor(self, value: Tensor) -> Tensor:
        return sum(self.world.gather(value))

    def union(self, names: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(name for ranks_names in self.world.gather(list(names)) for name in ranks_names))

    def state(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """As in `Engine`. Every rank gives its shares; the tensors come together on the main rank alone."""
        for kind, tensors in {"policy": self.optimizer.parameters, **self.optimizer.state()}.items():
            full = ((name, _full(value)) for name, value in tensors.items())
            yield kind, {name: value.detach().cpu() for name, value in full if self.world.is_main}


class ShardedGradients(Gradients):
    """Gradients of a sharded model, with which all ranks compute in lock-step."""

    def __init__(self, model: Decoder, optimizer: "ShardedAdamW", world: World) -> None:
        super().__init__(model, optimizer, threads=1)
        self.world = world

    def passes(
        self, samples: Samples, rows: Iterable[int], token_budget: int
    ) -> Iterator[tuple[PromptChunk, Iterable[MicroBatch]]]:
        """As in `Gradients`, and as many of both on every rank.

        FSDP needs every rank to run the same number of passes. A rank with fewer micro-batches repeats its last one as
        a spare one, with loss 0.
        """
        chunks = [
            (chunk, list(micro_batches(chunk, samples, token_budget)))
            for chunk in prompt_chunks(samples, rows, token_budget)
        ]
        counts = self.world.gather([len(batches) for _, batches in chunks])
        shortest = min(range(len(samples.lengths)), key=samples.lengths.__getitem__)
        (spare_chunk,) = prompt_chunks(samples, [shortest], token_budget)
        for index, needed in enumerate(map(max, zip_longest(*counts, fillvalue=0))):
            chunk, batches = chunks[index] if index < len(chunks) else (spare_chunk, [])
            last = batches[-1] if batches else next(micro_batches(spare_chunk, samples, token_budget))
            yield chunk, batches + [dataclasses.replace(last, spare=True)] * (needed - len(batches))


class ShardedAdamW(DeviceAdamW):
    """PyTorch's AdamW on this rank's shares of a policy that `shard` has shared out."""

    def __init__(self, policy: Decoder, learning_rate: float, world: World) -> None:
        super().__init__(policy, learning_rate)
        self.world = world

    def gradients(self) -> dict[str, Tensor]:
        """This rank's shares of the sums so far; some may be empty."""
        return {name: gradient.to_local() for name, gradient in super().gradients().items()}

    def weights(self) -> dict[str, Tensor]:
        """This rank's shares of them; some may be empty."""
        return {name: weight.to_local() for name, weight in self.parameters.items()}

    def norm(self, gradients: Mapping[str, Tensor]) -> Tensor:
        local = super().norm(gradients)
        return torch.tensor(self.world.sum(local.square().item()), device=local.device).sqrt()

    def set(self, name: str, value: Tensor) -> None:
        with torch.no_grad():
            self._set_share(self.parameters[name], value)

    def load(self, kind: str, name: str, value: Tensor) -> None:
        parameter = self.parameters[name]
        if kind == "step":  # an integer in `StochasticAdamW`
            self._adamw.state[parameter][kind] = value.to(self.world.device, torch.float32, copy=True)
        else:
            moment = torch.zeros_like(parameter)
            self._set_share(moment, value)
            self._adamw.state[parameter][kind] = moment

    def _set_share(self, share: Tensor, value: Tensor) -> None:
        """Set this rank's `share` of the whole `value`."""
        # As FSDP cuts it: along the first dimension, and the last ranks may get nothing.
        pieces = value.chunk(self.world.size)
        if self.world.rank < len(pieces):
            share.to_local().copy_(pieces[self.world.rank])


def _full(value: Tensor) -> Tensor:
    """A tensor that may be shared out, whole."""
    return value.full_tensor() if isinstance(value, DTensor) else value
