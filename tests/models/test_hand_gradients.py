"""Values and gradients written by hand equal those that autograd derives from the definitions."""

import pytest
import torch
import torch.nn.functional as F

from softmax_rewards.models.hand_gradients import rms_norm, swiglu

EPS = 1e-6
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 3e-2}


def by_definition(x, weight):
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPS)).to(x.dtype)


def gated(gate_up):
    gate, up = gate_up.chunk(2, -1)
    return F.silu(gate) * up


def both(function, *inputs):
    """The output, and the gradients of all inputs for a fixed random gradient of the output."""
    inputs = [value.clone().requires_grad_() for value in inputs]
    output = function(*inputs)
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    return output, *torch.autograd.grad(output, inputs, direction)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7, 12), (3, 5, 12), (2, 4, 3, 12)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_rms_norm(dtype, shape, scale):
    torch.manual_seed(0)
    x, weight = (scale * torch.randn(shape)).to(dtype), (1 + 0.3 * torch.randn(12)).to(dtype)
    found, expected = both(lambda x, w: rms_norm(x, w, EPS), x, weight), both(by_definition, x, weight)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        size = other.float().abs().max().item()
        torch.testing.assert_close(one, other, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * size)
    with torch.no_grad():
        assert torch.equal(rms_norm(x, weight, EPS), found[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7, 12), (3, 5, 12)])
def test_swiglu(dtype, shape):
    torch.manual_seed(0)
    gate_up = (3 * torch.randn(shape)).to(dtype)
    found, expected = both(swiglu, gate_up), both(gated, gate_up)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    with torch.no_grad():
        assert torch.equal(swiglu(gate_up), found[0])


def test_a_frozen_weight_gets_no_gradient_and_rows_of_zeros_stay_finite():
    x = torch.zeros(2, 4, requires_grad=True)
    rms_norm(x, torch.ones(4), EPS).sum().backward()
    assert torch.isfinite(x.grad).all()
