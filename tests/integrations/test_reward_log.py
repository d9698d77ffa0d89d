"""Reward logs: every layout as its trainer writes it, and files that are wrong."""

import csv
import json
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

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


def test_a_trl_log_without_any_reward_is_refused(tmp_path):
    rows = trl(1, ["p"], [None, None], [None, None])
    with pytest.raises(ValueError, match="no reward among accuracy_reward, format_reward"):
        reward_log.read(save(rows, tmp_path / "log.parquet"))
    with pytest.raises(ValueError, match="no reward among accuracy_reward"):
        reward_log.read(tmp_path / "log.parquet", reward="accuracy_reward")


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


def test_a_rollout_is_judged_by_acc_only_if_every_file_can(tmp_path):
    """Old: the first file decided, and a later file without `acc` was refused."""
    said = set()
    for place, second in enumerate(({}, {"acc": [None, 1]}, {"acc": [0.5, 1]})):
        for first_name, second_name in (("1", "2"), ("2", "1")):
            folder = tmp_path / f"{place}-{first_name}"
            folder.mkdir()
            save(verl(int(first_name), [("p", 0.2), ("p", 1.0)], acc=[True, False]), folder / f"{first_name}.jsonl")
            save(verl(int(second_name), [("p", 0.2), ("p", 1.0)], **second), folder / f"{second_name}.jsonl")
            log = reward_log.read(folder)
            assert log.inferred and log.right == "reward above 0.6, the middle of the rewards seen"
            (note,) = log.notes
            assert note.startswith("Column acc is not used as the verdict: ") and f"{second_name}.jsonl, row 1" in note
            said.add(note.split(": ", 2)[2])
    assert said == {f"{cell}; allowed: 0 or 1, false or true." for cell in (None, 0.5)}


def test_verl_uids_keep_two_draws_of_a_prompt_apart(tmp_path):
    scores = [("p", 1.0), ("p", 0.0), ("p", 0.0), ("p", 0.0)]
    keys = save(verl(1, scores, uid=["u-1_0_0", "u-1_1_0", "v-2_0_0", "v-2_1_0"]), tmp_path / "keys.jsonl")
    assert plain(reward_log.read(keys).by_size[2]) == {
        ((1.0, 0.0), (True, False)): 1,
        ((0.0, 0.0), (False, False)): 1,
    }
    of_samples = save(verl(1, scores, uid=list("abcd")), tmp_path / "samples.jsonl")
    assert list(reward_log.read(of_samples).by_size) == [4]


# ---- documented columns, and what cannot be used -----------------------------------------------


def test_the_documented_columns_of_a_plain_log_are_used_without_options(tmp_path):
    """Old: `correct` was read only with --correct, and this log reported 25 % success."""
    rows = [{"group": g, "reward": r, "correct": c} for g in range(30) for r, c in ((1, 1), (0.2, 1), (0, 0), (0, 0))]
    log = reward_log.read(save(rows, tmp_path / "log.csv"))
    assert (log.right, log.inferred) == ("column correct", False) and log.by_size[4].correct.mean() == 0.5


def test_a_default_column_that_some_rows_lack_is_named(tmp_path):
    rows = [{"group": 1, "reward": r, "length": 3} for r in (0, 1)]
    save(rows, tmp_path / "1.csv")
    save([{"group": 1, "reward": r, "correct": 1} for r in (0, 1)], tmp_path / "2.csv")
    log = reward_log.read(tmp_path)
    assert log.inferred and log.answers == {}
    assert [note.split(":")[0] for note in log.notes] == [
        "Column correct is not used as the verdict",
        "Column length is not used as the length",
    ]
    with pytest.raises(ValueError, match=r"1\.csv: --correct: unknown column 'correct'"):
        reward_log.read(tmp_path, correct="correct")


@pytest.mark.parametrize("texts", [("True", "False"), ("true", "false"), ("1", "0")])
def test_truth_values_as_text_are_rewards_and_verdicts(tmp_path, texts):
    yes, no = texts
    path = tmp_path / "log.csv"
    path.write_text(f"group,reward,correct\na,{yes},{no}\na,{no},{yes}\n", encoding="utf-8")
    assert plain(reward_log.read(path).by_size[2]) == {((1.0, 0.0), (False, True)): 1}


def test_decimal_columns_of_parquet(tmp_path):
    rows = [{"group": 0, "reward": Decimal(r), "correct": Decimal(c)} for r, c in (("0.10", "0"), ("1.10", "1"))]
    path = save(rows, tmp_path / "log.parquet")
    assert "decimal128(3, 2)" in str(parquet.read_schema(path).field("reward").type)
    assert plain(reward_log.read(path).by_size[2]) == {((1.1, 0.1), (True, False)): 1}


