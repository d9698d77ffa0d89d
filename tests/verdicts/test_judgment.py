"""Decision rules, on intervals and on made-up experiments with planted effects."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from planted import BASE_SUCCESS, SOFTMAX, evidence, judged

from softmax_rewards.common.stats import Interval, mean_interval
from softmax_rewards.verdicts import judgment, paired, rules
from softmax_rewards.verdicts.evidence import BASE, LINEAR, Contrast, Untested, label, matches
from softmax_rewards.verdicts.paired import Comparison
from softmax_rewards.verdicts.plan import CLAIMS
from softmax_rewards.verdicts.wording import CONTRADICTED, SUPPORTED, UNRESOLVED
from softmax_rewards.weighting.study import tau_rule

TAUS = (0.1, 0.25, 0.5, 0.75, 1.0, 2.0)


def comparison(low, high, adjusted=math.nan, margin=0.02, success=True):
    interval = Interval((low + high) / 2, low, high, 0.5, 5, 0.01)
    return Comparison(interval, 0.1, 0.1, margin, adjusted=adjusted, success=success)


@pytest.mark.parametrize(
    ("low", "high", "sign", "adjusted", "expected", "outcome"),
    [
        (0.01, 0.05, +1, math.nan, SUPPORTED, paired.BETTER),
        (0.01, 0.05, -1, math.nan, CONTRADICTED, paired.BETTER),
        (-0.05, -0.01, -1, math.nan, SUPPORTED, paired.WORSE),
        (-0.05, -0.01, +1, math.nan, CONTRADICTED, paired.WORSE),
        (-0.01, 0.05, +1, math.nan, UNRESOLVED, paired.UNCLEAR),
        (-0.05, 0.01, -1, math.nan, UNRESOLVED, paired.UNCLEAR),
        (-0.01, 0.01, +1, math.nan, CONTRADICTED, paired.EQUIVALENT),
        (0.001, 0.019, +1, math.nan, SUPPORTED, paired.BETTER),  # small, but the sign comes first
        (0.001, 0.019, +1, 0.06, CONTRADICTED, paired.EQUIVALENT),  # the sign is not clear after Holm
        (0.0, 0.05, +1, math.nan, UNRESOLVED, paired.UNCLEAR),  # an interval that ends at 0 includes it
        (0.01, 0.05, +1, 0.06, UNRESOLVED, paired.UNCLEAR),
        (0.01, 0.05, +1, 0.04, SUPPORTED, paired.BETTER),
        (math.nan, math.nan, +1, math.nan, UNRESOLVED, paired.UNCLEAR),
    ],
)
def test_decide(low, high, sign, adjusted, expected, outcome):
    compared = comparison(low, high, adjusted)
    assert (rules.decide(compared, sign)[0], compared.outcome) == (expected, outcome)


def test_equivalence_is_for_success_rates_only():
    """Other endpoints have no margin, and are called higher or lower."""
    assert rules.decide(comparison(-0.01, 0.01, margin=math.nan), 1)[0] == UNRESOLVED
    higher = comparison(0.001, 0.01, margin=math.nan, success=False)
    assert rules.decide(higher, 1)[0] == SUPPORTED
    assert higher.outcome == paired.HIGHER and comparison(-2, -1, success=False).outcome == paired.LOWER


def test_ablations_are_found_by_weighting_and_training_not_by_name():
    renamed = evidence(
        {"softmax-0.5": 0.1, "baseline": 0.1, "odd": 0.3, "slow": 0.2},
        weightings={"softmax-0.5": {"scheme": "uniform"}, "odd": SOFTMAX, "slow": {"scheme": "dr_grpo"}},
        training={"slow": {"learning_rate": 1e-4}},
    )
    assert renamed.find(SOFTMAX) == "odd"
    with pytest.raises(Untested, match="dr grpo"):
        renamed.find({"scheme": "dr_grpo"})
    schedule = {"scheme": "softmax", "tau": {"from": 0.75, "to": 0.25, "steps": 60, "shape": "cosine"}}
    assert matches(schedule, {"scheme": "softmax", "tau": {"from": 0.75, "to": 0.25}})
    assert not matches(schedule, {"scheme": "softmax", "tau": 0.75})
    assert not matches({"scheme": "softmax", "tau": "auto"}, SOFTMAX)
    assert matches({"scheme": "softmax", "tau": 1}, {"scheme": "softmax", "tau": 1.0})
    assert label({"scheme": "softmax", "tau": {"from": 1.0, "to": 0.3}}) == "softmax τ 1.0→0.3"


def test_a_planted_effect_is_found():
    table = judged(evidence({"baseline": 0.10, "half": 0.20}))
    row = table.loc["C1"]
    assert row["verdict"] == SUPPORTED and row["effect"] == pytest.approx(5, abs=0.5) and row["unit"] == "points"
    assert row["low"] < row["effect"] < row["high"] and row["seeds"] == 5
    assert (row["model"], row["task"]) == ("mini", "countdown")
    assert "95 % interval" in row["sentence"] and "mini on countdown" in row["sentence"]


def test_a_planted_harm_contradicts():
    assert judged(evidence({"baseline": 0.20, "half": 0.05})).loc["C1", "verdict"] == CONTRADICTED


def test_a_planted_null_with_little_spread_is_equivalent():
    row = judged(evidence({"baseline": 0.10, "half": 0.10})).loc["C1"]
    assert row["verdict"] == CONTRADICTED and "equivalent" in row["sentence"]


def test_too_few_seeds_for_the_spread_are_not_resolved():
    row = judged(evidence({"baseline": 0.30, "half": 0.32}, spread=0.04, seeds=3)).loc["C1"]
    assert row["verdict"] == UNRESOLVED and "four times in five" in row["sentence"]


def test_a_single_seed_resolves_nothing():
    table = judged(evidence({"baseline": 0.10, "half": 0.30}, seeds=1))
    assert set(table["verdict"]) == {UNRESOLVED}


def test_a_baseline_that_did_not_learn_resolves_nothing():
    table = judged(evidence({"baseline": 0.0, "half": 0.30}))
    assert set(table["verdict"]) == {UNRESOLVED}
    assert "no planned ablation learned" in table.loc["C1", "sentence"]
    assert table.loc["C1", "effect"] == pytest.approx(15, abs=0.5)  # still shown


def test_the_gate_is_the_first_row():
    for gain, verdict in ((0.1, SUPPORTED), (0.01, SUPPORTED), (0.0, UNRESOLVED), (-0.1, CONTRADICTED)):
        table = judged(evidence({"baseline": gain, "half": 0.3}))
        assert table.index[0] == "gate" and table.iloc[0]["verdict"] == verdict
        assert table.iloc[0]["effect"] == pytest.approx(50 * gain, abs=0.5)
        assert (table.loc["C1", "verdict"] == SUPPORTED) == (verdict == SUPPORTED)


def test_the_gate_asks_for_the_baseline_whatever_its_weighting():
    table = judged(evidence({"baseline": 0.1}, weightings={"baseline": SOFTMAX}))
    assert table.loc["gate", "verdict"] == SUPPORTED and table.loc["gate", "seeds"] == 5
    assert table.loc["C1", "sentence"] == "Not tested in this experiment: needs an ablation with linear."
    assert set(table.loc[table["seeds"] == 0, "verdict"]) == {UNRESOLVED}


def test_a_gate_that_was_not_measured_is_not_tested():
    """Runs of the first series have no mean reward of their evaluations."""
    known = replace(evidence({"baseline": 0.1, "half": 0.2}), gate="reward")
    known.measures["reward"] = math.nan
    table = judged(known)
    assert table.loc["gate", "sentence"].startswith("Not tested in this experiment: needs mean reward over training")
    assert table.loc["gate", "verdict"] == UNRESOLVED and table.loc["gate", "seeds"] == 0
    assert set(table["verdict"]) == {UNRESOLVED}
    assert "mean reward" in table.loc["C1", "sentence"]


def test_holm_can_take_a_primary_comparison_back():
    assert judged(evidence({"baseline": 0.1, "half": 0.2}, p_holm={"half": 0.2})).loc["C1", "verdict"] == UNRESOLVED


def test_absent_ablations_are_named_as_not_tested():
    table = judged(evidence({"baseline": 0.10, "half": 0.20}))
    assert table.loc["C2", "verdict"] == UNRESOLVED
    assert table.loc["C2", "sentence"] == "Not tested in this experiment: needs an ablation with softmax τ=0.25."
    for claim in ("C4a", "C5", "C6a", "C12 injection 1", "P1b", "P3"):
        assert table.loc[claim, "sentence"].startswith("Not tested in this experiment: needs ")
        assert math.isnan(table.loc[claim, "effect"])


def test_every_claim_of_the_plan_has_its_rows():
    ids = [claim.id for claim in CLAIMS]
    plan = (Path(__file__).parents[2] / "docs" / "analysis-plan.md").read_text(encoding="utf-8")
    assert all(f"{re.match('[CPM][0-9]+', name)[0]}" in plan for name in ids if name[0] != "M")
    assert len(set(ids)) == len(ids)
    for number in range(1, 13):
        assert any(name.startswith(f"C{number}") and not name[len(f"C{number}") :][:1].isdigit() for name in ids)
    assert {"C10a", "C10b", "C10c", "P1b", "P2", "P3"} < set(ids)
    assert {f"M{number}" for number in range(1, 12)} < set(ids)
    assert list(judged(evidence({"baseline": 0.1})).index) == ["gate", *ids]


def sweep_evidence(gains, scheme="softmax"):
    """The baseline and one ablation a τ, with the fit made as the summary makes it."""
    names = {tau: "half" if (tau, scheme) == (0.5, "softmax") else f"{scheme}-{tau}" for tau in gains}
    weightings = {names[tau]: {"scheme": scheme, "tau": tau} for tau in gains}
    known = evidence({"baseline": 0.1, **{names[tau]: gain for tau, gain in gains.items()}}, weightings=weightings)
    success = known.measures["auc"].unstack("ablation")[list(names.values())]
    known.fits[scheme] = tau_rule.fit(list(gains), success, 1.1)
    return known


def test_breaking_temperatures():
    table = judged(sweep_evidence({0.1: 0.1, 0.25: 0.12, 0.5: 0.15, 0.75: 0.15, 1.0: -0.08, 2.0: -0.09}))
    assert table.loc["C3a τ=0.75", "verdict"] == CONTRADICTED
    assert table.loc["C3a τ=1.0", "verdict"] == table.loc["C3b τ=1.0", "verdict"] == SUPPORTED
    assert table.loc["C3c", "verdict"] == SUPPORTED


def parabola(peak):
    return {tau: 0.3 - 0.08 * (math.log(tau / 1.1 / peak)) ** 2 for tau in TAUS}


def test_temperature_rule():
    half, quarter = judged(sweep_evidence(parabola(0.5))), judged(sweep_evidence(parabola(0.2)))
    assert half.loc["C6a", "verdict"] == SUPPORTED and half.loc["C6a", "effect"] == pytest.approx(0.5, rel=0.1)
    assert half.loc["C6a", "unit"] == "τ/range" and half.loc["P2", "unit"] == "points"
    assert half.loc["P2", "verdict"] == CONTRADICTED
    assert quarter.loc["C6a", "verdict"] == CONTRADICTED
    falling = judged(sweep_evidence({tau: 0.2 - 0.1 * math.log(tau) for tau in TAUS}))
    assert falling.loc["C6a", "verdict"] == CONTRADICTED and math.isnan(falling.loc["C6a", "effect"])
    assert "edge" in falling.loc["C6a", "sentence"]
    assert falling.loc["P2", "verdict"] == SUPPORTED
    flat = judged(sweep_evidence(dict.fromkeys(TAUS, 0.1)))
    assert flat.loc["C6a", "verdict"] == flat.loc["P2", "verdict"] == UNRESOLVED


def test_a_parabola_that_the_grid_does_not_back_decides_nothing():
    """A cliff above τ = 0.5 pulls the fitted maximum to smaller τ, away from where success is highest."""
    cliff = judged(sweep_evidence({0.25: 0.19, 0.5: 0.20, 0.75: -0.05, 1.0: -0.09}))
    assert cliff.loc["C6a", "verdict"] == UNRESOLVED


def test_annealing():
    schedule = {"scheme": "softmax", "tau": {"from": 0.75, "to": 0.25, "steps": 60}}
    weightings = {"anneal": schedule, "hot": {"scheme": "softmax", "tau": 0.75}}

    def table(anneal, hot, half):
        gains = {"baseline": 0.1, "anneal": anneal, "hot": hot, "half": half}
        return judged(evidence(gains, weightings=weightings))

    assert table(0.2, -0.08, 0.2).loc[["C4a", "C4b"], "verdict"].tolist() == [SUPPORTED, SUPPORTED]
    assert table(0.3, 0.1, 0.1).loc[["C4a", "C4b"], "verdict"].tolist() == [CONTRADICTED, CONTRADICTED]


def test_early_training_is_judged_by_direction():
    known = evidence(
        {"baseline": 0.1, "half": 0.2},
        entropy_early={"baseline": 0.89, "half": 0.53},
        grad_norm_early={"baseline": 2.34, "half": 1.87},
    )
    table = judged(known)
    assert table.loc["C7", "verdict"] == SUPPORTED and table.loc["C9", "verdict"] == CONTRADICTED
    assert "nats per token" in table.loc["C7", "sentence"] and table.loc["C7", "unit"] == "nats per token"
    assert table.loc["C7", "effect"] == pytest.approx(-0.36, abs=0.01)
    assert table.loc["C9", "unit"] == ""


def test_best_learning_rates():
    weightings = {"slow": LINEAR, "slow-half": SOFTMAX}
    rates = {"slow": {"learning_rate": 1e-4}, "slow-half": {"learning_rate": 1e-4}}
    gains = {"baseline": 0.05, "half": 0.1, "slow": 0.2, "slow-half": 0.05}
    row = judged(evidence(gains, weightings=weightings, training=rates)).loc["C1 best rates"]
    assert row["effect"] == pytest.approx(-5, abs=0.5) and row["verdict"] == CONTRADICTED
    words = "softmax τ=0.5 against linear, each at the learning rate that is best for the other seeds"
    assert words in row["sentence"]


def test_cold_start_needs_a_weak_base_and_no_learning_baseline():
    known = evidence({"baseline": 0.0, "half": 0.05}, spread=0.001)
    known.measures[["base", "auc", "final"]] -= BASE_SUCCESS - 0.001
    table = judged(known)
    assert table.loc["C11", "verdict"] == SUPPORTED and table.loc["C1", "verdict"] == UNRESOLVED


def test_teacher_forcing_is_judged_by_ablations_that_share_it():
    weightings = {"taught": LINEAR, "taught-half": SOFTMAX, "alone": LINEAR}
    taught = {name: {"injection": 1.0} for name in weightings} | {"alone": {"imitation": 0.0}}
    known = evidence(
        {"baseline": 0.0, "half": 0.0, "taught": 0.05, "taught-half": 0.02, "alone": 0.01},
        weightings=weightings,
        training=taught,
        spread=0.001,
    )
    assert judged(known).loc["C12 injection 1", "sentence"].startswith("Not tested")
    known.measures[["base", "final"]] -= BASE_SUCCESS - 0.001
    table = judged(known)
    cure, weights = table.loc["C12 injection 1"], table.loc["C12 injection 1, softmax"]
    assert cure["verdict"] == SUPPORTED and "linear with injection 1.0 5.1 %" in cure["sentence"]
    assert weights["verdict"] == CONTRADICTED and weights["effect"] == pytest.approx(-1.5, abs=0.2)
    assert table.loc["C12 imitation 1", "verdict"] == UNRESOLVED
    assert table.loc["C11", "verdict"] == UNRESOLVED  # the ablation that was not taught


def test_an_advantage_before_the_format_is_learned_needs_such_a_base():
    known = evidence({"baseline": 0.05, "half": 0.15})
    assert judged(known).loc["P3", "sentence"].startswith("Not tested in this experiment: needs a base model with 35")
    known.measures["base_format"] = 0.5
    assert judged(known).loc["P3", "verdict"] == SUPPORTED


def test_noise_prediction_needs_both_ablations():
    weightings = {
        "hot": {"scheme": "softmax", "tau": 1.0},
        "centered": {"scheme": "softmax_centered", "tau": 1.0},
    }
    both = judged(evidence({"baseline": 0.1, "hot": -0.08, "centered": 0.1}, weightings=weightings))
    assert both.loc["P1a τ=1.0", "verdict"] == SUPPORTED
    neither = judged(evidence({"baseline": 0.1, "hot": -0.08, "centered": -0.08}, weightings=weightings))
    assert neither.loc["P1a τ=1.0", "verdict"] == CONTRADICTED


def test_contrasts_pair_by_seed():
    known = evidence({"baseline": 0.1, "half": 0.2})
    known.measures["auc"] += 0.5 * known.measures.index.get_level_values("seed")
    first, second = known.pair(Contrast(SOFTMAX, LINEAR))
    interval = mean_interval(first["auc"] - second["auc"])
    assert interval.high - interval.low < 0.02
    assert known.pair(Contrast(SOFTMAX, BASE))[1]["base"].tolist() == [BASE_SUCCESS] * 5


@pytest.mark.parametrize("claim", [judgment.GATE, *CLAIMS], ids=lambda claim: claim.id)
def test_every_outcome_reads_as_a_clause_and_names_no_statistics(claim):
    for clause in (claim.plain.about, claim.plain.yes, claim.plain.no, claim.plain.same):
        text = clause.format(size=": about 3 right answers in 100 more")
        assert not re.search(r"[{}]", text) and text[-1:] not in (".", "?", "!") and text[:1] == text[:1].upper()
        assert not re.search(r"\b(auc|Holm|interval|p =|equivalent|baseline|centered|linear)\b", text)
    assert claim.plain.about and claim.plain.yes != claim.plain.no != claim.plain.same


def test_every_claim_about_success_that_allows_for_equality_has_words_for_it():
    """Without them a difference too small to matter would be called better or worse."""
    half = {"baseline": 0.1, "half": 0.1, "quarter": 0.1, "hot": 0.0, "anneal": 0.0, "plus": 0.1}
    weightings = {
        "quarter": {"scheme": "softmax", "tau": 0.25},
        "hot": {"scheme": "softmax", "tau": 1.0},
        "anneal": {"scheme": "softmax", "tau": {"from": 1.0, "to": 0.3, "steps": 60}},
        "plus": {"scheme": "linear_plus_one"},
    }
    known = evidence(half, weightings=weightings, gave_up=dict.fromkeys(half, 0.2))
    known.measures["first_half"] = known.measures["base"]
    known.measures.loc["baseline", "first_half"] = BASE_SUCCESS + 0.05  # its gain, of which a fifth counts as equal
    table = judged(known)
    for claim in ("C1", "C2", "C3a τ=1.0", "C5", "P1b"):
        assert table.loc[claim, "verdict"] == CONTRADICTED and table.loc[claim, "outcome"] == paired.EQUIVALENT
        assert "the difference is too small to matter" in table.loc[claim, "plain"], claim
    # A share of the wrong answers has no value before training, so no gain that a difference could be compared with.
    assert table.loc["C10c", "verdict"] == UNRESOLVED


def plain_of(known, claim="C1"):
    return judged(known).loc[claim, "plain"]


def test_verdicts_in_plain_words():
    better = evidence({"baseline": 0.05, "half": 0.15})
    assert re.fullmatch(
        r"Yes\. Training made the model better than it was before: about 2\.\d right answers in 100 more\.",
        plain_of(better, "gate"),
    )
    assert re.fullmatch(
        r"Yes\. Softmax at τ = 0\.5 did better than GRPO: about (4\.[5-9]|5|5\.[1-5]) right answers in 100 more\.",
        plain_of(better),
    )
    assert plain_of(better, "C2") == "Not tested in this experiment."
    assert re.fullmatch(
        r"No\. Softmax at τ = 0\.5 did worse than GRPO: about (4\.[5-9]|5|5\.[1-5]) right answers in 100 fewer\.",
        plain_of(evidence({"baseline": 0.15, "half": 0.05})),
    )
    assert re.fullmatch(
        r"Not resolved\. Softmax at τ = 0\.5 against GRPO: with these seeds the difference could be anything from "
        r"−\d+\.\d to \+\d+\.\d right answers in 100\.",
        plain_of(evidence({"baseline": 0.15, "half": 0.17}, spread=0.04)),
    )
    closed = plain_of(evidence({"baseline": 0.0, "half": 0.15}))
    assert closed == "Not resolved. No planned weighting clearly improved the model, so there is nothing to compare."
    one = plain_of(evidence({"baseline": 0.05, "half": 0.15}, seeds=1), "gate")
    assert one.endswith("against the base model: 1 seed is not enough to tell the effect from chance.")


def test_a_clear_difference_is_called_better_or_worse_however_small():
    """Within a fifth of the baseline's gain of 5 points: the sign comes first, and equality only without a sign."""
    level = (
        r"No\. Softmax at τ = 0\.5 did as well as GRPO: the difference is too small to matter \(measured: [+−]\d\.\d+ "
        r"right answers in 100\)\."
    )
    assert re.fullmatch(level, plain_of(evidence({"baseline": 0.1, "half": 0.1})))
    better = plain_of(evidence({"baseline": 0.1, "half": 0.11}, spread=0.001))
    assert re.fullmatch(
        r"Yes\. Softmax at τ = 0\.5 did better than GRPO: about 0\.[4-6] right .* in 100 more\.", better
    )
    worse = plain_of(evidence({"baseline": 0.12, "half": 0.10}, spread=0.0001))
    assert worse == "No. Softmax at τ = 0.5 did worse than GRPO: about 1 right answer in 100 fewer."


