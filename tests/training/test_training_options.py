"""Runs with a hidden budget, with dynamic sampling and with a placebo reward: exact, and shared by ablations."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from softmax_rewards.common.randomness import numpy_stream
from softmax_rewards.data import dataset
from softmax_rewards.training import trainer
from softmax_rewards.training.step import prompt_indices

STEPS = 2
OPTIONS = {
    "plain": {},
    "one-attempt": {"hidden_budget": 1.0},
    "never-over": {"hidden_budget": 1e-12},
    "refill": {"hidden_budget": 0.5, "max_num_gen_batches": 3},
    "placebo": {"placebo": 0.3},
}
FILES = ("metrics.csv", "evaluations.csv", "episodes.parquet", "samples.jsonl", "model/model.safetensors")


def configured(tiny, name, **changes):
    run, data, base = tiny
    settings = dataclasses.replace(run.training, steps=STEPS, checkpoint_every=1, **OPTIONS[name])
    return dataclasses.replace(run, training=settings, **changes), data, base


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """A function: name of the options → the folder of a finished run, made once."""
    folder = tmp_path_factory.mktemp("options")

    def make(name):
        if not (folder / name).exists():
            trainer.train(*configured(tiny, name), folder / name)
        return folder / name

    return make


def tables(folder):
    metrics, evaluations = (pd.read_csv(folder / f"{name}.csv") for name in ("metrics", "evaluations"))
    return metrics, evaluations, pd.read_parquet(folder / "episodes.parquet")


@pytest.mark.parametrize("name", ["refill", "placebo"])
def test_a_resumed_run_ends_with_the_same_bytes(tiny, trained, tmp_path, interrupted_at, name):
    with interrupted_at(2):
        trainer.train(*configured(tiny, name), tmp_path)
    trainer.train(*configured(tiny, name), tmp_path)
    for file in FILES:
        assert (trained(name) / file).read_bytes() == (tmp_path / file).read_bytes(), file


def test_a_budget_that_nobody_exceeds_changes_nothing(trained):
    plain, never = trained("plain"), trained("never-over")
    for file in FILES[2:]:
        assert (plain / file).read_bytes() == (never / file).read_bytes(), file
    for one, other in zip(tables(plain)[:2], tables(never)[:2], strict=True):
        assert "success_without_budget" not in one
        assert one.equals(other[one.columns]) and (other["success_without_budget"] == other["success"]).all()


def test_with_a_loss_of_one_only_first_attempts_are_right(trained):
    metrics, evaluations, episodes = tables(trained("one-attempt"))
    over = episodes["attempts"] > 1
    assert over.any() and not over.all()
    assert not episodes.loc[over, ["correct", "formatted", "reward"]].any(axis=None)
    plain_metrics, plain_evaluations, plain = tables(trained("plain"))
    first = [table[table["step"] == 1].reset_index() for table in (plain, episodes)]
    columns = ["puzzle", "attempts", "length", "finished"]
    assert first[0][columns].equals(first[1][columns])
    kept = first[0]["attempts"] <= 1
    assert first[0].loc[kept, ["reward", "correct"]].equals(first[1].loc[kept, ["reward", "correct"]])
    # At step 0 the policy is the base model in both, so what it writes is the same.
    assert evaluations.loc[0, "success_without_budget"] == plain_evaluations.loc[0, "success"]
    assert evaluations.loc[0, "format"] < plain_evaluations.loc[0, "format"]
    assert metrics.loc[0, "success_without_budget"] == plain_metrics.loc[0, "success"]
    for name in ("attempts", "self_checks", "gave_up", "length"):
        assert evaluations.loc[0, name] == plain_evaluations.loc[0, name]
    sample = json.loads((trained("one-attempt") / "samples.jsonl").read_text().splitlines()[0])
    assert "</think>" in sample["completion"]  # the text as the policy wrote it


@pytest.mark.parametrize("name", ["refill", "placebo"])
def test_ablations_share_the_draws(tiny, trained, tmp_path, name):
    trainer.train(*configured(tiny, name, weighting={"scheme": "linear"}), tmp_path)
    ours, theirs = (tables(folder) for folder in (trained(name), tmp_path))
    first = [table[2][table[2]["step"] == 1].drop(columns="weight") for table in (ours, theirs)]
    assert first[0].equals(first[1])
    assert ours[1].iloc[0].equals(theirs[1].iloc[0])


def test_refilled_steps_count_what_was_sampled(tiny, trained):
    run, data, _ = configured(tiny, "refill")
    metrics, _, episodes = tables(trained("refill"))
    size, groups = run.training.group_size, run.training.prompts_per_step
    puzzles = len(dataset.read(data, "train"))
    rounds = (metrics["sampled"] // (groups * size)).tolist()
    assert (metrics["sampled"] % (groups * size) == 0).all() and max(rounds) > 1
    assert len(episodes) == STEPS * groups * size
    spent = metrics["tokens"].diff().fillna(metrics["tokens"])
    kept = episodes.groupby("step")["length"].sum().to_numpy()
    assert ((spent > kept) == (np.array(rounds) > 1)).all()
    for step, used in enumerate(rounds):
        offered = [prompt_indices(run.seed, step, groups, puzzles, batch).tolist() for batch in range(used)]
        table = episodes[episodes["step"] == step + 1]
        by_group = table.groupby("group")
        chosen, contrast = by_group["puzzle"].first().tolist(), by_group["reward"].nunique() > 1
        assert set(chosen) <= {puzzle for batch in offered for puzzle in batch}
        assert contrast.is_monotonic_decreasing
        assert contrast.all() or used == run.training.max_num_gen_batches
        assert set(np.array(chosen)[~contrast]) <= set(offered[0])


def test_further_prompts_are_distinct_and_differ_from_step_to_step():
    batches = [prompt_indices(0, 3, 20, 100, batch) for batch in (1, 2, 3)]
    assert len(set(np.concatenate(batches))) == 60
    assert set(batches[0]) != set(prompt_indices(0, 4, 20, 100, 1))
    assert len(prompt_indices(0, 3, 20, 7, 1)) == 20  # more prompts than puzzles


def test_a_placebo_decides_the_weights_and_not_the_logged_verdicts(tiny, trained):
    run = configured(tiny, "placebo")[0]
    metrics, _, episodes = tables(trained("placebo"))
    plain_metrics, _, plain = tables(trained("plain"))
    first, plain_first = (table[table["step"] == 1] for table in (episodes, plain))
    assert first.drop(columns="weight").equals(plain_first.drop(columns="weight"))
    assert metrics.loc[0, ["success", "format", "reward"]].equals(plain_metrics.loc[0, ["success", "format", "reward"]])
    shape = (run.training.prompts_per_step, run.training.group_size)
    rewards = 1.1 * (numpy_stream(run.seed, "placebo", 0).random(shape) < 0.3)
    powers = np.exp(rewards / run.weighting["tau"])
    expected = powers / powers.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(first["weight"].to_numpy().reshape(shape), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["plain", "refill"])
def test_every_column_is_described(trained, name):
    described = Path("docs/run-tables.md").read_text()
    for table in (*tables(trained(name)), pd.read_csv(trained(name) / "timing.csv")):
        assert [column for column in table if f"`{column}`" not in described] == []
