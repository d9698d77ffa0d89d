"""AdamW (arXiv 1711.05101; β 0.9 and 0.999, no weight decay) for weights in float32 or bfloat16.

A bfloat16 weight has 8 significant bits. With rounding to nearest, an update below 1/512 of the weight is lost. At a
learning rate of 1e-6 that is nearly every update. So all arithmetic is in float32, and so are the sums of gradients
over micro-batches. The new weight either has a float32 master on the host, or is rounded stochastically: up or down,
with probabilities that make its mean exact (arXiv 1502.02551).

Rounding to nearest is there as well. The notes build on GRPO-Zero (github.com/policy-gradient/GRPO-Zero). Its default
is PyTorch's AdamW on bfloat16 weights: gradients, their sums and both moments are bfloat16 too. There the second moment
never falls, because 0.999·v is rounded back to v. (Its configuration for 24 GB has both moments in float32.) Here
the second moment and the sums of gradients stay float32, so that the two ways of rounding differ in nothing else.

Bytes per parameter on the device, with its gradient: 16 in float32 and 12 in bfloat16; with the state on the host 8 and
6.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from softmax_rewards.policy.fused_adamw import BETAS, EPSILON, FusedAdamW

SLICE = 2**24
"""Elements updated at once. All elements of the largest matrix at once would need temporaries of its size."""


def build(policy: nn.Module, learning_rate: float, state: str, rounding: str = "stochastic") -> "Optimizer":
    """The optimizer for the policy's dtype. `state`, `device` or `host`, says where its moments lie.

    `rounding`, a key of `ROUNDINGS`, matters for bfloat16 weights with their state on the device.
    """
    if state == "host":
        return HostAdamW(policy, learning_rate)
    if next(policy.parameters()).dtype == torch.float32:
        return DeviceAdamW(policy, learning_rate)
    return RoundedAdamW(policy, learning_rate, rounding)


class Optimizer:
    """Sums the gradients of all micro-batches, then updates the policy's weights with `learning_rate`."""

    unchanged: float | None = None
    """The share of bfloat16 weights that the last step left as they were. None for float32, and before any step."""

    def __init__(self, policy: nn.Module, learning_rate: float) -> None:
        self.parameters = dict(policy.named_parameters())
        self.learning_rate = learning_rate
        self._sums: dict[str, Tensor] = {}  # float32 sums, only for weights that are not float32
        self._changed: list[Tensor] = []  # of the last step: the numbers of bfloat16 weights with another value
        self.rounds = any(parameter.dtype != torch.float32 for parameter in self.parameters.values())
        # PyTorch would sum a bfloat16 weight's gradients in bfloat16, and lose the small ones.
        for name, parameter in self.parameters.items():
            if parameter.dtype != torch.float32:
                parameter.register_post_accumulate_grad_hook(self._summing(name))

    def step(self, max_grad_norm: float, rounding: torch.Generator) -> float:
        """Update with the gradients summed so far, then drop them. Returns their norm before clipping.

        `rounding` gives the noise of stochastic rounding. Raises FloatingPointError if the norm is not finite; then the
        weights are unchanged.
        """
        gradients = self.gradients()
        norm = self.norm(gradients)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"training has diverged: gradient norm {norm.item()}")
        self._changed.clear()
        if gradients:
            # As `torch.nn.utils.clip_grad_norm_` does it, but on the float32 sums.
            torch._foreach_mul_(list(gradients.values()), (max_grad_norm / (norm + 1e-6)).clamp(max=1.0))
            with torch.no_grad():
                self._apply(gradients, rounding)
        self.discard()
        if self.rounds:
            total = sum(parameter.numel() for parameter in self.parameters.values())
            self.unchanged = 1 - sum(count.item() for count in self._changed) / total
        return norm.item()

    def add(self, gradients: Sequence[Tensor]) -> None:
        """Add gradients of all parameters, in the order of `parameters`. For gradients from `torch.autograd.grad`."""
        for (name, parameter), gradient in zip(self.parameters.items(), gradients, strict=True):
            if parameter.dtype != torch.float32:
                self._sums[name] = self._sums[name].add_(gradient) if name in self._sums else gradient.float()
            else:
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)

    def gradients(self) -> dict[str, Tensor]:
        """The float32 sums so far, by parameter. A parameter that has no gradient yet is left out."""
        floats = {name: weight.grad for name, weight in self.parameters.items() if weight.grad is not None}
        return self._sums | floats

    def weights(self) -> Mapping[str, Tensor]:
        """The weights by parameter, or this process's share of them."""
        return self.parameters

    def discard(self) -> None:
        """Drop all gradients and free their memory."""
        self._sums.clear()
        for parameter in self.parameters.values():
            parameter.grad = None

    def norm(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The 2-norm of all gradients together."""
        return torch.nn.utils.get_total_norm(gradients.values())

    def state(self) -> dict[str, dict[str, Tensor]]:
        """What a resumed run needs beside the weights: kind of tensor → parameter's name → tensor."""
        raise NotImplementedError

    def set(self, name: str, value: Tensor) -> None:
        """Set a weight. `load` sets the state that belongs to it."""
        with torch.no_grad():
            self.parameters[name].copy_(value)

    def load(self, kind: str, name: str, value: Tensor) -> None:
        """Set one tensor of `state` to a copy of `value`; a copy, because `value` may lie in a mapped file."""
        raise NotImplementedError

    def _apply(self, gradients: Mapping[str, Tensor], rounding: torch.Generator) -> None:
        raise NotImplementedError

    def _count_changed(self, before: Tensor | None, weight: Tensor) -> None:
        """Note how many elements of `weight` differ from `before`, which is None where nothing is counted."""
        # A number on the device, because reading it would make the CPU wait for the GPU here.
        if before is not None:
            self._changed.append((before != weight).sum())

    def _summing(self, name: str) -> Callable[[Tensor], None]:
        # `add` must not hold `self`. The parameter holds `add`, and `self` holds the parameter: Python's garbage
        # collector cannot see such a cycle through PyTorch's hooks, and the memory would never be freed.
        sums = self._sums

        def add(parameter: Tensor) -> None:
            gradient = parameter.grad
            assert gradient is not None  # the hook runs when it has been accumulated
            if name in sums:
                sums[name] += gradient
            else:
                sums[name] = gradient.float()
            parameter.grad = None  # freed at once, so that only one parameter's gradient is in memory twice

        return add


class DeviceAdamW(Optimizer):
    """For float32 weights, with the state on the same device: PyTorch's own AdamW."""

    def __init__(self, policy: nn.Module, learning_rate: float) -> None:
        super().__init__(policy, learning_rate)
        self._adamw = FusedAdamW(policy.parameters())

    def _apply(self, gradients: Mapping[str, Tensor], rounding: torch.Generator) -> None:
        self._adamw.step(self.learning_rate)

    def state(self) -> dict[str, dict[str, Tensor]]:
        tensors: dict[str, dict[str, Tensor]] = {}
        for name, parameter in self.parameters.items():
            for kind, value in self._adamw.state[parameter].items():
                tensors.setdefault(kind, {})[name] = value
        return tensors

    def load(self, kind: str, name: str, value: Tensor) -> None:
        parameter = self.parameters[name]
        self._adamw.state[parameter][kind] = value.to(parameter.device, copy=True)


class HostAdamW(Optimizer):
    """Float32 masters and moments on the host. The device holds only weights and gradients."""

    def __init__(self, policy: nn.Module, learning_rate: float) -> None:
        super().__init__(policy, learning_rate)
        self._masters = {
            name: value.detach().to("cpu", torch.float32, copy=True) for name, value in self.parameters.items()
        }
        # One optimizer per tensor, so that the host holds only one gradient at a time.
        self._adamw = {name: FusedAdamW([master]) for name, master in self._masters.items()}

    def _apply(self, gradients: Mapping[str, Tensor], rounding: torch.Generator) -> None:
        for name, gradient in gradients.items():
            master = self._masters[name]
            master.grad = gradient.to("cpu")
            self._adamw[name].step(self.learning_rate)
            master.grad = None
            # Rounded to nearest; small updates add up in the master.
            for weight, value in zip(*(v.view(-1).split(SLICE) for v in (self.parameters[name], master)), strict=True):
                before = weight.clone() if self.rounds else None
                weight.copy_(value)
                self._count_changed(before, weight)

    def state(self) -> dict[str, dict[str, Tensor]]:
        tensors = {"master": self._masters}
        for name, master in self._masters.items():
            for kind, value in self._adamw[name].state[master].items():
                tensors.setdefault(kind, {})[name] = value
        return tensors

    def load(self, kind: str, name: str, value: Tensor) -> None:
        master = self._masters[name]
        if kind == "master":
            master.copy_(value)
        else:
            self._adamw[name].state[master][kind] = value.clone()


class RoundedAdamW(Optimizer):
    """For bfloat16 weights with the state on the same device. `rounding` is a key of `ROUNDINGS`."""

    def __init__(self, policy: nn.Module, learning_rate: float, rounding: str) -> None:
        super().__init__(policy, learning_rate)
        self._round = ROUNDINGS[rounding]
        # The second moment changes by a thousandth per step (1 − β₂), which bfloat16 cannot hold. So it is float32.
        self._state = {
            "exp_avg": {name: torch.zeros_like(value) for name, value in self.parameters.items()},
            "exp_avg_sq": {
                name: torch.zeros_like(value, dtype=torch.float32) for name, value in self.parameters.items()
            },
        }
        self._steps = dict.fromkeys(self.parameters, 0)

    def _apply(self, gradients: Mapping[str, Tensor], rounding: torch.Generator) -> None:
        for name, gradient in gradients.items():
            self._steps[name] += 1
            first, second = (1 - beta ** self._steps[name] for beta in BETAS)  # bias corrections of the two moments
            # AdamW (algorithm 2 of the paper) without weight decay, in float32 and slice by slice.
            tensors = (self.parameters[name], gradient, self._state["exp_avg"][name], self._state["exp_avg_sq"][name])
            for weight, slope, mean, square in zip(*(value.view(-1).split(SLICE) for value in tensors), strict=True):
                average = mean.float().lerp_(slope, 1 - BETAS[0])
                square.mul_(BETAS[1]).addcmul_(slope, slope, value=1 - BETAS[1])
                scale = square.div(second).sqrt_().add_(EPSILON)
                updated = weight.float().addcdiv_(average, scale, value=-self.learning_rate / first)
                before = weight.clone()
                self._round(updated, weight, rounding)
                self._round(average, mean, rounding)
                self._count_changed(before, weight)

    def state(self) -> dict[str, dict[str, Tensor]]:
        return self._state | {"step": {name: torch.tensor(steps) for name, steps in self._steps.items()}}

    def load(self, kind: str, name: str, value: Tensor) -> None:
        if kind == "step":
            self._steps[name] = int(value)
        else:
            self._state[kind][name].copy_(value)


def round_stochastically(values: Tensor, out: Tensor, generator: torch.Generator) -> None:
    """Round the float32 `values` stochastically into the bfloat16 `out`. `values` are overwritten."""
    # A bfloat16 is the upper half of a float32. A random number is added to the lower half, which then is cut off. It
    # carries into the upper half with a probability equal to the lower half's share, so the mean is exact.
    bits = values.view(torch.int32)
    bits += torch.empty_like(bits).random_(0, 1 << 16, generator=generator)
    bits &= -(1 << 16)
    out.copy_(values)


def round_to_nearest(values: Tensor, out: Tensor, generator: torch.Generator) -> None:
    """Round the float32 `values` to the nearest bfloat16 in `out`. The `generator` is not used."""
    out.copy_(values)


ROUNDINGS = {"stochastic": round_stochastically, "nearest": round_to_nearest}
