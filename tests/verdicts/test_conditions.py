"""Experiments with two conditions, judged apart, and claims that compare them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from planted import SOFTMAX, evidence, finished_run, judged, verdict

from softmax_rewards.common import stats
from softmax_rewards.verdicts import conditions, measures
from softmax_rewards.verdicts.evidence import LINEAR
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED

DR_GRPO = {"scheme": "dr_grpo"}
ROOM = {"max_new_tokens": 192}
WEIGHTINGS = {
    "linear": LINEAR, "half": SOFTMAX, "dr": DR_GRPO, "extra": {"scheme": "raft"},
    "linear-room": LINEAR, "half-room": SOFTMAX, "dr-room": DR_GRPO,
}  # fmt: skip
ENDS = {"linear": 0.07, "half": 0.14, "dr": 0.13, "extra": 0.2, "linear-room": 0.30, "half-room": 0.29, "dr-room": 0.31}
TRAP = {"baseline": "linear", "primary": ["half", "dr"], "gate": "auc", "predicted_gap": 0.1}
NEAR_AND_FAR = {"trap": TRAP, "room": {"baseline": "linear-room", "primary": ["half-room"], "gate": "reward"}}
NEAR_AND_FAR["room"]["predicted_gap"] = None


@pytest.fixture(scope="module")
def runs():
    """In the trap GRPO falls from 9 to 7 %, others gain; with room all gain alike."""
    made = []
    for name, weighting in WEIGHTINGS.items():
        training = ROOM if name.endswith("room") else {}
        for seed in range(5):
            end = ENDS[name] + 0.004 * np.random.default_rng([seed, len(name)]).normal()
            curve = (0.09, (0.09 + end) / 2, end)
            reward = [value + 0.1 for value in curve]
            made.append(finished_run(name, seed, curve, weighting=weighting, training=training, reward=reward))
    return made


def parts_of(runs, named):
    experiment = {"baseline": "linear", "primary": ["half"], "conditions": named}
    return conditions.parts(runs, measures.measure(runs), experiment, (0.0, 1.1))


@pytest.fixture(scope="module")
def parts(runs):
    return parts_of(runs, NEAR_AND_FAR)


def test_each_condition_has_its_own_baseline_and_family(parts):
    """One family over both conditions would make each stricter because of the other, and compare with one baseline."""
    trap, room = parts
    assert [part.evidence.condition for part in parts] == ["trap", "room"]
    for part, baseline, family in ((trap, "linear", ["half", "dr"]), (room, "linear-room", ["half-room"])):
        assert set(part.comparisons["against"]) == {baseline}
        planned = part.comparisons[part.comparisons["family"] == "primary"].set_index("ablation")
        assert list(planned.index) == family
        assert planned["p_holm"].tolist() == pytest.approx(stats.holm(planned["p"]).tolist())
    assert (trap.evidence.gate, room.evidence.gate) == ("auc", "reward")
    assert trap.comparisons["margin"].tolist() == pytest.approx([0.02] * len(trap.comparisons))
    gain = room.measures.loc["linear-room", "auc"].mean() - 0.09
    assert room.comparisons.query("endpoint == 'auc'")["margin"].tolist() == pytest.approx([0.2 * gain])


def test_an_ablation_that_no_condition_names_belongs_to_the_first(parts):
    trap, room = (set(part.measures.index.unique("ablation")) for part in parts)
    assert trap == {"linear", "half", "dr", "extra", "dr-room"} and room == {"linear-room", "half-room"}
    assert "extra" in set(parts[0].comparisons["ablation"])


def test_the_same_claim_has_different_verdicts_in_the_two_conditions(parts):
    trap, room = (judged(part.evidence, "C1", "M1") for part in parts)
    assert trap.loc["C1", "verdict"] == trap.loc["M1", "verdict"] == SUPPORTED
    assert room.loc["gate", "verdict"] == SUPPORTED and room.loc["C1", "verdict"] == CONTRADICTED
    assert trap.loc["C1", "condition"] == "trap" and "mini on countdown (room)" in room.loc["C1", "sentence"]


def test_the_lead_in_the_trap_is_compared_with_that_in_the_room(runs, parts):
    trap, room = parts
    row = verdict(trap.evidence, "M6")
    auc = {name: values.droplevel(0) for name, values in trap.evidence.measures["auc"].groupby("ablation")}
    twice = (auc["half"] - auc["linear"]) - (auc["half-room"] - auc["linear-room"])
    assert row["verdict"] == SUPPORTED and row["effect"] == pytest.approx(100 * twice.mean())
    # Four runs of 1024 answers each, per evaluation; the limits are at least as wide as their noise.
    noise = math.sqrt(sum(trap.evidence.measures.loc[name, "auc_noise"].pow(2).mean() for name in (
        "half", "linear", "half-room", "linear-room"
    )))  # fmt: skip
    assert row["high"] - row["low"] == pytest.approx(
        100 * max(2 * 1.959964 * noise / math.sqrt(5), 2 * 2.776445 * twice.std() / math.sqrt(5)), rel=1e-4
    )
    assert "in trap" in row["sentence"] and "in room" in row["sentence"]
    assert verdict(trap.evidence, "M7")["verdict"] == SUPPORTED
    assert verdict(room.evidence, "M6")["seeds"] == 0  # it is judged once, in the first condition


def test_an_advantage_that_both_conditions_share_is_no_interaction(runs):
    """A lead in the trap alone would support the claim about the limit. Here the lead is as large with room."""
    level = {"linear-room": 0.07, "half-room": 0.14}
    changed = [
        finished_run(
            run.ablation, run.seed, (0.09, 0.09, level.get(run.ablation, ENDS[run.ablation])),
            weighting=WEIGHTINGS[run.ablation], training=ROOM if run.ablation.endswith("room") else {}, reward=0.1,
        )
        for run in runs
    ]  # fmt: skip
    trap, _ = parts_of(changed, NEAR_AND_FAR)
    rows = judged(trap.evidence, "C1", "M6")
    assert rows.loc["C1", "verdict"] == SUPPORTED and rows.loc["M6", "verdict"] == UNRESOLVED


def test_without_a_room_or_a_common_seed_the_interaction_is_not_tested(runs):
    (whole,) = parts_of([run for run in runs if not run.ablation.endswith("room")], {})
    row = verdict(whole.evidence, "M6")
    assert row["seeds"] == 0 and "needs the conditions trap and room" in row["sentence"]
    assert whole.evidence.condition == "" and set(whole.comparisons["against"]) == {"linear"}
    apart = [run for run in runs if run.ablation.endswith("room") == (run.seed > 2)]
    trap, _ = parts_of(apart, NEAR_AND_FAR)
    assert "needs a seed that was trained in both conditions" in verdict(trap.evidence, "M6")["sentence"]


# --- claims about the cause, in one condition --------------------------------------------------------------

CAUSES = {"dr": DR_GRPO, "filtered": LINEAR}


def causes(*, half, dr, filtered, length=40.0, **known):
    """A baseline that loses 2 points where others may gain; its answers have 60 tokens before training."""
    gains = {"baseline": -0.02, "half": half, "dr": dr, "filtered": filtered}
    training = {"filtered": {"skip_unfinished": True}}
    made = evidence(
        gains, weightings=CAUSES, training=training, p_holm=dict.fromkeys(("half", "dr", "filtered"), 0.001),
        length_final={"baseline": length},
    )  # fmt: skip
    return replace(made, measures=made.measures.assign(base_length=60.0), predicted_gap=0.1, **known)


def test_the_notes_picture_supports_every_cause():
    table = judged(causes(half=0.1, dr=0.1, filtered=0.1), "M1", "M2", "M3", "M4", "M5")
    assert table.loc[["M1", "M2", "M3", "M4"], "verdict"].tolist() == [SUPPORTED] * 4
    assert table.loc["M5", "verdict"] == CONTRADICTED and table.loc["M5", "outcome"] == "equivalent"
    assert "linear with skip_unfinished True" in table.loc["M2", "sentence"]
    assert table.loc["M3", "effect"] == pytest.approx(-20, abs=0.1) and table.loc["M3", "unit"] == "tokens"


def test_other_patterns_contradict():
    table = judged(causes(half=0.1, dr=-0.05, filtered=-0.05, length=70.0), "M1", "M2", "M3", "M4", "M5")
    assert table.loc[["M1", "M2", "M3", "M4"], "verdict"].tolist() == [CONTRADICTED] * 4
    assert table.loc["M5", "verdict"] == SUPPORTED
    assert "GRPO made answers longer" in table.loc["M3", "plain"]


def test_a_base_model_that_cannot_search_says_nothing_of_length():
    row = verdict(causes(half=0.1, dr=0.1, filtered=0.1, unable="it calls wrong values right"), "M3")
    assert row["verdict"] == UNRESOLVED and "cannot search" in row["plain"]


def test_each_step_of_the_ladder_and_each_way_to_keep_grpo_has_its_own_claim():
    weightings = {
        "dr": DR_GRPO,
        "centered": {"scheme": "softmax_centered", "tau": 0.5},
        "raft": {"scheme": "raft"},
        "batch": {"scheme": "batch_std"},
        "refilled": LINEAR,
    }
    gains = {"baseline": 0.0, "half": 0.1, "dr": 0.04, "centered": 0.08, "raft": 0.02, "batch": 0.04, "refilled": -0.04}
    known = evidence(
        gains, weightings=weightings, training={"refilled": {"max_num_gen_batches": 3}},
        spread=0.001, p_holm=dict.fromkeys(("batch", "refilled"), 0.001),
    )  # fmt: skip
    table = judged(known, "M8", "M9", "M10", "M11")
    assert table.loc[["M8", "M9", "M10", "M11"], "verdict"].tolist() == [
        SUPPORTED, CONTRADICTED, SUPPORTED, CONTRADICTED,
    ]  # fmt: skip
    # The AUC of the planted evidence has half of the gain.
    assert table.loc[["M8", "M9", "M10", "M11"], "effect"].tolist() == pytest.approx([2, -3, 2, -2], abs=0.3)
    fewer = judged(evidence(gains, weightings=weightings), "M11")
    assert "Not tested" in fewer.loc["M11", "sentence"]
