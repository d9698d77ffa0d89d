"""The answer in five lines, from planted tables."""

import pandas as pd
import pytest

from softmax_rewards.report import answer
from softmax_rewards.weighting.study import tau_rule

WEIGHTINGS = {"baseline": "linear", "soft": "softmax τ=0.5", "dr": "dr grpo", "hot": "softmax τ=1.0"}


def write(folder, outcomes, gate="supported", deltas=None, m5="contradicted", conditions=("",)):
    """A summary: `outcomes` has ablation → outcome; in a second condition the names end in "-room"."""
    deltas = deltas or {}
    ablations, final, compared, verdicts = [], [], [], []
    for condition in conditions:
        end = "-room" if condition == "room" else ""
        for name, weighting in WEIGHTINGS.items():
            row = {"ablation": name + end, "weighting": weighting, "setting": None, "condition": condition}
            ablations.append(row | {"baseline": "baseline" + end, "planned": name != "hot"})
            for seed in (0, 1):
                success = 0.1 + deltas.get(name, 0.0)
                final.append({"ablation": name + end, "seed": seed, "auc": 0, "final": success, "base": 0.05})
            if name != "baseline":
                delta = deltas.get(name, 0.0)
                row = {"ablation": name + end, "against": "baseline" + end, "endpoint": "auc", "delta": delta}
                row |= {
                    "low": delta - 0.01,
                    "high": delta + 0.01,
                    "family": "exploratory" if name == "hot" else "primary",
                }
                compared.append(row | {"outcome": outcomes.get(name + end, outcomes.get(name, "not resolved"))})
        subject = {"condition": condition, "model": "mini", "task": "countdown", "seeds": 2}
        verdicts.append({"claim": "gate", "verdict": gate, "plain": ""} | subject)
        verdicts.append({"claim": "M5", "verdict": m5, "plain": "No. Softmax did worse than Dr. GRPO."} | subject)
        verdicts.append({"claim": "C6a", "verdict": "not resolved", "plain": "Not resolved. Best τ: open."} | subject)
    temperatures = [
        {"scheme": "softmax", "tau": tau, "ratio": tau / 1.1, "endpoint": "auc", "mean": mean}
        for tau, mean in ((0.1, 0.2), (0.5, 0.15), (1.0, 0.1), (2.0, 0.05))
    ]
    tables = {"ablations": ablations, "final": final, "comparisons": compared, "verdicts": verdicts}
    (folder / "provenance.json").write_text('{"base": ["a"]}')
    for name, rows in (tables | {"temperature": temperatures}).items():
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)


@pytest.fixture
def summary(tmp_path):
    folder = tmp_path / "made/summary"
    folder.mkdir(parents=True)
    return folder


def answers(summary):
    return [line.answer for line in answer.lines(summary)]


def test_five_lines_with_their_numbers(summary):
    write(summary, {"soft": "better", "dr": "better"}, deltas={"soft": 0.02, "dr": 0.04})
    worked, softmax, cause, temperature, advice = answers(summary)
    assert worked == "Yes. GRPO went from 5.0 % to 10.0 % right answers, Dr. GRPO to 14.0 %."
    assert softmax == "Yes: softmax τ = 0.5 +2.0 points [+1.0, +3.0] (better)."
    assert cause == (
        "Others are better than GRPO, too: Dr. GRPO +4.0 points [+3.0, +5.0] (better). Softmax did worse than Dr. GRPO."
    )
    assert temperature == (
        "Of 4 temperatures of softmax, τ = 0.1 (20.0 %) was highest; nearest to half the range τ = 0.5 (15.0 %). "
        "Best τ: open."
    )
    assert advice.startswith("Take one of these, which are better than GRPO: Dr. GRPO; softmax τ = 0.5. Brackets are")
    assert "2 training seeds on one base model" in advice


@pytest.mark.parametrize(("outcome", "word"), [("worse", "No"), ("equivalent", "No"), ("not resolved", "Open")])
def test_the_first_word_is_the_outcome(summary, outcome, word):
    write(summary, {"soft": outcome})
    assert answers(summary)[1].startswith(f"{word}: softmax τ = 0.5 ")


def test_a_best_temperature_is_asked_for_from_as_many_on_as_in_the_plan():
    assert answer.ENOUGH == tau_rule.SMALLEST_GRID


def test_with_a_closed_gate_nothing_is_decided_and_grpo_is_kept(summary):
    write(summary, {"soft": "better", "dr": "better"}, gate="not resolved")
    worked, softmax, cause, _, advice = answers(summary)
    assert worked.startswith("Not clearly")
    assert softmax.startswith("Open: ")
    assert "(not decided)" in softmax
    assert cause == "This experiment does not say."
    assert advice.startswith("Keep GRPO")


def test_what_is_worse_in_one_condition_is_not_advised(summary):
    outcomes = {"soft": "better", "dr": "better", "soft-room": "worse", "dr-room": "equivalent"}
    write(summary, outcomes, conditions=("trap", "room"))
    _, softmax, _, _, advice = answers(summary)
    assert softmax.count("softmax τ = 0.5") == 2
    assert softmax.startswith("trap: Yes: ")
    assert " room: No: " in softmax
    assert advice.startswith("Take one of these, which are better in one condition and worse in none: Dr. GRPO. ")


def test_the_command_prints_every_finished_experiment(summary, monkeypatch, capsys):
    write(summary, {})
    (summary.parents[1] / "begun").mkdir()
    monkeypatch.chdir(summary.parents[2])
    summary.parents[1].rename("results")
    answer.main([])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "results/made/report/index.html"
    assert len(printed) == 6
    with pytest.raises(SystemExit, match=r"results/begun: no summary/final.csv; allowed: results/<experiment>"):
        answer.main(["results/begun"])
