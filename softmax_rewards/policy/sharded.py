"""A policy whose weights, gradients and AdamW moments are shared out among ranks: PyTorch's FSDP2.

A rank holds 1/k of the float32 weights (16 bytes a parameter in all, with gradient and moments). For a pass each layer
is gathered in the run's precision, computed with, and dropped; gradients are summed in float32 over the ranks as they
come. Sampling would gather every layer for every token: it has a whole copy of the policy instead, for as long as it
takes. Before it is shared out, every rank holds all of it in float32. See arXiv 1910.02054 (ZeRO), 2304.11277 (FSDP).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from softmax_rewards.models.decoder import Decoder
from softmax_rewards.policy.optimizer import DeviceAdamW
from softmax_rewards.policy.ranks import Ranks


def shard(policy: Decoder, ranks: Ranks, precision: torch.dtype) -> None:
    """Leave this rank its share of the float32 `policy`, from now on computed with in `precision`."""
    mesh = init_device_mesh(ranks.device.type, (ranks.count,))
    mixed = MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=torch.float32)
    for module in (*policy.layers, policy):
        # Embedding and head, of the policy itself, are whole until its backward pass: the objective uses them outside.
        fully_shard(module, mesh=mesh, reshard_after_forward=module is not policy, mp_policy=mixed)
        assert isinstance(module, FSDPModule)
        module.set_gradient_divide_factor(1.0)  # the loss is a sum over all ranks' tokens, already normalised
        module.set_force_sum_reduction_for_comms(True)
    policy.sharded = True


@contextmanager
def whole(policy: Decoder, ranks: Ranks, precision: torch.dtype) -> Iterator[Decoder]:
    """Within the block, a copy of the sharded `policy` in `precision` that runs by itself; gone afterwards."""
    copy = Decoder.empty(policy.shape, ranks.device, precision)
    with torch.no_grad():
        for (_, target), (_, share) in zip(copy.named_parameters(), policy.named_parameters(), strict=True):
            target.copy_(share.full_tensor())
    try:
        yield copy
    finally:
        copy.to("meta")  # whoever still holds it, its memory is free


class ShardedAdamW(DeviceAdamW):
    """PyTorch's AdamW on this rank's shares of a policy that `shard` has shared out."""

    def __init__(self, policy: Decoder, learning_rate: float, ranks: Ranks) -> None:
        super().__init__(policy, learning_rate)
        self.ranks = ranks

    def gradients(self) -> dict[str, Tensor]:
        """This rank's shares of the sums so far; some may be empty."""
        return {name: gradient.to_local() for name, gradient in super().gradients().items()}

    def weights(self) -> dict[str, Tensor]:
        """This rank's shares of them; some may be empty."""
        return {name: weight.to_local() for name, weight in self.parameters.items()}

    def norm(self, gradients: Mapping[str, Tensor]) -> Tensor:
        own = super().norm(gradients)
        return torch.tensor(self.ranks.sum(own.square().item()), device=own.device).sqrt()

    def whole(self, value: Tensor) -> Tensor:
        return value.full_tensor() if isinstance(value, DTensor) else value

    def set(self, name: str, value: Tensor) -> None:
        with torch.no_grad():
            self._own(self.parameters[name], value)

    def load(self, kind: str, name: str, value: Tensor) -> None:
        parameter = self.parameters[name]
        if kind == "step":  # an integer in `StochasticAdamW`
            self._adamw.state[parameter][kind] = value.to(self.ranks.device, torch.float32, copy=True)
        else:
            moment = torch.zeros_like(parameter)
            self._own(moment, value)
            self._adamw.state[parameter][kind] = moment

    def _own(self, share: Tensor, value: Tensor) -> None:
        """Set this rank's `share` of the whole `value`."""
        pieces = value.chunk(self.ranks.count)  # as FSDP cuts it: along the first dimension, the last ones may be none
        if self.ranks.index < len(pieces):
            share.to_local().copy_(pieces[self.ranks.index])
