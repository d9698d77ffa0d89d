"""The frozen reference: wherever it lives, it says the same."""

import dataclasses
import multiprocessing
import os
import signal

import pandas as pd
import pytest
import torch

from softmax_rewards.config.run import Training
from softmax_rewards.models import checkpoint
from softmax_rewards.policy.gradients import Samples, log_probs
from softmax_rewards.policy.reference import opened
from softmax_rewards.training import trainer

SAMPLES = Samples([[3, 4, 5], [6, 7]], torch.randint(3, 20, (4, 6), generator=torch.Generator().manual_seed(0)),
                  [6, 2, 1, 4])  # fmt: skip


def test_there_is_none_without_a_penalty(tiny):
    with opened(Training(), tiny[2], torch.device("cpu")) as reference:
        assert reference is None


@pytest.mark.parametrize("home", ["device", "host", "process"])
def test_it_says_what_the_base_model_says_of_every_sampled_token(tiny, home):
    expected = log_probs(checkpoint.load(tiny[2]), SAMPLES, 10**6)
    assert (expected != 0).sum(1).tolist() == SAMPLES.lengths
    with opened(Training(kl=0.1, kl_reference=home), tiny[2], torch.device("cpu")) as reference:
        for budget in (5, 10**6):
            torch.testing.assert_close(reference(SAMPLES, budget), expected, atol=1e-5, rtol=0)
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_named(tiny):
    with opened(Training(kl=0.1, kl_reference="process"), tiny[2], torch.device("cpu")) as reference:
        (child,) = multiprocessing.active_children()
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match="process of the KL reference has ended with code -9"):
            reference(SAMPLES, 100)


def test_a_run_with_a_penalty_stays_closer_to_its_base(tiny, tmp_path):
    run, data, base = tiny
    found = {}
    for name, kl in (("weak", 1e-6), ("strong", 10.0)):
        settings = dataclasses.replace(run.training, steps=6, learning_rate=3e-3, kl=kl)
        trainer.train(dataclasses.replace(run, training=settings), data, base, tmp_path / name)
        found[name] = pd.read_csv(tmp_path / name / "metrics.csv")["kl"]
    assert found["weak"].iloc[0] == found["strong"].iloc[0] < 1e-8  # before the first update both are the base
    assert 0 < found["strong"].iloc[-1] < 0.5 * found["weak"].iloc[-1]