def test_a_trl_column_is_a_reward_if_all_files_have_numbers_there(tmp_path):
    for step, extra in ((1, [None, None]), (2, ["x", "7"])):
        rows = trl(step, ["p"], [1.0, 0.0], hint=extra)
        save(rows, tmp_path / f"completions_0000{step}.parquet")
    log = reward_log.read(tmp_path)
    assert log.reward == "accuracy_reward + format_reward"
    assert any(note.startswith("Column hint is not used as a reward: ") and "'x'" in note for note in log.notes)


def test_a_trl_log_without_advantages_says_that_the_sum_is_not_checked(tmp_path):
    rows = [{k: v for k, v in row.items() if k != "advantage"} for row in trl(1, ["p"], [1.0, 0.0])]
    assert "no advantages" in " ".join(reward_log.read(save(rows, tmp_path / "log.parquet")).notes)
    assert "no advantages" not in " ".join(reward_log.read(tmp_path / "log.parquet", reward="accuracy_reward").notes)


# ---- evaluations of TRL -------------------------------------------------------------------------


def evaluated(folder, step, *evaluations):
    """TRL's folder of a run that evaluated at some of its steps, 1 to 3. The buffer is written again after step 2."""
    completions = folder / "completions"
    completions.mkdir(parents=True)
    history = [{"step": 1, "reward": 0.5}, *({"step": at, "eval_reward": 0.5} for at in evaluations)]
    if step is not None:
        state = json.dumps({"global_step": step, "log_history": history})
        (folder / "trainer_state.json").write_text(state, encoding="utf-8")
    held_out = trl(2, ["held out"], [1.0, 1.0], [1.0, 0.0])
    for number, rows in enumerate((trl(1, ["p"], [1.0, 0.0]), held_out, held_out, trl(4, ["q"], [0.0, 0.0])), 1):
        save([{**row, "step": number} for row in rows], completions / f"completions_{number:05d}.parquet")
    return completions


def test_answers_of_trl_evaluations_are_left_out(tmp_path):
    log = reward_log.read(evaluated(tmp_path, 4, 2))
    assert log.by_size[2].rewards.tolist() == [[0.0, 0.0], [1.0, 0.0]]
    assert log.notes == ("Groups of evaluations, left out: 1, first written at step 2.",)


@pytest.mark.parametrize(("step", "said"), [(None, "No trainer_state.json says"), (3, "ends at step 3 and knows no")])
def test_where_the_state_does_not_tell_evaluations_they_are_counted_and_it_is_said(tmp_path, step, said):
    log = reward_log.read(evaluated(tmp_path, step))
    assert log.by_size[2].counts.sum() == 3 and len(log.notes) == 1 and said in log.notes[0]


def test_a_checkpoint_tells_evaluations_too_and_a_damaged_state_is_named(tmp_path):
    completions = evaluated(tmp_path, 4, 2)
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "trainer_state.json").rename(tmp_path / "checkpoint-4" / "trainer_state.json")
    (tmp_path / "trainer_state.json").write_text('{"log_his', encoding="utf-8")
    log = reward_log.read(completions / "completions_00001.parquet")
    assert log.by_size[2].counts.sum() == 1
    assert reward_log.read(completions).by_size[2].counts.sum() == 2
    assert "trainer_state.json: no log_history" in reward_log.read(completions).notes[0]


def test_a_log_of_evaluations_alone_is_refused(tmp_path):
    evaluated(tmp_path, 4, 2)
    with pytest.raises(ValueError, match=r"no samples of training; .* left out: 1, first written at step 2"):
        reward_log.read(tmp_path / "completions" / "completions_00002.parquet")


# ---- runs that were stopped and resumed ---------------------------------------------------------


def plain_rows(*steps, reward=1):
    """A whole group of three at each step, with the first sample right."""
    return [{"group": 7, "reward": r, "step": step} for step in steps for r in (reward, 0, 0)]


def test_steps_that_a_resumed_run_wrote_again_count_once(tmp_path):
    """Old: the two writings became one group of six."""
    path = save(plain_rows(1, 2, 3) + plain_rows(2, reward=0.5), tmp_path / "log.jsonl")
    log = reward_log.read(path)
    # Step 3 came from weights that were given up when the run went back to step 2.
    assert plain(log.by_size[3]) == {((1.0, 0.0, 0.0), (True, False, False)): 1, ((0.5, 0, 0), (False,) * 3): 1}
    assert log.notes == (
        "The run was resumed, and the log has steps 2 to 3 twice: the later samples count, "
        "6 earlier ones are left out.",
    )


def test_rows_in_any_order_are_no_resumed_run(tmp_path):
    rows = plain_rows(*range(40))
    mixed = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    for name, log in (("mixed", mixed), ("backward", rows[::-1])):
        read = reward_log.read(save(log, tmp_path / f"{name}.jsonl"))
        assert read.by_size[3].counts.tolist() == [40] and read.notes == ()


def test_workers_that_write_one_file_are_no_resumed_run(tmp_path):
    rows = [{**row, "group": worker} for step in (1, 2) for worker in "ab" for row in plain_rows(step)]
    late = rows[:3] + rows[6:9] + rows[3:6] + rows[9:]
    log = reward_log.read(save(late, tmp_path / "log.jsonl"))
    assert log.by_size[3].counts.tolist() == [4] and log.notes == ()