def test_a_correction_that_takes_a_difference_back_is_not_told_as_an_open_sign():
    text = plain_of(evidence({"baseline": 0.1, "half": 0.2}, p_holm={"half": 0.2}))
    assert re.search(
        r"against GRPO: \+[45]\.\d right answers in 100 was measured, but that alone does not decide", text
    )


def test_a_small_difference_is_not_shown_as_none():
    known = evidence({"baseline": 0.0, "half": 0.0}, spread=1e-5)
    known.measures[["base", "final"]] -= BASE_SUCCESS - 0.001
    assert re.search(r"from −0\.0[0-9]+ to \+0\.0[0-9]+ right answers in 100\.$", plain_of(known, "C11"))


def test_the_best_temperature_in_plain_words():
    assert plain_of(sweep_evidence(parabola(0.5)), "C6a").startswith(
        "Yes. Softmax did best near half the reward range, at 0.45 of the range"
    )
    quarter = plain_of(sweep_evidence(parabola(0.2)), "C6a")
    assert re.fullmatch(r"No\. Softmax did best away from half the reward range, at 0\.\d\d of the range\.", quarter)
    edge = plain_of(sweep_evidence({tau: 0.2 - 0.1 * math.log(tau) for tau in TAUS}), "C6a")
    assert edge.endswith("away from half the reward range, at the edge of the temperatures tried.")
    flat = plain_of(sweep_evidence(dict.fromkeys(TAUS, 0.1)), "C6a")
    assert flat == "Not resolved. The best τ of softmax: these runs show no clear maximum."


