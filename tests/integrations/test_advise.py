"""Advice: figures against hand-computed ones, planted logs, and what is said when nothing can be told."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from softmax_rewards import weighting
from softmax_rewards.integrations import advice, advise
from softmax_rewards.integrations.reward_log import RewardLog
from softmax_rewards.weighting.study import log_map, signal_noise
from softmax_rewards.weighting.study.answer_lengths import Answers, measure
from softmax_rewards.weighting.study.populations import Population, by_right


def packed(rewards, correct):
    """Single groups [Q, N] as a population."""
    order = np.lexsort([correct, rewards])
    pairs = np.stack([np.take_along_axis(rewards, order, 1), np.take_along_axis(correct, order, 1)], axis=-1)
    distinct, counts = np.unique(pairs, axis=0, return_counts=True)
    return Population(distinct[..., 0], distinct[..., 1] > 0, counts)


def drawn(number, seed, format_share=0.0, success=0.05, spread=10.0):
    """Groups of 8 whose prompts differ in success, with the true rate of each: rewards 1.1, 0.1 and 0."""
    rng = np.random.default_rng(seed)
    rate = rng.beta(success * spread, (1 - success) * spread, (number, 1))
    correct = rng.random((number, 8)) < rate
    rewards = np.where(correct, 1.1, np.where(rng.random((number, 8)) < format_share, 0.1, 0.0))
    return rewards, correct, rate


def log(groups):
    size = groups.rewards.shape[1]
    return RewardLog("plain", "reward", "column correct", False, {size: groups}, 0, 0, 0)


def mixed(groups):
    return int(groups.counts @ (groups.correct.any(-1) & ~groups.correct.all(-1)))


def row(figures, scheme, share=None):
    chosen = figures[figures["scheme"] == scheme]
    return (chosen if share is None else chosen[chosen["tau_over_range"].round(9) == share]).iloc[0]


# ---- figures ------------------------------------------------------------------------------------


def test_figures_of_two_groups_by_hand():
    """Rewards (1, 0) and (0, 0): success 1/4, and no more spread between the groups than chance gives."""
    groups = Population(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[True, False], [False, False]]), np.ones(2, int))
    figures = advise.table(groups, 1.0)
    assert figures["scheme"][0] == "linear" and set(figures["scheme"]) == set(weighting.names())
    z = 0.5 / 0.5001
    linear = figures.iloc[0]
    # Signal z/4 over four samples: z (1 - p) + z p; square z²/2.
    assert linear["snr"] == pytest.approx((z / 4) / (z / math.sqrt(2)))
    assert (linear["effective_n"], linear["zero_groups"], linear["all_wrong"]) == (pytest.approx(2), 0.5, 0)
    assert (linear["weight_right"], linear["weight_wrong"]) == (pytest.approx(z), pytest.approx(-z / 3))
    # raft: weights 1, 0, 0, 0: signal (1 - 1/4)/4, square 1/4.
    assert row(figures, "raft")["snr"] == pytest.approx(3 / 8)
    # softmax at tau = 1: 2e/(1+e), 2/(1+e) and twice 1; its constant has no signal.
    e, right = math.e, 2 * math.e / (1 + math.e)
    softmax = row(figures, "softmax", 1.0)
    square = (right**2 + (2 / (1 + e)) ** 2 + 2) / 4
    assert softmax["snr"] == pytest.approx(((right - 1) * 2 / 4 / 2) / math.sqrt(square) * 1.0)
    assert softmax["all_wrong"] == pytest.approx(2 / (4 * square))
    assert softmax["better"] == pytest.approx(softmax["snr"] - linear["snr"])
    masked = row(figures, "softmax_masked", 1.0)
    signal = (right * 3 / 4 - 2 / (1 + e) / 4) / 4
    assert masked["snr"] == pytest.approx(signal / math.sqrt((right**2 + (2 / (1 + e)) ** 2) / 4))


def test_the_prediction_is_the_exact_one_where_all_prompts_are_equal():
    """Groups in exactly the proportions of one success rate, against `signal_noise.at_success`."""
    exact = by_right(0.09, 8)
    figures = advise.table(replace(exact, counts=np.round(1e7 * exact.counts).astype(int)), 1.0)
    for scheme in weighting.names():
        chosen = {"tau": 0.5} if "tau" in weighting.hyperparameters(scheme) else {}
        signal, noise = signal_noise.at_success(scheme, chosen, 0.09, 8)
        found = row(figures, scheme, 0.5 if chosen else None)["snr"]
        assert found == pytest.approx(signal / noise if noise else 0.0, abs=1e-5), scheme


def test_the_prediction_needs_no_success_rates_of_prompts():
    """Simulated prompts of unequal success: the log alone gives what the true rates would."""
    rewards, correct, rate = drawn(100_000, 2, 0.3)
    figures = advise.table(packed(rewards, correct), 1.1)
    for scheme in ("linear", "raft", "maxrl", "softmax_masked", "best_of_n"):
        chosen = {"tau": 0.55} if "tau" in weighting.hyperparameters(scheme) else {}
        w = weighting.compute(scheme, rewards, correct, **chosen)
        truth = np.mean(w * (correct - rate)) / math.sqrt(np.mean(w**2))
        found = row(figures, scheme, 0.5 if chosen else None)["snr"]
        assert found == pytest.approx(truth, abs=0.003), scheme


def test_success_of_prompts_is_the_posterior_mean_under_a_beta_prior():
    rewards, correct, _ = drawn(200_000, 3, success=0.2, spread=5.0)
    groups = packed(rewards, correct)
    expected = (groups.correct.sum(-1) + 1.0) / (8 + 5.0)
    assert signal_noise.success_of_prompts(groups)[:, 0] == pytest.approx(expected, abs=0.015)


def test_equal_seeds_give_equal_text():
    groups = packed(*drawn(50, 4, 0.5)[:2])
    assert advise.report(log(groups), 1) == advise.report(log(groups), 1)
    assert advise.report(log(groups), 1) != advise.report(log(groups), 2)


# ---- suggestions --------------------------------------------------------------------------------


def test_centered_softmax_wins_where_linear_amplifies_format():
    groups = packed(*drawn(400, 5, 0.5)[:2])
    figures = advise.table(groups, 1.1)
    centered = row(figures, "softmax_centered", 0.5)
    assert centered["low"] > 0 and centered["better"] > 0.3 * figures["snr"][0]
    assert figures["all_wrong"][0] > 0.5 > 0.1 > centered["all_wrong"]
    said = advice.suggestion(figures, mixed(groups))
    assert said.startswith("Suggestion: try ") and "softmax_centered at tau 0.55" in said
    assert "of its squared weight on groups without a right sample" in said


def test_linear_stays_where_rewards_have_two_values():
    groups = packed(*drawn(3000, 6, spread=50.0)[:2])
    figures = advise.table(groups, 1.1)
    assert row(figures, "softmax", 1.0)["high"] < 0  # the constant 1 costs
    said = advice.suggestion(figures, mixed(groups))
    assert "stay with linear" in said and "large enough to say so" in said


def test_a_small_log_shows_no_difference():
    groups = packed(*drawn(60, 1, 0.01, success=0.15)[:2])
    figures = advise.table(groups, 1.1)
    candidates = figures[~figures["scheme"].map(weighting.couples_groups)]  # only these are suggested
    best = candidates.loc[candidates["better"].idxmax()]
    assert best["better"] >= advice.MATERIAL * figures["snr"][0] and best["low"] < 0 < best["high"]
    said = advice.suggestion(figures, mixed(groups))
    assert "stay with linear" in said and "no difference that this log can show" in said


def test_a_tiny_log_gets_no_suggestion_however_large_the_difference():
    groups = packed(*drawn(12, 10, 0.5, success=0.2)[:2])
    figures = advise.table(groups, 1.1)
    assert figures["low"].max() > 0 and mixed(groups) < advice.FEW
    said = advice.suggestion(figures, mixed(groups))
    assert "stay with linear" in said and "no difference that this log can show" in said


def test_no_signal_at_all():
    rewards, correct, _ = drawn(50, 8, 0.5)
    assert "no weighting finds a signal" in advise.report(log(packed(0.1 * (rewards == 0.1), correct & False)))
    assert "check reward and correct" in advise.report(log(packed(-rewards, correct)))
    assert "All rewards are equal" in advise.report(log(packed(0 * rewards, correct)))
    assert "No group has two samples" in advise.report(replace(log(packed(rewards, correct)), by_size={}, single=3))


# ---- warnings -----------------------------------------------------------------------------------


def test_warnings_where_the_log_shows_it():
    rare = advice.warnings(packed(*drawn(200, 9, success=0.001)[:2]), 1.1)
    assert "of the groups are dead" in rare[0] and len(rare) == 1
    mixed = advice.warnings(packed(*drawn(400, 9, 0.5)[:2]), 1.1)
    assert mixed[0].startswith("Format amplification") and mixed[1].startswith("3 reward values") and len(mixed) == 2
    assert advice.warnings(packed(*drawn(400, 9, success=0.1)[:2]), 1.1) == []
    (easy,) = advice.warnings(packed(*drawn(400, 9, success=0.7)[:2]), 1.1)
    assert "Success is 7" in easy and "not rare" in easy


def test_what_was_inferred_to_be_right_is_doubted_where_it_is_common(tmp_path, capsys):
    """Rewards of 0 and 0.1: no answer was right, half had the format."""
    path = tmp_path / "cold.csv"
    path.write_text("group,reward\n" + "".join(f"{i // 4},{0.1 * (i % 2)}\n" for i in range(200)), encoding="utf-8")
    advise.main([str(path)])
    assert "What is right was inferred" in " ".join(capsys.readouterr().out.split())
    path.write_text("group,reward\n" + "".join(f"{i // 8},{float(i % 8 == 0)}\n" for i in range(200)))
    advise.main([str(path)])
    assert "inferred" not in capsys.readouterr().out


def test_logs_in_which_no_group_can_be_compared_say_why(tmp_path, capsys):
    path = tmp_path / "log.csv"
    path.write_text("group,reward\n" + "".join(f"{i},{i % 2}\n" for i in range(20)), encoding="utf-8")
    advise.main([str(path)])
    assert "No group has two samples or more" in capsys.readouterr().out
    sizes = [f"{size},{place % 2}\n" for size in range(2, 40) for place in range(size)]
    path.write_text("group,reward\n" + "".join(sizes), encoding="utf-8")
    advise.main([str(path)])
    assert "38 group sizes, none of them 5% of the groups" in capsys.readouterr().out


def test_format_amplification_by_hand():
    """Right once among 2, and one well-formed wrong answer: linear gives both groups nearly the same weights."""
    groups = Population(np.array([[1.0, 0.0], [0.1, 0.0]]), np.array([[True, False], [False, False]]), np.array([8, 2]))
    found = [text for text in advice.warnings(groups, 1.0) if "amplification" in text]
    assert len(found) == 1 and "2 all-wrong groups" in found[0] and "20%" in found[0]


def test_overpaid_format_gets_a_warning_that_depends_on_the_lengths():
    rewards, correct, _ = drawn(400, 12, 0.5)
    groups = packed(rewards, correct)
    kinds = log_map.levels(groups)
    figures = advise.table(groups, 1.1)
    assert row(figures, "dr_grpo")["x"] == pytest.approx(0.1) and figures["x"][0] > 0.5 and figures["tilt"][0] > 1
    (unknown,) = advice.collapse(figures, kinds, None)
    assert unknown.startswith("Format is overpaid: linear gives up 0.") and "no lengths" in unknown
    assert "normal_scores" in unknown and "dr_grpo" not in unknown and "softmax_scaled" not in unknown

    def measured(lengths):
        return measure(Answers(rewards.ravel(), correct.ravel(), lengths.ravel()), kinds)

    rng = np.random.default_rng(0)
    (warning,) = advice.collapse(figures, kinds, measured(rng.poisson(np.where(rewards > 0, 40, 60))))
    assert warning.startswith("Length is likely to collapse") and "correlation" in warning
    assert not advice.collapse(figures, kinds, measured(rng.poisson(40, rewards.shape)))
    assert not advice.collapse(figures, kinds, measured(rng.poisson(np.where(rewards > 0, 60, 40))))
    unpaid = figures.assign(x=0.12)
    assert not advice.collapse(unpaid, kinds, None) and not advice.collapse(figures, None, None)


def test_missing_tilt_and_x_are_explained():
    said = " ".join(advise.report(log(packed(*drawn(100, 13)[:2]))).split())
    assert "X: missing, because no sample is right or all wrong samples earn the same." in said
    small = packed(*(part[:, :4] for part in drawn(100, 13, 0.5, success=0.3)[:2]))
    said = " ".join(advise.report(log(small)).split())
    assert "It is missing here: N is below 5." in said and "the rewards say 0.100" in said
    levels = drawn(100, 13, 0.5)[0]
    levels[levels == 0] = np.resize([0.0, 0.01], (levels == 0).sum())
    assert "Wrong answers have 3 rewards" in " ".join(advise.report(log(packed(levels, levels > 1))).split())


# ---- the command --------------------------------------------------------------------------------


def test_the_command(tmp_path, capsys):
    path = tmp_path / "log.csv"
    rewards, correct, _ = drawn(100, 11, 0.5)
    cells = [f"{g},{r},{int(c)}\n" for g in range(100) for r, c in zip(rewards[g], correct[g], strict=True)]
    odd = ["x,1.1,1\n", "x,0,0\n", "y,0,0\n"]
    path.write_text("prompt,score,right\n" + "".join(cells + odd), encoding="utf-8")
    advise.main([str(path), "--group", "prompt", "--reward", "score", "--correct", "right"])
    said = capsys.readouterr().out
    assert "100 groups of N = 8" in said and "nothing to compare: 1." in said and "5% of all, left out: 1." in said
    assert "Suggestion: " in said and "no training result" in said
    assert max(map(len, said.splitlines())) <= 120
    with pytest.raises(SystemExit, match="unknown column 'group'"):
        advise.main([str(path)])


def test_the_example_of_the_page_is_what_the_command_prints(tmp_path, capsys):
    """But for the limits, which depend on which other schemes there are."""
    page = (Path(__file__).parents[2] / "docs" / "what-should-i-use.md").read_text(encoding="utf-8")
    (code,), (shown,) = (re.findall(rf"```{kind}\n(.*?)```", page, re.S) for kind in ("python", "text"))
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    (tmp_path / "rewards.csv").write_text(made, encoding="utf-8")
    advise.main([str(tmp_path / "rewards.csv"), "--correct", "correct"])
    printed = {line.split("[")[0] for line in capsys.readouterr().out.splitlines()}
    rows = [line.split("[")[0] for line in shown.split("\nWarning")[0].splitlines()]
    assert len(rows) > 30 and set(rows) <= printed


def test_advice_needs_no_torch():
    code = "import sys; from softmax_rewards.integrations import advise; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
