"""AdamW in every precision against PyTorch's in float64, and small updates that must not be lost."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn

from softmax_rewards.common.randomness import torch_stream
from softmax_rewards.policy import optimizer
from softmax_rewards.policy.fused_adamw import FusedAdamW

KINDS = [(torch.float32, "device"), (torch.float32, "host"), (torch.bfloat16, "device"), (torch.bfloat16, "host")]


def policy(dtype, size=64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1)).to(dtype)


def slopes(model, step):
    """Fixed gradients: what is compared is the arithmetic of the update."""
    draw = torch.Generator().manual_seed(step)
    return {name: torch.randn(value.shape, generator=draw) for name, value in model.named_parameters()}


def backward(model, gradients):
    """Give the model these gradients through autograd, in two parts as two micro-batches would."""
    for share in (0.25, 0.75):
        loss = sum((value.float() * gradients[name] * share).sum() for name, value in model.named_parameters())
        loss.backward()


@pytest.mark.parametrize("clip", [1.0, 1e9])
@pytest.mark.parametrize(("dtype", "state"), KINDS)
def test_updates_equal_those_of_adamw_in_float64(dtype, state, clip):
    ours = policy(dtype)
    theirs = copy.deepcopy(ours).double()
    start = {name: value.detach().clone() for name, value in theirs.named_parameters()}
    adamw = torch.optim.AdamW(theirs.parameters(), lr=1e-2, weight_decay=0.0)
    update = optimizer.build(ours, 1e-2, state)
    for step in range(5):
        gradients = slopes(ours, step)
        backward(ours, gradients)
        norm = update.step(clip, torch_stream(0, "rounding", step))
        expected = torch.sqrt(sum((value.double() ** 2).sum() for value in gradients.values())).item()
        assert norm == pytest.approx(expected, rel=1e-5 if dtype == torch.float32 else 4e-3)
        for name, value in theirs.named_parameters():
            value.grad = gradients[name].double() * min(clip / expected, 1)
        adamw.step()
    for name, value in theirs.named_parameters():  # AdamW's steps hardly tell a scaled gradient, its moments do
        wanted = adamw.state[value]["exp_avg"]
        moments = update.state()["exp_avg"][name].double()
        close = (
            {"atol": 1e-6, "rtol": 1e-4}
            if moments.dtype == dtype
            else {"atol": 2**-6 * wanted.abs().max().item(), "rtol": 0}
        )
        torch.testing.assert_close(moments, wanted, **close)
    start, ours, theirs = (
        torch.cat([v.detach().double().flatten() for v in vs])
        for vs in (start.values(), ours.parameters(), theirs.parameters())
    )
    if dtype == torch.float32:
        torch.testing.assert_close(ours - start, theirs - start, atol=1e-6, rtol=1e-4)
    else:  # single weights are as coarse as bfloat16, their mean is not
        assert (ours - theirs).abs().max() <= 5 * 2**-8 * theirs.abs().max()  # five roundings
        assert torch.corrcoef(torch.stack((ours - start, theirs - start)))[0, 1] > 0.99


@pytest.mark.parametrize("state", ["device", "host"])
def test_small_updates_of_bfloat16_weights_are_not_lost(state):
    """1000 updates of 1e-6 on weights of about 1, whose bfloat16 neighbors are 0.004 to 0.008 away."""
    model = nn.Linear(128, 128, bias=False)
    nn.init.uniform_(model.weight, 0.5, 2.0)
    model.to(torch.bfloat16)
    before = model.weight.detach().float().clone()
    nearest = before.bfloat16()
    update = optimizer.build(model, 1e-6, state)
    for step in range(1000):
        model.weight.sum().backward()
        nearest -= 1e-6
        update.step(1e9, torch_stream(0, "rounding", step))
    assert torch.equal(nearest, before.bfloat16())  # what plain rounding makes of it: nothing
    moved = (model.weight.float() - before).mean().item() if state == "device" else None
    if state == "device":
        assert moved == pytest.approx(-1e-3, rel=0.05)
    else:
        masters = update.state()["master"]["weight"]
        torch.testing.assert_close(masters, before - 1e-3, atol=6e-5, rtol=0)  # 1000 roundings of float32
        assert torch.equal(model.weight, masters.bfloat16())


def test_stochastic_rounding_keeps_the_mean_and_takes_neighbors_only():
    values = torch.tensor([1.0, 1.001, -1.001, 3.14159, -1e-8, 0.0, 65504.3]).repeat_interleave(40_000)
    out = torch.empty_like(values, dtype=torch.bfloat16)
    optimizer.round_stochastically(values.clone(), out, torch_stream(0, "test"))
    for value, rounded in zip(values.view(7, -1)[:, 0], out.float().view(7, -1), strict=True):
        spacing = 2.0 ** (value.abs().log2().floor().item() - 7) if value else 0.0
        assert (rounded - value).abs().max() <= spacing
        assert rounded.mean().item() == pytest.approx(value.item(), abs=spacing * 0.02)
        assert len(rounded.unique()) <= 2


@pytest.mark.parametrize(("rate", "moved"), [(1e-6, 0.0), (0.01, -0.1)])
def test_rounding_to_nearest_loses_small_updates_and_keeps_large_ones(rate, moved):
    model = nn.Linear(64, 64, bias=False)
    nn.init.uniform_(model.weight, 0.5, 2.0)
    model.to(torch.bfloat16)
    before = model.weight.detach().float().clone()
    update = optimizer.build(model, rate, "device", "nearest")
    for step in range(10):
        model.weight.sum().backward()
        update.step(1e9, torch_stream(0, "rounding", step))
    assert (model.weight.float() - before).mean().item() == pytest.approx(moved, abs=abs(moved) / 10)
    assert update.unchanged == (1.0 if rate == 1e-6 else 0.0)


def test_rounding_to_nearest_differs_from_adamw_in_float64_by_one_rounding():
    """One step. The weight that is exact in float64 is rounded once."""
    ours = policy(torch.bfloat16)
    theirs = copy.deepcopy(ours).double()
    gradients = slopes(ours, 0)
    update = optimizer.build(ours, 1e-2, "device", "nearest")
    update.add([gradients[name] for name in update.parameters])
    update.step(1e9, torch_stream(0, "rounding"))
    for name, value in theirs.named_parameters():
        value.grad = gradients[name].double()
    torch.optim.AdamW(theirs.parameters(), lr=1e-2, weight_decay=0.0).step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other.float().bfloat16(), atol=0, rtol=2**-7)
        assert (one == other.float().bfloat16()).float().mean() > 0.99


@pytest.mark.parametrize(
    ("state", "rounding"), [("device", "stochastic"), ("device", "nearest"), ("host", "stochastic")]
)
def test_the_share_of_unchanged_weights_is_counted(monkeypatch, state, rounding):
    monkeypatch.setattr(optimizer, "SLICE", 100)  # several slices per weight
    model = policy(torch.bfloat16)
    update = optimizer.build(model, 1e-4, state, rounding)
    assert update.unchanged is None
    for step in range(3):
        before = copy.deepcopy(model.state_dict())
        backward(model, slopes(model, step))
        update.step(1.0, torch_stream(0, "rounding", step))
        same = torch.cat([(value == before[name]).flatten() for name, value in model.state_dict().items()])
        assert update.unchanged == pytest.approx(same.double().mean().item(), abs=1e-12)
        assert 0 < update.unchanged < 1
    update.step(1.0, torch_stream(0, "rounding"))  # without gradients
    assert update.unchanged == 1.0


@pytest.mark.parametrize("state", ["device", "host"])
def test_in_float32_unchanged_weights_are_not_counted(state):
    model = policy(torch.float32)
    update = optimizer.build(model, 1e-4, state)
    backward(model, slopes(model, 0))
    update.step(1.0, torch_stream(0, "rounding"))
    assert update.unchanged is None


@pytest.mark.parametrize(("dtype", "state"), KINDS)
def test_a_resumed_optimizer_goes_on_exactly(dtype, state):
    def run(model, update, steps):
        for step in steps:
            backward(model, slopes(model, step))
            update.step(1.0, torch_stream(0, "rounding", step))

    whole, parted = policy(dtype), policy(dtype)
    run(whole, optimizer.build(whole, 1e-3, state), range(6))
    first = optimizer.build(parted, 1e-3, state)
    run(parted, first, range(3))
    kept = {kind: {name: v.clone() for name, v in values.items()} for kind, values in first.state().items()}
    resumed = policy(dtype)
    resumed.load_state_dict(parted.state_dict())
    second = optimizer.build(resumed, 1e-3, state)
    for kind, values in kept.items():
        for name, value in values.items():
            second.load(kind, name, value)
    run(resumed, second, range(3, 6))
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("dtype", "state"), KINDS)
def test_a_gradient_that_is_not_finite_leaves_the_weights_alone(dtype, state):
    model = policy(dtype)
    before = copy.deepcopy(model.state_dict())
    update = optimizer.build(model, 1e-3, state)
    (model(torch.ones(1, 64, dtype=dtype)).sum() * float("inf")).backward()
    with pytest.raises(FloatingPointError, match="training has diverged"):
        update.step(1.0, torch_stream(0, "rounding"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_without_gradients_nothing_moves():
    model = policy(torch.bfloat16)
    update = optimizer.build(model, 1e-3, "device")
    model(torch.ones(1, 64, dtype=torch.bfloat16)).sum().backward()
    update.discard()
    before = copy.deepcopy(model.state_dict())
    assert update.step(1.0, torch_stream(0, "rounding")) == 0.0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("dtype", "state"), KINDS)
def test_nothing_is_kept_of_an_optimizer_that_is_done_with(dtype, state):
    model = policy(dtype)
    update = optimizer.build(model, 1e-3, state)
    backward(model, slopes(model, 0))
    update.step(1.0, torch_stream(0, "rounding"))
    remains = weakref.ref(update), weakref.ref(next(model.parameters()))
    del model, update
    gc.collect()
    assert remains[0]() is None and remains[1]() is None


def test_the_fused_adamw_gives_the_same_bits_as_pytorchs_class():
    ours, theirs = policy(torch.float32), policy(torch.float32)
    fused = FusedAdamW(ours.parameters())
    adamw = torch.optim.AdamW(theirs.parameters(), 1e-3, (0.9, 0.999), 1e-8, weight_decay=0.0, fused=True)
    for step in range(5):
        gradients = slopes(ours, step)
        for model in (ours, theirs):
            for name, parameter in model.named_parameters():
                # One parameter has no gradient in the first step.
                parameter.grad = None if step == 0 and name == "0.bias" else gradients[name].clone()
        adamw.param_groups[0]["lr"] = 1e-3 / (step + 1)
        fused.step(1e-3 / (step + 1))
        adamw.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
        assert fused.state[one].keys() == adamw.state[other].keys()
        assert all(torch.equal(value, adamw.state[other][kind]) for kind, value in fused.state[one].items())
