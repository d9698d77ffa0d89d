"""The log of training groups: what it keeps, what a resumed run replaces, and how `advise` finds it."""

import json

import numpy as np
import pytest

from softmax_rewards.integrations import advise, group_log, reward_log
from softmax_rewards.integrations.group_log import GroupLog


def columns(rewards, **more):
    rewards = np.array(rewards, dtype=float)
    return {"reward": rewards, "correct": (rewards > 1).astype(int), **more}


def rows(log):
    return [json.loads(line) for line in log.file.read_text(encoding="utf-8").splitlines()]


def groups(log):
    return [(row["step"], row["group"], row["reward"]) for row in rows(log)]


def test_every_batch_of_a_step_has_groups_of_its_own(tmp_path):
    log = GroupLog(tmp_path)
    log.append(0, 2, columns([1.1, 0.0, 0.0, 0.1]))
    log.append(0, 2, columns([0.0, 1.1]))
    log.append(4, 2, columns([0.1, 0.1]))
    assert (
        groups(log)
        == [(0, 0, 1.1), (0, 0, 0.0), (0, 1, 0.0), (0, 1, 0.1), (0, 2, 0.0), (0, 2, 1.1)] + [(4, 0, 0.1)] * 2
    )
    read = reward_log.read(tmp_path / "training_groups", correct="correct").by_size[2]
    assert read.counts.sum() == 4 and read.rewards[read.correct].tolist() == [1.1]  # the two right groups are alike


def test_single_precision_is_written_as_the_number_it_stands_for(tmp_path):
    log = GroupLog(tmp_path)
    log.append(0, 2, columns(np.float32([1.1, 0.1]), weight=np.array([2 / 3, -2 / 3])))
    assert [row["reward"] for row in rows(log)] == [1.1, 0.1] and rows(log)[0]["weight"] == 0.6666667


def test_an_answer_without_a_reward_is_left_out_and_a_missing_part_is_null(tmp_path):
    log = GroupLog(tmp_path)
    own = {"accuracy": np.array([np.nan, np.nan, 0.0, 1.0]), "step": np.full(4, 7.0)}  # a reward function's name
    log.append(0, 2, columns([0.1, np.nan, 0.0, 1.1], **own))
    assert groups(log) == [(0, 0, 0.1), (0, 1, 0.0), (0, 1, 1.1)]
    assert [row["accuracy"] for row in rows(log)] == [None, 0.0, 1.0]


@pytest.mark.parametrize(("resumed", "kept"), [(0, 0), (1, 2), (2, 4), (9, 4)])
def test_a_resumed_run_replaces_the_steps_it_takes_again(tmp_path, resumed, kept):
    first = GroupLog(tmp_path)
    for step in (0, 1):
        first.append(step, 2, columns([1.1, step / 10]))
    with first.file.open("a", encoding="utf-8") as file:
        file.write('{"step": 2, "gro')  # an interruption
    before = first.file.read_text(encoding="utf-8").splitlines()[:kept]
    second = GroupLog(tmp_path)
    second.append(resumed, 2, columns([0.0, 0.0]))
    lines = second.file.read_text(encoding="utf-8").splitlines()
    assert lines[:kept] == before
    assert [json.loads(line)["step"] for line in lines[kept:]] == [resumed] * 2


def test_a_trainer_that_trains_again_begins_again(tmp_path):
    log = GroupLog(tmp_path)
    for step in (0, 1, 0):
        log.append(step, 2, columns([1.1, 0.0]))
    assert [row["step"] for row in rows(log)] == [0, 0]


def test_advise_reads_it_instead_of_the_completions_beside_it(tmp_path, capsys):
    """An evaluation has filled the completions with held-out answers, which are all right."""
    completions = tmp_path / "completions"
    completions.mkdir()
    held_out = [{"step": 1, "prompt": "p", "completion": f"{i}", "accuracy": 1.0, "advantage": 0.0} for i in range(2)]
    file = completions / "completions_00001.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in held_out), encoding="utf-8")
    assert group_log.preferred(completions) == completions
    GroupLog(tmp_path).append(0, 2, columns([1.1, 0.0, 0.0, 0.1]))
    own = tmp_path / "training_groups"
    assert [group_log.preferred(path) for path in (tmp_path, completions, own, file)] == [own, own, own, file]
    advise.main([str(completions), "--correct", "correct"])
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first == f"Reads {own}, the groups that were trained on, instead of {completions}."
    assert second.startswith("plain log: 2 groups. Reward: reward. Right: column correct.")
