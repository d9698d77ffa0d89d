"""Base models in the verdicts: known success in place of step 0, checks of search, and what is kept of them."""

import dataclasses
import json
import math

import pandas as pd
import pytest
import synthetic
from matplotlib.text import Text

from softmax_rewards.config import base_settings
from softmax_rewards.config.run import Run
from softmax_rewards.report import base_models
from softmax_rewards.report.plots import trap
from softmax_rewards.verdicts import (
    aggregate,
    archive,
    bases,
    failures,
    finished,
    judgment,
    measures,
    search_predictions,
    summary,
)
from softmax_rewards.verdicts.evidence import Evidence
from softmax_rewards.verdicts.plan import CLAIMS
from softmax_rewards.weighting.study import search_path, search_prediction, search_toy

ABLATIONS = {name: synthetic.ABLATIONS[name] for name in ("baseline", "softmax-0.5")}
SEARCH = {
    "attempts": 2.0,
    "hits": 200,
    "hits_yes": 190,
    "misses": 1000,
    "misses_yes": 20,
    "gain": 0.05,
    "gain_error": 0.002,
    "by_attempt": [
        {"attempt": 1, "reached": 1.0, "hit": 0.05, "goes_on": 0.8, "right": 0.05},
        {"attempt": 2, "reached": 0.7, "hit": 0.05, "goes_on": None, "right": 0.08},
    ],
}
FIGURES = {
    "name": "mini-12345678",
    "data": "data",
    "base": "base",
    "puzzles": 1024,
    "samples": 32,
    "passk_puzzles": 256,
    "success": 0.1,
    "success_error": 0.0015,
    "greedy": 0.12,
    "pass@1": 0.11,
    "pass@4": 0.3,
    "pass@16": 0.6,
    "distinct": 1.5,
    "formatted": 0.95,
    "finished": 0.99,
    "gave_up": 0.4,
    "length": 40.0,
    "format_length_correlation": -0.25,
    "search": SEARCH,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of runs whose success at step 0 is 9 %, without a summary."""
    results = tmp_path_factory.mktemp("made")
    for folder in synthetic.write_experiment(results / "runs", ablations=ABLATIONS, seeds=2, steps=20):
        judged = json.loads((folder / "evaluation.json").read_text())
        judged["fingerprint"] = json.loads((folder / "run.json").read_text())["fingerprint"]
        (folder / "evaluation.json").write_text(json.dumps(judged))
        pd.DataFrame({"step": [1], "seconds": 0.5}).to_csv(folder / "timing.csv", index=False)
    return results


@pytest.fixture(scope="module")
def runs(results):
    """The runs, read, without an evaluation of their base model."""
    return [finished.read(folder) for folder in sorted((results / "runs").glob("*/*"))]


@pytest.fixture(scope="module")
def base(runs):
    """An evaluation of their base model: 10 %, and it can search."""
    return FIGURES | {"settings": base_settings.of(Run.from_dict(runs[0].record["config"]))}


@pytest.fixture(scope="module")
def tables(results, base):
    """The folder of the summary of the runs and their base."""
    (results / "plan.md").write_text("the plan\n")
    folders, out = sorted((results / "runs").glob("*/*")), results / "summary"
    aggregate.write(folders, out, synthetic.experiment(ABLATIONS), results / "plan.md", evaluated=[base])
    return out


def known(runs, base, **search):
    """The runs with the evaluation of their base model, whose search is changed."""
    return [dataclasses.replace(run, base=base | {"search": SEARCH | search}) for run in runs]


def judged(runs):
    """The verdicts on the runs, by claim."""
    configs = {run.ablation: run.record["config"] for run in runs}
    evidence = Evidence(measures.measure(runs), configs, "baseline", unable=bases.unable(runs))
    return judgment.judge(CLAIMS, evidence, "e", "mini", "countdown").set_index("claim")


def test_the_evaluation_of_the_base_takes_the_place_of_step_0(runs, base):
    assert (measures.measure(runs)["base"] == 0.09).all()
    measured = measures.measure(known(runs, base))
    assert (measured["base"] == 0.1).all() and (measured["base_format"] == 0.95).all()
    before, after = judged(runs).loc["gate"], judged(known(runs, base)).loc["gate"]
    assert after["effect"] == pytest.approx(before["effect"] - 1)
    # With two seeds their own spread decides, not the base model's error.
    assert after["high"] - after["low"] == pytest.approx(before["high"] - before["low"])


@pytest.mark.parametrize("other", [{"base": "another"}, {"data": "another"}, {"settings": {}}])
def test_an_evaluation_of_another_base_does_not_count(runs, base, other):
    assert bases.find(runs[0].record, [base | other]) is None
    assert bases.find(runs[0].record, [base | other, base]) == base
    assert bases.find(runs[0].record, []) is None


def test_runs_without_an_evaluation_have_no_section(runs, tmp_path):
    for table in (bases.table(runs), bases.checks(runs), bases.attempts(runs)):
        assert table.empty and len(table.columns)
    bases.table(runs).to_csv(tmp_path / "bases.csv", index=False)
    assert base_models.section(tmp_path) is None
    assert bases.unable(runs) == ""


def test_the_tables_of_the_base(tables):
    (row,) = pd.read_csv(tables / "bases.csv").to_dict("records")
    assert (row["base"], row["runs"], row["success"], row["pass@16"]) == ("mini-12345678", 4, 0.1, 0.6)
    assert (pd.read_csv(tables / "final.csv")["base"] == 0.1).all()
    assert pd.read_csv(tables / "base_attempts.csv")["right"].tolist() == [0.05, 0.08]
    checks = pd.read_csv(tables / "base_checks.csv")
    assert checks["passed"].tolist() == ["yes", "yes", "yes", "–"]
    assert checks["measured"].tolist() == [
        "95.0 % (190 of 200)",
        "2.0 % (20 of 1000)",
        "5.0, 8.0 % with 1, 2, … attempts; +5.0 points over first attempts alone",
        "-0.25",
    ]
    passes = pd.read_csv(tables / "passes.csv").set_index(["ablation", "seed"]).loc[("baseline", 0)]
    assert passes["step"].tolist() == [0, 20] and passes["pass@4"].iloc[0] == 0.3
    page = base_models.section(tables).data
    assert "mini-12345678" in page and "95.0 % (190 of 200)" in page and ">10.0%<" in page


@pytest.mark.parametrize(
    ("search", "failed"),
    [
        ({"hits_yes": 180}, "calls a right value right: 90.0 % (180 of 200), wanted above 90 %"),
        ({"hits": 0, "hits_yes": 0}, "calls a right value right: no such attempt"),
        ({"misses_yes": 50}, "calls a wrong value right: 5.0 % (50 of 1000), wanted below 5 %"),
        ({"gain": 0.003}, "success grows with the attempts allowed: "),
    ],
)
def test_without_a_base_that_can_search_no_claim_about_search_is_judged(runs, base, search, failed):
    able, not_able = judged(known(runs, base)), judged(known(runs, base, **search))
    about_search = ["C8a", "C8b", "C10a", "C10b", "C10c", "M3"]
    for claim in about_search:
        row = not_able.loc[claim]
        assert row["verdict"] == "not resolved" and failed in row["sentence"]
        assert row["plain"].startswith("Not resolved. The base model cannot search")
    pd.testing.assert_frame_equal(not_able.drop(about_search), able.drop(about_search))
    assert not able["sentence"].str.contains("cannot search").any()


def test_a_task_without_attempts_has_no_checks_of_search(runs, base):
    changed = base | {"search": None, "format_length_correlation": None}
    runs = [dataclasses.replace(run, base=changed) for run in runs]
    assert bases.checks(runs)["passed"].tolist() == ["–", "–"]
    assert bases.checks(runs)["measured"].tolist() == [
        "not applicable: this task has no attempts",
        "not applicable: format or length is constant",
    ]
    assert bases.attempts(runs).empty and bases.unable(runs) == ""


ENDINGS = {
    "endings": [
        {"attempt": 0, "misses": 1000, "goes_on": 1000, "stops": 0, "closings": 0, "formed": 0},
        {"attempt": 1, "misses": 920, "goes_on": 736, "stops": 184, "closings": 264, "formed": 264},
        {"attempt": 2, "misses": 677, "goes_on": 542, "stops": 135, "closings": 194, "formed": 194},
        {"attempt": 3, "misses": 499, "goes_on": 0, "stops": 100, "closings": 143, "formed": 143},
    ],
    "tokens": {"attempt": 15.0, "rest": 10.0},
    "by_puzzle": {"attempts": "1000 1000 1000", "hits": "80 79 81"},
    "hits_yes": 200,
}
"""Three attempts fit, 8 % of them hit, and the search goes on after 80 % of the misses."""


@pytest.fixture
def few_schemes(monkeypatch):
    schemes = search_prediction.SCHEMES
    monkeypatch.setattr(search_prediction, "SCHEMES", [setting for setting in schemes if setting[0] != "shrunk"])


def test_where_training_will_come_to_rest_is_predicted_from_the_base(runs, base, few_schemes):
    predicted = search_predictions.table(known(runs, base, **ENDINGS))
    assert set(predicted["base"]) == {"mini-12345678"} and not predicted["hidden_budget"].any()
    at = predicted.set_index(["scheme", "tau", "skip_unfinished"])["go_on"].droplevel("tau")
    size = Run.from_dict(runs[0].record["config"]).training.group_size
    search, learner = search_toy.Search.plain(0.08, 3), search_toy.Learner("linear", group_size=size)
    assert at["base", False] == pytest.approx(0.8, abs=1e-3)
    assert at["linear", False] == pytest.approx(search_path.stop(search, learner, 0.8), abs=0.02)
    assert at["linear", False] < at["dr_grpo", False] < at["raft", False]
    curves = search_predictions.curves(known(runs, base, **ENDINGS))
    assert set(curves["scheme"]) == {"linear", "dr_grpo", "softmax"}
    texts = [text.get_text() for text in trap.trap(predicted, curves).findobj(Text)]
    assert any("the base model mini-12345678 was measured" in text for text in texts)


def test_each_hidden_budget_and_group_size_has_its_predictions(runs, base, few_schemes):
    config = runs[0].record["config"]
    hidden = config | {"training": config["training"] | {"hidden_budget": 0.3, "group_size": 4}}
    known_runs = known(runs, base, **ENDINGS)
    changed = dataclasses.replace(known_runs[0], record=runs[0].record | {"config": hidden})
    predicted = search_predictions.table([*known_runs, changed])
    started = predicted[predicted["scheme"] == "base"].set_index(["group_size", "hidden_budget"])["success"]
    assert len(started) == 2 and started[4, 0.3] < started[:, 0.0].item()


def test_without_a_measured_search_nothing_is_predicted(runs, base, tables):
    for listed in (runs, known(runs, base)):
        for table in (search_predictions.table(listed), search_predictions.curves(listed)):
            assert table.empty and {"base", "scheme", "go_on"} <= set(table.columns)
    assert pd.read_csv(tables / "search_predictions.csv").empty and pd.read_csv(tables / "search_updates.csv").empty


def test_each_base_has_its_rows(runs, base):
    second = dataclasses.replace(runs[0], base=base | {"name": "mini-00000000", "success": 0.2})
    mixed = [second, *known(runs[1:], base)]
    assert bases.table(mixed)[["base", "runs"]].to_numpy().tolist() == [["mini-00000000", 1], ["mini-12345678", 3]]
    assert len(bases.checks(mixed)) == 8


def test_coverage_over_training_has_both_ends(runs, base):
    evaluations = runs[0].evaluations.copy()
    evaluations.loc[evaluations["step"].isin([10, 20]), ["pass@1", "pass@4", "pass@16"]] = [0.2, 0.4, 0.8]
    run = dataclasses.replace(runs[0], evaluations=evaluations)
    table = summary.passes([run])
    assert table["step"].tolist() == [10, 20]
    assert table["pass@4"].tolist() == [0.4, run.evaluation["pass@4"]]
    assert summary.passes(known([run], base))["pass@4"].tolist() == [0.3, 0.4, run.evaluation["pass@4"]]


def test_a_known_base_adds_no_noise_to_the_threshold_of_failure(runs, base):
    def threshold(run):
        return next(watch.threshold for watch in failures.watches(run, None) if watch.mode == "success below base")

    (run,) = known(runs[:1], base)
    margin = failures.ERRORS * math.sqrt(0.1 * 0.9 / synthetic.PUZZLES)
    assert threshold(run) == pytest.approx(0.1 - margin)
    assert threshold(runs[0]) == pytest.approx(0.09 - failures.ERRORS * math.sqrt(2 * 0.09 * 0.91 / synthetic.PUZZLES))


def test_the_archive_keeps_the_bases(results, base, tables, tmp_path):
    assert (tables / "bases.json").is_file()  # the archive takes them from the summary
    names = archive.keep(results, tmp_path / "kept")
    assert [run.base for run in archive.read(tmp_path / "kept", names)] == [base] * 4
