"""The trial step: that it runs what a run runs, and as little as it may."""

import dataclasses
from pathlib import Path

import pytest

from softmax_rewards.config import experiments
from softmax_rewards.training import trial

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run():
    run = experiments.load(ROOT / "config/experiments/countdown-mini.yaml").run("baseline", 0)
    return dataclasses.replace(run, training=dataclasses.replace(run.training, prompts_per_step=4, group_size=2))


def test_the_embedded_model_is_tried_with_the_lengths_of_its_traces(run):
    speed = trial.speed(run)
    assert 20 < speed.answer_tokens < run.training.max_new_tokens, "traces of at most four attempts"
    assert min(speed.rollout, speed.update, speed.start) > 0
    assert speed.memory > 10**8, "Python and PyTorch alone take more than 100 MB"
    cut = dataclasses.replace(run, training=dataclasses.replace(run.training, max_new_tokens=5))
    assert trial.speed(cut).answer_tokens == 5


def test_what_was_measured_is_kept_for_equal_settings(run, tmp_path, monkeypatch):
    first = trial.measure(run, tmp_path)  # in a process of its own
    assert min(first.rollout, first.update, first.start) > 0
    other_rate = dataclasses.replace(run.training, steps=7, learning_rate=1e-5)
    longer = dataclasses.replace(run, seed=5, training=other_rate)
    monkeypatch.setattr(trial, "_measure", lambda run: pytest.fail("measured again"))
    assert trial.measure(longer, tmp_path) == first
    other = dataclasses.replace(run, training=dataclasses.replace(run.training, group_size=4))
    with pytest.raises(pytest.fail.Exception):
        trial.measure(other, tmp_path)


def test_a_trial_that_fails_says_why_in_one_line(run, tmp_path):
    unknown = dataclasses.replace(run, model={"source": "hub", "repository": "some/body", "warm_start": {}})
    with pytest.raises(RuntimeError, match=r"^the trial step failed: ValueError: the shape of hub is not known"):
        trial.measure(unknown, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("parameters", [10**5, 10**7, 10**9])
@pytest.mark.parametrize(("answers", "tokens"), [(512, 36.4), (256, 1024.0), (4, 8.0), (2, 1.0)])
def test_a_trial_is_no_larger_than_a_step_and_than_needed(parameters, answers, tokens):
    rows, length = trial._size(parameters, answers, tokens)
    assert 1 <= rows <= answers and 1 <= length <= round(tokens)
    step = trial.COST * parameters * answers * round(tokens)
    if step <= trial.FLOPS:
        assert (rows, length) == (answers, round(tokens))
    elif rows > trial.LEAST[0] and length > trial.LEAST[1]:
        assert trial.COST * parameters * rows * length <= trial.FLOPS
