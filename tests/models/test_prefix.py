"""Prompts read once and continued are the whole sequences, values and gradients alike."""

import pytest
import torch
import toy

from softmax_rewards.models.prefix import SharedPrefix

PROMPTS = [[1, 2, 3], [4], [6, 5, 4, 3, 2, 1]]
ANSWERS = torch.tensor([[2, 5, 1], [3, 3, 6], [1, 4, 4], [2, 2, 2]])
OWNERS = torch.tensor([2, 0, 2, 1])


def gradients(model, hidden, factors):
    return torch.autograd.grad((hidden * factors).sum(), list(model.parameters()), allow_unused=True)


@pytest.mark.parametrize("prompts", [PROMPTS, [[1, 2], [3, 4], [5, 6]], [[1], [2], [3]]])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("short", [0, 512])
def test_continuing_prompts_equals_the_whole_pass(monkeypatch, prompts, recompute, short):
    for module in ("decoder", "prefix"):
        monkeypatch.setattr(f"softmax_rewards.models.{module}.SHORT", short)  # attention by products or fused
    model = toy.decoder(vocabulary=7)
    length = ANSWERS.shape[1]
    factors = torch.randn(len(OWNERS), length, model.shape.hidden_size)
    whole = torch.stack(
        [
            model(torch.tensor([[*prompts[owner], *answer[:-1].tolist()]]))[0, len(prompts[owner]) - 1 :]
            for owner, answer in zip(OWNERS.tolist(), ANSWERS, strict=True)
        ]
    )
    expected = gradients(model, whole, factors)

    model.gradient_checkpointing = recompute
    last = torch.tensor([[prompts[owner][-1]] for owner in OWNERS.tolist()])
    ids = torch.cat((last, ANSWERS[:, :-1]), 1)

    def behind(read, rows):
        positions, mask = read.positions(OWNERS[rows], length), read.mask(OWNERS[rows], length, torch.float32)
        return model(ids[rows], positions, mask, read.view(OWNERS[rows]))

    attached = behind(SharedPrefix(model, prompts), slice(None))
    torch.testing.assert_close(attached, whole, atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients(model, attached, factors), expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)

    read = SharedPrefix(model, prompts).detach()
    for rows in (slice(0, 1), slice(1, 4)):  # two passes leave their gradients, one carries them on
        (behind(read, rows) * factors[rows]).sum().backward()
    read.backward()
    for parameter, other in zip(model.parameters(), expected, strict=True):
        if other is not None:
            torch.testing.assert_close(parameter.grad, other, atol=1e-4, rtol=1e-4)
