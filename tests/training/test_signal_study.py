"""The signal study of a tiny base model: repeatable, and consistent where two schemes are the same."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
import toy

from softmax_rewards.config.run import Training
from softmax_rewards.policy.decoding import Completions
from softmax_rewards.policy.rollout import Rollouts
from softmax_rewards.training import signal_figures, signal_study
from softmax_rewards.verdicts import measured_signal


@pytest.fixture(scope="module")
def study(tiny, tmp_path_factory):
    """Folder of the study, and the arguments that made it."""
    run, data, base = tiny
    run = dataclasses.replace(run, training=dataclasses.replace(run.training, prompts_per_step=4))
    folder = tmp_path_factory.mktemp("signal")
    signal_study.write(run, 10, data, base, folder)
    return folder, (run, 10, data, base)


def test_equal_settings_give_equal_files(study, tmp_path):
    folder, arguments = study
    signal_study.write(*arguments, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["base.json", "schemes.csv"]
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in names)


def test_every_scheme_has_a_row_and_the_summary_reads_it(study):
    folder, (run, *_) = study
    table, facts = measured_signal.read([folder])
    chosen = signal_figures.schemes(run.training.group_size)
    assert {(scheme.name, scheme.setting) for scheme in chosen} == set(
        zip(table["scheme"], table["setting"], strict=True)
    )
    assert len(table) == len(chosen)
    assert facts["batches"] == 10 and facts["answers"] == 4 * run.training.group_size
    empty, nothing = measured_signal.read([])
    assert list(empty) == list(table) and empty.empty and nothing == {}


def test_schemes_that_differ_in_scale_alone_have_the_same_ratios(study):
    table = pd.read_csv(study[0] / "schemes.csv").fillna({"setting": ""}).set_index(["scheme", "setting"])
    names = [*signal_figures.MEASURED[:3], "noise"]
    for first, second in [
        (("rloo", ""), ("dr_grpo", "")),
        (("softmax_scaled", "tau = 0.5"), ("softmax_centered", "tau = 0.5")),
    ]:
        rows = table.loc[[first, second], names].to_numpy(float)
        assert rows[0] == pytest.approx(rows[1], rel=1e-3, abs=1e-4, nan_ok=True)


def test_answers_alike_must_have_the_same_weight():
    empty = torch.zeros(2, 2)
    completions = Completions(empty.long(), empty, empty, torch.tensor([1, 1]), torch.ones(2, dtype=torch.bool))
    rollouts = Rollouts([toy.PROMPT], [""], completions, ["", ""], [], 2)
    settings = Training(max_new_tokens=2)
    with pytest.raises(ValueError, match="answers of equal reward in one group different weights"):
        signal_study._gradients(toy.decoder(), rollouts, settings, np.array([[[1.0, 2.0]]]), np.zeros((1, 1, 2)))


def test_the_weights_of_a_mark_give_the_gradient_of_its_rate():
    """The exact expectation over all groups of two answers of the toy, against autograd of the rate itself."""
    policy, answers = toy.decoder(), toy.completions()
    mark = np.array([answer[0] == 1 for answer in answers])
    rate = toy.log_probs(policy).exp() @ torch.tensor(mark, dtype=torch.float32)
    exact = torch.cat([part.flatten() for part in torch.autograd.grad(rate, list(policy.parameters()))])
    chances, scores = toy.log_probs(policy).exp().detach().double(), toy.gradients(policy)
    pairs = list(itertools.product(range(len(answers)), repeat=2))
    marks = np.array([[[mark[a], mark[b]] for a, b in pairs]] * 2)
    weights = torch.from_numpy(signal_figures.weights([], np.zeros(marks.shape[1:]), marks)[0])
    expected = sum(
        chances[a] * chances[b] * (weights[row, 0] * scores[a] + weights[row, 1] * scores[b]) / 2
        for row, (a, b) in enumerate(pairs)
    )
    torch.testing.assert_close(expected.float(), exact, rtol=1e-4, atol=1e-6)
