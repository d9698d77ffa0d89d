"""Reward logs: every layout as its trainer writes it, and files that are wrong."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from softmax_rewards.integrations import reward_log

GROUPS = {"a": [(1.1, 1), (0.1, 0), (0.0, 0)], "b": [(0.0, 0), (0.1, 0), (0.0, 0)], "c": [(0.1, 0), (0.0, 0), (0.0, 0)]}
ROWS = [{"group": name, "reward": r, "correct": c} for name, pairs in GROUPS.items() for r, c in pairs]


def save(rows, path):
    """The rows as a file of the kind its suffix says."""
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


def plain(groups):
    """{(rewards, right): count} of a population."""
    rows = zip(groups.rewards.tolist(), groups.correct.tolist(), groups.counts.tolist(), strict=True)
    return {(tuple(rewards), tuple(right)): count for rewards, right, count in rows}


def trl(step, prompts, accuracies, formats=None, scale=1.0, **extra):
    """Rows as GRPOTrainer writes them: 2 samples a prompt, advantages as its default computes them."""
    formats = [0.0] * len(accuracies) if formats is None else formats
    pairs = np.nan_to_num(np.array([accuracies, formats], dtype=float)).T @ [1.0, scale]
    mean, std = (np.repeat(f(pairs.reshape(-1, 2)), 2) for f in (lambda x: x.mean(1), lambda x: x.std(1, ddof=1)))
    advantages = ((pairs - mean) / (std + 1e-4)).astype(np.float32)
    return [
        {
            "step": step,
            "prompt": prompts[i // 2],
            "completion": f"answer {step} {i}",
            "accuracy_reward": accuracies[i],
            "format_reward": formats[i],
            **{name: values[i] for name, values in extra.items()},
            "advantage": float(advantages[i]),
        }
        for i in range(len(accuracies))
    ]


# ---- plain --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_plain_log_in_every_kind_of_file(tmp_path, suffix, shuffled):
    rows = [ROWS[i] for i in np.random.default_rng(0).permutation(len(ROWS))] if shuffled else ROWS
    log = reward_log.read(save(rows, tmp_path / f"log{suffix}"), correct="correct")
    assert log.layout == "plain" and log.right == "column correct" and list(log.by_size) == [3]
    right, wrong = (True, False, False), (False, False, False)
    assert plain(log.by_size[3]) == {((1.1, 0.1, 0.0), right): 1, ((0.1, 0.0, 0.0), wrong): 2}


def test_without_a_correct_column_the_middle_of_the_rewards_decides(tmp_path):
    rows = [{"group": 1, "reward": reward} for reward in (1.0, 0.5, 0.0, 0.51)]
    log = reward_log.read(save(rows, tmp_path / "log.csv"))
    assert log.by_size[4].correct.tolist() == [[True, True, False, False]] and "above 0.5" in log.right


def test_other_names_and_a_weighted_sum(tmp_path):
    rows = [{"id": 7, "acc": a, "form": f, "ok": ok} for a, f, ok in ((1, 1, "True"), (0, 1, "false"))]
    log = reward_log.read(save(rows, tmp_path / "log.csv"), "id", "acc,form=0.1", "ok")
    assert plain(log.by_size[2]) == {((1.1, 0.1), (True, False)): 1} and log.reward == "acc + 0.1·form"


def test_sums_that_differ_by_rounding_are_one_reward(tmp_path):
    rows = [{"group": 0, "a": 0.1, "b": 0.2}, {"group": 0, "a": 0.3, "b": 0.0}]
    log = reward_log.read(save(rows, tmp_path / "log.jsonl"), reward="a,b")
    assert np.ptp(log.by_size[2].rewards) == 0


def test_lengths_of_a_plain_log_are_a_column(tmp_path):
    rows = [row | {"length": 10 * place, "words": place} for place, row in enumerate(ROWS)]
    path = save(rows, tmp_path / "log.csv")
    answers = reward_log.read(path, correct="correct").answers[3]
    assert answers.lengths.tolist() == [10.0 * place for place in range(9)]
    assert answers.rewards.tolist() == [row["reward"] for row in ROWS] and answers.correct.sum() == 1
    assert reward_log.read(path, length="words").answers[3].lengths.tolist() == list(range(9))
    assert reward_log.read(save(ROWS, tmp_path / "without.csv")).answers == {}
    with pytest.raises(ValueError, match="--length: unknown column 'chars'"):
        reward_log.read(path, length="chars")
    rows[2]["length"] = -1
    with pytest.raises(ValueError, match="row 3, column length: '-1'; allowed: a number >= 0"):
        reward_log.read(save(rows, path))


def test_lengths_of_trl_and_verl_are_characters(tmp_path):
    rows = trl(1, ["p"], [1.0, 0.0])
    rows[0]["completion"], rows[1]["completion"] = "12", "four"
    assert reward_log.read(save(rows, tmp_path / "log.parquet")).answers[2].lengths.tolist() == [2, 4]
    for row, text in zip(rows, ("abc", "defgh"), strict=True):
        row["completion"] = [{"role": "assistant", "content": text}, {"role": "tool", "content": None}]
    assert reward_log.read(save(rows, tmp_path / "chat.parquet")).answers[2].lengths.tolist() == [3, 5]
    rows = [
        {"input": "q", "output": text, "gts": "", "score": score, "step": 1} for text, score in (("a", 1), ("bcd", 0))
    ]
    assert reward_log.read(save(rows, tmp_path / "1.jsonl")).answers[2].lengths.tolist() == [1, 3]


def test_right_samples_need_not_have_the_highest_reward(tmp_path):
    rows = [{"group": 0, "reward": 1, "correct": 0}, {"group": 0, "reward": 0, "correct": 1}]
    log = reward_log.read(save(rows, tmp_path / "log.csv"), correct="correct")
    assert plain(log.by_size[2]) == {((1.0, 0.0), (False, True)): 1}


def test_sizes_are_kept_apart_and_single_samples_left_out(tmp_path):
    rows = [{"group": g, "reward": g % 2} for g, size in enumerate((1, 2, 2, 3)) for _ in range(size)]
    log = reward_log.read(save(rows, tmp_path / "log.csv"))
    assert {size: int(groups.counts.sum()) for size, groups in log.by_size.items()} == {2: 2, 3: 1}
    assert log.single == 1


def test_steps_and_files_keep_groups_of_one_name_apart(tmp_path):
    rows = [{"group": 0, "reward": r, "step": step} for step in (1, 2) for r in (1, 0)]
    for name in ("a.jsonl", "b.jsonl"):
        save(rows, tmp_path / name)
    log = reward_log.read(tmp_path)
    assert plain(log.by_size[2]) == {((1.0, 0.0), (True, False)): 4}


# ---- TRL ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_trl_completions(tmp_path, suffix):
    rows = trl(3, ["p", "q", "p"], [1.0, 0.0, 0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    log = reward_log.read(save(rows, tmp_path / f"completions_00003{suffix}"))
    assert (log.layout, log.reward) == ("TRL", "accuracy_reward + format_reward")
    # The prompt drawn twice is two groups.
    wrong, right = (False, False), (True, False)
    assert plain(log.by_size[2]) == {((2.0, 0.0), right): 1, ((1.0, 0.0), wrong): 2}


def test_trl_prompts_of_messages_and_the_folder_of_a_run(tmp_path):
    for step in (1, 2):
        prompts = [[{"role": "user", "content": text}] for text in "pq"]
        save(trl(step, prompts, [1.0, 0.0, 0.0, 0.0]), tmp_path / f"completions_{step:05d}.parquet")
    log = reward_log.read(tmp_path, reward="accuracy_reward", correct="accuracy_reward")
    assert plain(log.by_size[2]) == {((1.0, 0.0), (True, False)): 2, ((0.0, 0.0), (False, False)): 2}


def test_trl_writes_a_batch_again_at_its_next_update(tmp_path):
    rows = trl(1, ["p", "q"], [1.0, 0.0, 0.0, 0.0])
    save(rows, tmp_path / "completions_00001.parquet")
    save([{**row, "step": 2} for row in rows], tmp_path / "completions_00002.parquet")
    log = reward_log.read(tmp_path)
    assert log.repeated == 2 and log.by_size[2].counts.sum() == 2


def test_trl_missing_values_count_as_zero_and_unscored_samples_are_left_out(tmp_path):
    rows = trl(1, ["p", "q"], [1.0, None, None, 0.0], [0.0, 1.0, None, 0.0])
    log = reward_log.read(save(rows, tmp_path / "log.parquet"), reward="accuracy_reward,format_reward")
    assert (log.unscored, log.single) == (1, 1) and log.by_size[2].rewards.tolist() == [[1.0, 1.0]]


def test_trl_weights_and_extra_columns_are_found_out_by_the_advantages(tmp_path):
    accuracies, formats = [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]
    weighted = save(trl(1, ["p", "q"], accuracies, formats, scale=0.1), tmp_path / "weighted.parquet")
    with pytest.raises(
        ValueError, match="accuracy_reward, format_reward does not give the advantages; allowed: --reward"
    ):
        reward_log.read(weighted)
    log = reward_log.read(weighted, reward="accuracy_reward,format_reward=0.1")
    assert log.by_size[2].rewards.tolist() == [[0.1, 0.0], [1.0, 0.1]]
    extra = trl(1, ["p", "q"], accuracies, length=[5, 90, 3, 8], answer=["x", "y", "z", "w"])
    with pytest.raises(ValueError, match="accuracy_reward, format_reward, length does not give"):
        reward_log.read(save(extra, tmp_path / "extra.parquet"))


# ---- verl ---------------------------------------------------------------------------------------


def verl(step, scores, **extra):
    more = [dict(zip(extra, values, strict=True)) for values in zip(*extra.values(), strict=True)] or [{}] * len(scores)
    shared = {"output": "o", "gts": None, "step": step}
    return [{"input": name, "score": score, **shared, **row} for (name, score), row in zip(scores, more, strict=True)]


def test_verl_rollouts_in_any_order(tmp_path):
    scores = [("p", 1.0), ("q", -1.0), ("p", -1.0), ("q", -1.0)]
    for step in (1, 10):
        save(verl(step, scores), tmp_path / f"{step}.jsonl")
    log = reward_log.read(tmp_path)
    assert (log.layout, log.reward) == ("verl", "score")
    assert plain(log.by_size[2]) == {((1.0, -1.0), (True, False)): 2, ((-1.0, -1.0), (False, False)): 2}


@pytest.mark.parametrize(("acc", "said"), [([True, False], "column acc"), ([0.5, 0.0], "reward above 0.6")])
def test_verl_acc_says_what_is_right_where_it_is_0_or_1(tmp_path, acc, said):
    log = reward_log.read(save(verl(1, [("p", 0.2), ("p", 1.0)], acc=acc), tmp_path / "1.jsonl"))
    assert log.right.startswith(said)
    assert log.by_size[2].correct.tolist() == [[False, True]] if said == "column acc" else [[True, False]]


# ---- wrong files --------------------------------------------------------------------------------

HEADER = "group,reward,correct\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("log.csv", HEADER + "a,1,0\na,nan,0\n", r"log.csv, row 2, column reward: 'nan'; allowed: a finite number"),
        ("log.csv", HEADER + "a,,0\n", r"row 1, column reward: ''; allowed"),
        ("log.csv", HEADER + "a,1_0,0\n", r"column reward: '1_0'"),
        ("log.csv", HEADER + "a,٣,0\n", r"column reward: '٣'"),
        ("log.csv", HEADER + "a,1e999,0\n", r"column reward: '1e999'"),
        ("log.csv", HEADER + "a,1e13,0\n", r"column reward: 1.*; allowed: a reward from -1e\+12 to 1e\+12"),
        ("log.csv", HEADER + "a,1,2\n", r"column correct: '2'; allowed: 0 or 1, false or true"),
        ("log.csv", HEADER + ",1,0\n", r"column group: ''; allowed: a name"),
        ("log.csv", HEADER + "a,1\n", r"row 1: 2 cells; allowed: 3, as in the header"),
        ("log.csv", HEADER + 'a,"1,0\n', r"line 2: not CSV"),
        ("log.csv", "group,reward,group\na,1,a\n", r"column 'group' occurs twice"),
        ("log.csv", "group,rewards,correct\na,1,0\n", r"--reward: unknown column 'reward' \(nearest: 'rewards'\)"),
        ("log.csv", HEADER, r"no rows; allowed: one or more"),
        ("log.csv", "", r"no rows"),
        ("log.jsonl", '{"group": 1, "reward": 1, "correct": 1}\n{"group": 1}\n', r"row 2: no column 'reward'; allowed"),
        ("log.jsonl", '{"group": 1, "reward": 1e400, "correct": 1}\n', r"column reward: inf"),
        (
            "log.jsonl",
            '{"group": 1, "reward": 1' + 400 * "0" + ', "correct": 1}\n',
            r"column reward: 10+\.\.\.; allowed",
        ),
        ("log.jsonl", '{"group": 1, "reward": NaN, "correct": 1}\n', r"column reward: nan"),
        ("log.jsonl", '{"group": 1, "reward": [1], "correct": 1}\n', r"column reward: \[1\]"),
        ("log.jsonl", '{"group": null, "reward": 1, "correct": 1}\n', r"column group: None"),
        ("log.jsonl", "[1]\n", r"row 1: \[1\]; allowed: one JSON object per line"),
        ("log.jsonl", "{'group': 1}\n", r"row 1: not JSON"),
        ("log.jsonl", "[" * 100_000 + "\n", r"row 1: not JSON"),
        ("log.parquet", "no", r"log.parquet: not a parquet file"),
        ("log.txt", "", r"its name ends in '.txt'; allowed: .csv, .jsonl, .parquet or a folder"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        reward_log.read(path, correct="correct")
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"group,reward\n\xff,1\n")
    with pytest.raises(ValueError, match="not text in UTF-8"):
        reward_log.read(path)


def test_a_missing_file_and_mixed_or_empty_folders(tmp_path):
    with pytest.raises(ValueError, match="none: no such file or folder"):
        reward_log.read(tmp_path / "none")
    with pytest.raises(ValueError, match=r"no files; allowed: one of \.csv"):
        reward_log.read(tmp_path)
    for name in ("a.csv", "b.jsonl"):
        save(ROWS, tmp_path / name)
    with pytest.raises(ValueError, match=r"\.csv and \.jsonl files"):
        reward_log.read(tmp_path)


@pytest.mark.parametrize("reward", ["", "reward=x", "reward,reward", "=1", "reward=inf"])
def test_a_wrong_sum(tmp_path, reward):
    with pytest.raises(ValueError, match="allowed: COLUMN or COLUMN=NUMBER"):
        reward_log.read(save(ROWS, tmp_path / "log.csv"), reward=reward)
