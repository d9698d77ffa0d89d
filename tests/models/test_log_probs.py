"""Chunked log-probabilities and entropies against PyTorch's own, with their gradients."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from softmax_rewards.models import log_probs
from softmax_rewards.models.log_probs import LogProbs

POSITIONS, WIDTH, VOCABULARY = 23, 16, 37


def inputs(dtype=torch.float32):
    torch.manual_seed(0)
    hidden = torch.randn(POSITIONS, WIDTH, dtype=dtype, requires_grad=True)
    head = torch.randn(VOCABULARY, WIDTH, dtype=dtype, requires_grad=True)
    return hidden, head, torch.randint(VOCABULARY, (POSITIONS,))


def expected(hidden, head, targets, temperature):
    values = (hidden.double() @ head.double().T / temperature).log_softmax(-1)
    return values.gather(1, targets[:, None])[:, 0], -(values.exp() * values).sum(-1)


@pytest.mark.parametrize("positions_at_once", [1, 5, 23, 1000])
@pytest.mark.parametrize("used", ["log_probs", "entropy", "both"])
@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.5])
def test_values_and_gradients_equal_those_of_log_softmax(monkeypatch, positions_at_once, used, temperature):
    monkeypatch.setattr(log_probs, "CHUNK_ELEMENTS", positions_at_once * VOCABULARY)
    hidden, head, targets = inputs()
    factors = torch.randn(2, POSITIONS) * torch.tensor([[used != "entropy"], [used != "log_probs"]])

    def gradients(outputs):
        # An output that no loss uses is left out: its gradient is then None, not zeros.
        loss = sum((f * o).sum() for f, o in zip(factors, outputs, strict=True) if bool(f.any()))
        return torch.autograd.grad(loss, (hidden, head))

    got = LogProbs.apply(hidden, head, targets, True, temperature)
    wanted = expected(hidden, head, targets, temperature)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other.float(), atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients(got), gradients(wanted), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_gradients_of_many_chunks_do_not_lose_what_bfloat16_cannot_hold(monkeypatch):
    torch.manual_seed(0)
    hidden = (1 + torch.rand(1000, 4)).bfloat16().requires_grad_()
    head = torch.randn(VOCABULARY, 4).bfloat16().requires_grad_()
    targets = torch.randint(VOCABULARY, (1000,))
    found = []
    for positions in (2, 1000):
        monkeypatch.setattr(log_probs, "CHUNK_ELEMENTS", positions * VOCABULARY)
        values, _ = LogProbs.apply(hidden, head, targets, True)
        found.append(torch.autograd.grad(values.sum(), (hidden, head)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=2**-7 * other.abs().max().item(), rtol=0)


def test_extreme_logits_stay_finite():
    hidden = torch.tensor([[300.0], [-300.0]], requires_grad=True)
    head = torch.linspace(-1, 1, 5)[:, None].requires_grad_()
    values, entropies = LogProbs.apply(hidden, head, torch.tensor([0, 4]), True)
    assert values.tolist() == [-600.0, -600.0] and entropies.abs().max() < 1e-6
    (values + entropies).sum().backward()
    assert torch.isfinite(hidden.grad).all() and torch.isfinite(head.grad).all()


def test_no_tensor_is_as_large_as_the_logits(monkeypatch):
    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            result = function(*arguments, **(keywords or {}))
            if isinstance(result, torch.Tensor):
                self.elements = max(self.elements, result.untyped_storage().nbytes() // result.element_size())
            return result

    chunk = 4 * VOCABULARY
    monkeypatch.setattr(log_probs, "CHUNK_ELEMENTS", chunk)
    hidden, head, targets = inputs()
    with Largest() as seen:
        values, entropies = LogProbs.apply(hidden, head, targets, True)
        (values + entropies).sum().backward()
    assert seen.elements == max(chunk, VOCABULARY * WIDTH, POSITIONS * WIDTH) < POSITIONS * VOCABULARY