def test_other_measures_in_plain_words():
    values = {"entropy_early": {"baseline": 0.89, "half": 0.53}, "gave_up": {"baseline": 0.2, "half": 0.3}}
    known = evidence({"baseline": 0.1, "half": 0.2}, **values)
    assert re.fullmatch(
        r"Yes\. Early in training, the model was surer of its answers \(lower entropy\) with softmax at τ = 0\.5 "
        r"than with GRPO: a difference of −0\.3\d+ nats per token\.",
        plain_of(known, "C7"),
    )
    assert re.search(
        r"admitted defeat more often .*: about (9\.\d|10|10\.\d) wrong answers in 100 more\.$", plain_of(known, "C10c")
    )


def test_the_overview_has_every_claim_in_the_experiments_that_tested_it():
    first = judgment.judge(CLAIMS, evidence({"baseline": 0.06, "half": 0.1}), "first", "mini", "countdown")
    ablations = {"hot": {"scheme": "softmax", "tau": 1.0}}
    known = evidence({"baseline": 0.06, "half": 0.1, "hot": -0.05}, weightings=ablations)
    second = judgment.judge(CLAIMS, known, "second", "mini", "countdown")
    table = judgment.overview([first, second])
    assert list(table["claim"].unique()) == list(first["claim"])
    experiments = {claim: list(rows["experiment"]) for claim, rows in table.groupby("claim")}
    assert experiments["C1"] == ["first", "second"]
    assert experiments["C3a τ=1.0"] == ["second"]
    assert experiments["C2"] == ["first"]  # which says that it lacks the ablation
    assert table.set_index("claim").loc["C2", "seeds"] == 0
