"""The engine of several processes: PyTorch's FSDP2 shards weights, gradients and AdamW moments over the ranks.

Each of k ranks holds 1/k of the float32 weights, gradients and moments. That is 16/k bytes per parameter. In a pass,
each layer is gathered in the run's precision, used, and dropped. Gradients are summed over the ranks in float32.
Sampling uses a complete copy of the policy, because it would otherwise gather every layer for every token. Each rank
must also have room for the complete float32 policy, which it holds before sharding. Sources: arXiv 1910.02054 (ZeRO),
2304.11277 (FSDP).
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
from softmax_rewards.policy.optimizer import DeviceAdamW, Optimizer
from softmax_rewards.policy.world import World


def shard(policy: Decoder, world: World, precision: torch.dtype) -> None:
    """Shard the float32 `policy` over the ranks, in place. From then on it computes in `precision`."""
    mesh = init_device_mesh(world.device.type, (world.size,))
    mixed = MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=torch.float32)
    for module in (*policy.layers, policy):
        # The objective uses the head's weight after the policy's forward pass. The root module `policy` holds this
        # weight, so it stays gathered until its backward pass. The layers do not.
        fully_shard(module, mesh=mesh, reshard_after_forward=module is not policy, mp_policy=mixed)
        assert isinstance(module, FSDPModule)
        # FSDP averages gradients by default. But each rank's loss is already scaled for the whole batch, so the
        # gradients must be summed.
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)
    policy.sharded = True  # `SharedPrefix` must know it, to start FSDP's backward pass


class ShardedEngine(Engine):
    """This rank's share of the policy. All ranks must make the same calls in the same order."""

    can_retry = False  # if one rank repeated a pass, the ranks would no longer make the same calls

    def __init__(self, policy: Decoder, settings: Training, world: World) -> None:
        self.world, self.precision = world, getattr(torch, settings.precision)
        shard(policy, world, self.precision)
        super().__init__(policy, settings)
        self.gradients = ShardedGradients(policy, self.optimizer, world, settings.temperature)

    def _optimizer(self, settings: Training) -> "ShardedAdamW":
        return ShardedAdamW(self.policy, settings.learning_rate, self.world)

    @contextmanager
    def gathered_policy(self) -> Iterator[Decoder]:
        copy = Decoder.empty(self.policy.shape, self.world.device, self.precision)
        with torch.no_grad():
            for (_, target), (_, share) in zip(copy.named_parameters(), self.policy.named_parameters(), strict=True):
                target.copy_(_full(share))  # a gathered float32 tensor is freed before the next one is gathered
        try:
            yield copy
        finally:
            copy.to("meta")  # frees the memory even if another object still refers to the copy

    def log_probs(self, samples: Samples, rows: Sequence[int], token_budget: int) -> Tensor:
        values = super().log_probs(samples, rows, token_budget)
        assert isinstance(self.policy, FSDPModule)
        # Without a backward pass FSDP keeps the root module gathered, and would not see the optimizer's next weights.
        self.policy.reshard()
        return values

    def share(self, prompts: int) -> range:
        return self.world.share(prompts)

    def sum(self, value: float) -> float:
        return self.world.sum(value)

    def sum_tensor(self, value: Tensor) -> Tensor:
        # Every rank adds in the same order, so all get the same bits.
        return sum(self.world.gather(value), start=torch.zeros_like(value))

    def union(self, names: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(name for ranks_names in self.world.gather(list(names)) for name in ranks_names))

    def state(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """As in `Engine`, but only the main rank gets the tensors. All ranks must iterate, because all must gather."""
        kinds: dict[str, Mapping[str, Tensor]] = {"policy": self.optimizer.parameters, **self.optimizer.state()}
        for kind, tensors in kinds.items():
            full = ((name, _full(value)) for name, value in tensors.items())
            yield kind, {name: value.detach().cpu() for name, value in full if self.world.is_main}


class ShardedGradients(Gradients):
    """Gradients of a sharded model. All ranks run their passes at the same time."""

    def __init__(self, model: Decoder, optimizer: Optimizer, world: World, temperature: float) -> None:
        # One thread: the passes must have the same order on all ranks.
        super().__init__(model, optimizer, threads=1, temperature=temperature)
        self.world = world

    def passes(
        self, samples: Samples, rows: Iterable[int], token_budget: int
    ) -> Iterator[tuple[PromptChunk, Iterable[MicroBatch]]]:
        """As in `Gradients`, but every rank gets the same number of chunks and of micro-batches in each chunk."""
        # FSDP needs every rank to run the same number of passes. A rank with fewer micro-batches repeats its last one
        # with loss 0. A rank with fewer chunks computes the shortest sample with loss 0. That sample is cheap.
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
    """PyTorch's AdamW on this rank's shares of a sharded policy."""

    def __init__(self, policy: Decoder, learning_rate: float, world: World) -> None:
        super().__init__(policy, learning_rate)
        self.world = world

    def gradients(self) -> dict[str, Tensor]:
        """As in `Optimizer`, but this rank's shares. Shares of small tensors may be empty, see `_set_share`."""
        return {name: _local(gradient) for name, gradient in super().gradients().items()}

    def weights(self) -> dict[str, Tensor]:
        """This rank's shares of the weights. Shares of small tensors may be empty, see `_set_share`."""
        return {name: _local(weight) for name, weight in self.parameters.items()}

    def norm(self, gradients: Mapping[str, Tensor]) -> Tensor:
        local = super().norm(gradients)  # each element lies on exactly one rank, so the squares can be summed
        return torch.tensor(self.world.sum(local.square().item()), device=local.device).sqrt()

    def set(self, name: str, value: Tensor) -> None:
        with torch.no_grad():
            self._set_share(self.parameters[name], value)

    def load(self, kind: str, name: str, value: Tensor) -> None:
        parameter = self.parameters[name]
        # The step is the same number on all ranks. It is an integer in a checkpoint of `RoundedAdamW`, and a float32
        # tensor here.
        if kind == "step":
            self._adamw.state[parameter][kind] = value.to(self.world.device, torch.float32, copy=True)
        else:
            moment = torch.zeros_like(parameter)
            self._set_share(moment, value)
            self._adamw.state[parameter][kind] = moment

    def _set_share(self, share: Tensor, value: Tensor) -> None:
        """Copy this rank's part of the complete tensor `value` into `share`."""
        # FSDP splits along the first dimension with `chunk`. If that gives fewer pieces than ranks, the last ranks have
        # empty shares.
        pieces = value.chunk(self.world.size)
        if self.world.rank < len(pieces):
            _local(share).copy_(pieces[self.world.rank])


def _full(value: Tensor) -> Tensor:
    """The complete tensor. `value` may be sharded."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _local(value: Tensor) -> Tensor:
    """This rank's share of the tensor. `value` may be sharded."""
    return value.to_local() if isinstance(value, DTensor) else value
