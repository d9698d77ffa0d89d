"""Logs of other trainers, made up with a planted effect, and what is said of them."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats as oracle

from softmax_rewards.integrations import imported

STEPS = [0, 10, 20, 40]
KEY = {"trl": "eval_rewards/accuracy/mean", "nested": "val-core/countdown/acc/mean@1", "csv": "success"}


def curve(gain, seed, noise=0.002):
    """Success at STEPS: 10 % at first, `gain` more at the end; seeds share what the puzzles bring."""
    rng = np.random.default_rng(seed)
    shared, own = rng.normal(0, 0.01), np.random.default_rng([seed, int(1e4 * (gain + 1))]).normal(0, noise, 4)
    return np.clip(0.1 + shared + gain * np.array(STEPS) / 40 + own, 0, 1)


def save(folder, layout, values, steps=STEPS):
    folder.mkdir(parents=True)
    points = list(zip(steps, map(float, values), strict=True))
    if layout == "trl":
        history = [{"step": step, KEY[layout]: value, "eval_loss": 0.0} for step, value in points]
        history[1:1] = [{"step": 5, "loss": 0.1, "rewards/accuracy/mean": 0.3}]
        text, name = json.dumps({"log_history": history, "global_step": 40}), "trainer_state.json"
    elif layout == "nested":
        rows = [{"step": step, "data": {KEY[layout]: value}} for step, value in points]
        rows[1:1] = [{"step": 5, "data": {"critic/score/mean": 0.2}}]
        text, name = "".join(json.dumps(row) + "\n" for row in rows), "run.jsonl"
    else:
        text, name = "step,success\n5,\n" + "".join(f"{step},{value!r}\n" for step, value in points), "log.csv"
    (folder / name).write_text(text, encoding="utf-8")


def write(root, layout, gains, seeds=6):
    for ablation, gain in gains.items():
        for seed in range(seeds):
            save(root / ablation / f"seed-{seed}", layout, curve(gain, seed))
    return root


GAINS = {"linear": 0.10, "softmax_centered": 0.20, "softmax": 0.02, "rloo": 0.101}


@pytest.mark.parametrize("layout", KEY)
def test_a_planted_effect_is_found_in_every_layout(tmp_path, layout):
    runs = imported.read(write(tmp_path, layout, GAINS), KEY[layout], [])
    assert [run.ablation for run in runs[::6]] == ["linear", "rloo", "softmax", "softmax_centered"]
    compared, judged = imported.judge(runs, ["softmax", "softmax_centered"], "tiny", "sums")
    verdict = dict(zip(judged["claim"], judged["verdict"], strict=True))
    assert verdict == {
        "gate": "supported", "softmax_centered": "supported", "softmax": "contradicted", "rloo": "contradicted",
    }  # fmt: skip
    assert "equivalent" in judged.set_index("claim").loc["rloo", "sentence"]
    assert set(compared["endpoint"]) == {"auc", "final"}


def test_the_figures_are_those_of_a_paired_t_test(tmp_path):
    compared, _ = imported.judge(imported.read(write(tmp_path, "trl", GAINS), KEY["trl"], []), ["softmax"], "m", "t")
    row = compared.set_index(["ablation", "endpoint"]).loc["softmax_centered", "auc"]
    pairs = [
        [np.trapezoid(curve(GAINS[ablation], seed), STEPS) / 40 for seed in range(6)]
        for ablation in ("softmax_centered", "linear")
    ]
    found = oracle.ttest_rel(*pairs)
    limits = found.confidence_interval()
    assert (row["delta"], row["low"], row["high"], row["p"]) == pytest.approx(
        (np.subtract(*pairs).mean(), *limits, found.pvalue)
    )
    assert row["family"] == "exploratory" and np.isnan(row["p_holm"])


def test_if_neither_the_baseline_nor_a_planned_ablation_learned_nothing_is_compared(tmp_path):
    """Old: nothing was compared if only the baseline had not learned, so no other weighting could win there."""
    runs = imported.read(write(tmp_path, "csv", {"linear": 0.0, "softmax": 0.2}), "success", [])
    _, judged = imported.judge(runs, ["softmax"], "m", "t")
    assert judged["verdict"].tolist() == ["supported"] * 2
    _, judged = imported.judge(runs, [], "m", "t")
    assert judged["verdict"].tolist() == ["not resolved"] * 2


def test_one_seed_resolves_nothing_and_an_ablation_planned_but_not_run_counts(tmp_path):
    runs = imported.read(write(tmp_path, "csv", {"linear": 0.1, "softmax": 0.2}, seeds=1), "success", [])
    compared, judged = imported.judge(runs, ["softmax", "raft"], "m", "t")
    assert set(judged["verdict"]) == {"not resolved"}
    assert compared.set_index("ablation").loc["raft", "seeds"] == 0


def test_a_log_whose_success_is_always_empty_has_none(tmp_path):
    folder = tmp_path / "linear" / "seed-0"
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text("step,success\n0,\n1,\n")
    with pytest.raises(ValueError, match=r"log\.csv: success: empty at every step; allowed: shares"):
        imported.read(tmp_path, "success", [])


def test_the_last_checkpoint_stands_for_a_run_without_a_final_state(tmp_path):
    for folder, last in (("checkpoint-9", 0.3), ("checkpoint-40", 0.7), ("checkpoint-best", 0.9)):
        save(tmp_path / "linear" / "seed-3" / folder, "trl", [0.1, 0.1, 0.1, last])
    (run,) = imported.read(tmp_path, KEY["trl"], [])
    assert (run.seed, run.evaluations["success"].iloc[-1]) == (3, 0.7)


def test_the_command_line(tmp_path, capsys):
    root = write(tmp_path / "mine", "nested", GAINS)
    imported.main([str(root), "--success", KEY["nested"], "--primary", "softmax", "--out", str(tmp_path / "out")])
    shown = capsys.readouterr().out
    assert "softmax_centered: supported. mine on val-core/countdown/acc/mean@1: mean success" in shown
    assert pd.read_csv(tmp_path / "out" / "verdicts.csv")["claim"].tolist() == [
        "gate",
        "rloo",
        "softmax",
        "softmax_centered",
    ]
    assert len(pd.read_csv(tmp_path / "out" / "comparisons.csv")) == 6
    with pytest.raises(SystemExit, match="unknown name of success 'acc'") as end:
        imported.main([str(root), "--success", "acc"])
    assert KEY["nested"] in str(end.value)


@pytest.mark.parametrize(
    ("values", "steps", "said"),
    [
        ([0.1, 0.2, 0.3, 1.1], STEPS, "row 5, column success: '1.1'; allowed: a share"),
        ([0.1, 0.2, 0.3, 0.4], [10, 20, 30, 40], "at step 0, before training"),
        ([0.1, 0.2, 0.3, 0.4], [0, 10, 20.5, 40], "allowed: a whole number"),
        ([0.1, 0.2, 0.3, 0.4], [0, 10, 20, 50], "seed-0: last evaluated at step 50, .* at 40; allowed: the same"),
    ],
)
def test_a_log_that_is_wrong_is_named_in_one_line(tmp_path, values, steps, said):
    write(tmp_path, "csv", {"linear": 0.1}, seeds=1)
    save(tmp_path / "softmax" / "seed-0", "csv", values, steps)
    with pytest.raises(ValueError, match=said) as error:
        imported.read(tmp_path, "success", [])
    assert "\n" not in str(error.value) and "softmax" in str(error.value)


def test_folders_that_are_no_runs_are_named(tmp_path):
    with pytest.raises(ValueError, match="no runs"):
        imported.read(tmp_path, "success", [])
    write(tmp_path, "csv", {"softmax": 0.1}, seeds=1)
    with pytest.raises(ValueError, match="no ablation 'linear', the baseline"):
        imported.read(tmp_path, "success", [])
    run = tmp_path / "linear" / "seed-0"
    run.mkdir(parents=True)
    with pytest.raises(ValueError, match="no log; allowed"):
        imported.read(tmp_path, "success", [])
    (run / "trainer_state.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match="no log_history"):
        imported.read(tmp_path, "success", [])
    run.rename(run.with_name("first"))
    with pytest.raises(ValueError, match="not the name of a run"):
        imported.read(tmp_path, "success", [])


# ---- runs that were stopped and resumed ---------------------------------------------------------


def resumed(tmp_path, layout, values, steps):
    write(tmp_path, layout, {"linear": 0.1}, seeds=1)
    save(tmp_path / "softmax" / "seed-0", layout, values, steps)
    notes = []
    run = imported.read(tmp_path, KEY[layout], notes)[1]
    return dict(zip(run.evaluations["step"], run.evaluations["success"], strict=True)), notes


@pytest.mark.parametrize("layout", KEY)
def test_of_two_evaluations_at_one_step_the_later_counts(tmp_path, layout):
    """Old: such a log was refused. Step 30 belongs to weights that the resumed run did not start from."""
    points, notes = resumed(tmp_path, layout, [0.1, 0.2, 0.3, 0.9, 0.4, 0.5], [0, 10, 20, 30, 20, 40])
    assert points == {0: 0.1, 10: 0.2, 20: 0.4, 40: 0.5}
    folder = tmp_path / "softmax" / "seed-0"
    assert notes == [f"{folder}: evaluated again at step 20, as a resumed run does: the later evaluation counts."]


def test_an_evaluation_that_is_logged_twice_is_no_resumed_run(tmp_path):
    points, notes = resumed(tmp_path, "csv", [0.1, 0.2, 0.3, 0.4, 0.4], [0, 10, 20, 40, 40])
    assert points[40] == 0.4 and notes == []


def test_runs_are_compared_at_the_steps_that_all_have(tmp_path):
    points, notes = resumed(tmp_path, "csv", [0.1, 0.2, 0.3, 0.4, 0.5], [0, 10, 15, 20, 40])
    assert list(points) == STEPS
    assert notes == ["Not all runs were evaluated at step 15: they are compared at the other steps."]


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_run_may_go_on_in_another_file_and_end_in_half_a_line(tmp_path, names):
    write(tmp_path, "nested", {"linear": 0.1}, seeds=1)
    folder = tmp_path / "softmax" / "seed-0"
    folder.mkdir(parents=True)
    for name, points in zip(names, ({0: 0.1, 10: 0.2, 20: 0.9}, {20: 0.3, 40: 0.4}), strict=True):
        rows = [json.dumps({"step": step, "data": {KEY["nested"]: value}}) + "\n" for step, value in points.items()]
        (folder / f"{name}.jsonl").write_text("".join(rows) + '{"step": 5', encoding="utf-8")
    (folder / "lengths.csv").write_text("step,length\n0,5\n", encoding="utf-8")
    notes = []
    run = imported.read(tmp_path, KEY["nested"], notes)[1]
    assert run.evaluations["success"].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert len(notes) == 4 and notes[2] == f"{folder}: files that are not read: lengths.csv."


def test_the_state_that_got_further_counts_and_half_a_state_is_named(tmp_path):
    save(tmp_path / "linear" / "seed-0", "trl", [0.1, 0.2], [0, 10])
    state = tmp_path / "linear" / "seed-0" / "trainer_state.json"
    state.write_text(state.read_text(encoding="utf-8").replace("40}", "10}"), encoding="utf-8")
    save(tmp_path / "linear" / "seed-0" / "checkpoint-40", "trl", [0.1, 0.2, 0.3, 0.4])
    half = tmp_path / "linear" / "seed-0" / "checkpoint-50" / "trainer_state.json"
    half.parent.mkdir()
    half.write_text('{"log_history": [', encoding="utf-8")
    notes = []
    (run,) = imported.read(tmp_path, KEY["trl"], notes)
    assert run.evaluations["step"].tolist() == STEPS and len(notes) == 1 and str(half) in notes[0]


def test_hidden_folders_are_no_runs(tmp_path, capsys):
    root = write(tmp_path / "mine", "csv", GAINS, seeds=2)
    for folder in (".ipynb_checkpoints/seed-0", "linear/.ipynb_checkpoints", "linear/seed-0/.ipynb_checkpoints"):
        (root / folder).mkdir(parents=True)
    (root / "linear" / "seed-0" / "._log.csv").write_bytes(b"\x00\xff")
    (root / "softmax" / "seed-0" / "more.csv").write_text("a\n1\n", encoding="utf-8")
    imported.main([str(root), "--success", "success"])
    assert capsys.readouterr().out.startswith(f"{root / 'softmax' / 'seed-0'}: files that are not read: more.csv.\n")