def test_files_of_several_workers_are_counted_and_it_is_said(tmp_path):
    for name in "ab":
        save(plain_rows(1, 2, 3 if name == "b" else 2), tmp_path / f"{name}.jsonl")
    assert reward_log.read(tmp_path).notes == (
        "Several files have steps 1 to 2: the groups of every file are counted.",
    )


@pytest.mark.parametrize("names", [("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a")])
def test_of_overlapping_files_the_one_that_gets_further_counts(tmp_path, names):
    """Parts of one run: steps 1 to 5, then from 4 and soon killed, then from 2 to 6."""
    for name, steps, score in zip(names, (range(1, 6), (4, 5), range(2, 7)), (0.1, 0.2, 0.3), strict=True):
        rows = [row for step in steps for row in verl(step, [("p", score), ("p", 0.0)])]
        save(rows, tmp_path / f"{name}.jsonl")
    log = reward_log.read(tmp_path)
    assert [(r[0], n) for r, n in zip(log.by_size[2].rewards, log.by_size[2].counts, strict=True)] == [
        (0.1, 1),
        (0.3, 5),
    ]
    assert "has steps 2 to 5 twice" in log.notes[0] or "has steps 1 to 5 twice" in log.notes[0]


def test_the_rest_of_a_killed_run_is_named(tmp_path):
    rows = [json.dumps(row) + "\n" for row in verl(1, [("p", 1.0), ("p", 0.0)])]
    (tmp_path / "1.jsonl").write_text("".join(rows), encoding="utf-8")
    (tmp_path / "2.jsonl").write_text("".join(rows) + rows[0][:20], encoding="utf-8")
    (tmp_path / "3.jsonl").touch()
    log = reward_log.read(tmp_path)
    assert log.by_size[2].counts.sum() == 1  # step 1, in the later of both files
    assert log.notes[:2] == (
        "Files without rows: 3.jsonl.",
        f"Last line left out, because it was cut short: {tmp_path / '2.jsonl'}, row 3.",
    )
    (tmp_path / "2.jsonl").write_text(rows[0][:20] + "\n" + rows[0], encoding="utf-8")
    with pytest.raises(ValueError, match=r"2\.jsonl, row 1: not JSON"):
        reward_log.read(tmp_path)


@pytest.mark.parametrize("end", ["b,1", 'b,1,"', "b"])
def test_a_csv_whose_last_line_was_cut_short(tmp_path, end):
    path = tmp_path / "log.csv"
    path.write_text("group,reward,correct\na,1,1\na,0,0\n" + end, encoding="utf-8")
    log = reward_log.read(path)
    assert list(log.by_size) == [2] and log.notes == (f"Last line left out, because it was cut short: {path}, row 3.",)
    path.write_text(f"group,reward,correct\na,1,1\n{end}\na,0,0", encoding="utf-8")
    with pytest.raises(ValueError, match=r"row 2: |line 3: not CSV|line 4: not CSV"):
        reward_log.read(path)


def test_the_last_parquet_of_a_killed_run(tmp_path):
    for step in (9, 10):
        path = save(trl(step, ["p"], [1.0, 0.0]), tmp_path / f"completions_{step}.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    log = reward_log.read(tmp_path)
    assert log.by_size[2].counts.sum() == 1 and log.notes[0].startswith(f"Last file left out: {path}: not a parquet")
    path.rename(tmp_path / "completions_8.parquet")
    with pytest.raises(ValueError, match=r"completions_8\.parquet: not a parquet file"):
        reward_log.read(tmp_path)


# ---- files beside the logs ----------------------------------------------------------------------


def test_hidden_and_other_files_beside_the_log(tmp_path):
    for step in (9, 10):
        save(trl(step, ["p"], [1.0, 0.0]), tmp_path / f"completions_{step:05d}.parquet")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "a folder.csv").mkdir()
    for name in ("._completions_00009.parquet", "summary.csv", ".ipynb_checkpoints/x.parquet", "README.md"):
        (tmp_path / name).write_text("no log", encoding="utf-8")
    log = reward_log.read(tmp_path)
    assert log.by_size[2].counts.sum() == 2 and log.notes[0] == "Files that TRL did not write, left out: summary.csv."


@pytest.mark.parametrize(("separator", "said"), [(";", "';'"), ("\t", "tabs"), ("|", "'|'")])
def test_another_separator_is_named(tmp_path, separator, said):
    path = tmp_path / "log.csv"
    path.write_text(f"group{separator}reward\na{separator}1,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(f"{path}: columns separated by {said}; allowed: by commas")):
        reward_log.read(path)
    path.write_text('group,reward\na,"1,1"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"'1,1'; allowed: .*, with a point in decimals"):
        reward_log.read(path)


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
        ("log.csv", HEADER + "a,1e13,0\n", r"column reward: '1e13'; allowed: a finite number from -1e\+12 to 1e\+12"),
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
