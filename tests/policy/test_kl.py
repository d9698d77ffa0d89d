"""The frozen reference of the KL penalty: wherever its weights lie, it says the same."""

import dataclasses

import pandas as pd
import pytest
import torch

from softmax_rewards.config.run import Training
from softmax_rewards.models import checkpoint
from softmax_rewards.policy.gradients import log_probs
from softmax_rewards.policy.kl import reference_model
from softmax_rewards.policy.micro_batches import Samples
from softmax_rewards.training import trainer

SAMPLES = Samples([[3, 4, 5], [6, 7]], torch.randint(3, 20, (4, 6), generator=torch.Generator().manual_seed(0)),
                  [6, 2, 1, 4])  # fmt: skip


@pytest.mark.parametrize("home", ["device", "host"])
def test_it_says_what_the_base_model_says_of_every_sampled_token(tiny, home):
    expected = log_probs(checkpoint.load(tiny[2]), SAMPLES, 10**6)
    assert (expected != 0).sum(1).tolist() == SAMPLES.lengths
    reference = reference_model(Training(kl_coef=0.1, kl_reference=home), tiny[2], torch.device("cpu"))
    for budget in (5, 10**6):
        torch.testing.assert_close(reference(SAMPLES, budget), expected, atol=1e-5, rtol=0)


def test_a_run_with_a_penalty_stays_closer_to_its_base(tiny, tmp_path):
    run, data, base = tiny
    found = {}
    for name, coefficient in (("weak", 1e-6), ("strong", 10.0)):
        settings = dataclasses.replace(run.training, steps=6, learning_rate=3e-3, kl_coef=coefficient)
        trainer.train(dataclasses.replace(run, training=settings), data, base, tmp_path / name)
        found[name] = pd.read_csv(tmp_path / name / "metrics.csv")["kl"]
    assert found["weak"].iloc[0] == found["strong"].iloc[0] < 1e-8  # before the first update both are the base
    assert 0 < found["strong"].iloc[-1] < 0.5 * found["weak"].iloc[-1]
