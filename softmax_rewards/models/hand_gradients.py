"""Operations whose gradients are written by hand: RMSNorm and SwiGLU.

Autograd keeps every intermediate result and makes one pass over memory per elementary operation. On a processor these
passes take longer than the matrix products of a small model. Here the backward pass computes cheap intermediate results
again, and works in place.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`x[..., size]` scaled to a mean square of 1, times `weight[size]` (arXiv 1910.07467), in the dtype of `x`."""
    if torch.is_grad_enabled():
        return _RMSNorm.apply(x, weight, eps)
    return _normalized(x, _inverse_rms(x, eps)).mul_(weight)


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate)·up of `gate_up[..., 2·size]`, which has the gates first (arXiv 2002.05202): `[..., size]`."""
    if torch.is_grad_enabled():
        return _SwiGLU.apply(gate_up)
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate).mul_(up)


def _inverse_rms(x: Tensor, eps: float) -> Tensor:
    """1 / sqrt(mean square + eps) over the last dimension, float32 `[..., 1]`."""
    # In float32, because bfloat16 has too few digits for a sum over a thousand channels.
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    # One operation computes eps + norm²/size, because starting an operation costs as much as a few thousand products.
    return torch.addcmul(norm.new_full((), eps), norm, norm, value=1 / x.shape[-1]).rsqrt_()


def _normalized(x: Tensor, scale: Tensor) -> Tensor:
    # Rounded before the weight is applied, as in `transformers`, so that logits agree.
    return (x.float() * scale).to(x.dtype)


class _RMSNorm(torch.autograd.Function):
    """With n = x·scale and h = g·weight: ∂weight = Σ g·n and ∂x = scale·(h − n·mean(h·n)), g the output's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = _inverse_rms(x, eps)
        ctx.save_for_backward(x, weight, scale)
        return _normalized(x, scale).mul_(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, scale = ctx.saved_tensors
        normalized = x.float() * scale
        product = gradient * normalized
        of_weight = product.flatten(0, -2).sum(0).to(weight.dtype) if ctx.needs_input_grad[1] else None
        # Σ h·n = Σ weight·(g·n), a matrix-vector product
        mean = (product @ weight.float()).div_(x.shape[-1]).unsqueeze(-1)
        of_x = (gradient * weight).float().sub_(normalized.mul_(mean)).mul_(scale)
        return of_x.to(x.dtype), of_weight, None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        # Both halves are written into one tensor. Autograd would make two and copy them together.
        result = torch.empty_like(gate_up)
        of_gate, of_up = result.chunk(2, dim=-1)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=of_gate)
        torch.mul(F.silu(gate), gradient, out=of_up)
        return result
