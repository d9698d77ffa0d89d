"""Summaries of made-up run folders: tables, refusals, repeatability."""

import hashlib
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from softmax_rewards.common import stats
from softmax_rewards.report import display
from softmax_rewards.verdicts import aggregate, mixed

PRIMARY = ["softmax-0.5", "softmax-0.25", "softmax-1.0"]


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.md"
    path.write_text("the plan\n")
    return path


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Run folders that no test changes."""
    return synthetic.write_experiment(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def summary(made, tmp_path_factory):
    """The summary of `made`."""
    folder = tmp_path_factory.mktemp("summary")
    (folder / "plan.md").write_text("the plan\n")
    return summarize(made, folder / "out", folder / "plan.md")


def summarize(runs, out: Path, plan: Path, ablations=synthetic.ABLATIONS) -> Path:
    aggregate.write(runs, out, synthetic.experiment(ablations, PRIMARY), plan)
    return out


def edit(path: Path, change) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.fixture
def runs(made, tmp_path):
    """Two ablations with two seeds each, to be damaged."""
    copied = []
    for run in made:
        if run.parent.name in ("baseline", "softmax-0.5") and run.name != "seed-2":
            copied.append(Path(shutil.copytree(run, tmp_path / "runs" / run.parent.name / run.name)))
    return copied


def test_a_planned_ablation_without_runs_still_counts_in_the_family(made, tmp_path, plan):
    present = [run for run in made if run.parent.name in ("baseline", "softmax-0.5")]
    compared = pd.read_csv(summarize(present, tmp_path / "out", plan) / "comparisons.csv").set_index("ablation")
    planned = compared[compared["family"] == "primary"]
    assert sorted(planned.index) == sorted(PRIMARY)
    row = planned.loc["softmax-0.5"]
    assert row["p_holm"] == pytest.approx(min(1, len(PRIMARY) * row["p"]), rel=1e-4)
    assert planned.loc["softmax-1.0", ["delta", "p_holm"]].isna().all()
    # A planned comparison must pass Holm's first level, so it can find less than an exploratory one.
    deltas = [run_auc(present, "softmax-0.5", seed) - run_auc(present, "baseline", seed) for seed in range(3)]
    # The three differences agree better than the sampling of answers allows, so they do not say how large the noise is.
    noise = max(np.std(deltas, ddof=1), sampling_noise(present, "softmax-0.5", "baseline"))
    strict = stats.minimum_detectable_effect(noise, 3, confidence=1 - 0.05 / len(PRIMARY))
    assert row["mde"] == pytest.approx(strict, rel=1e-2)


def run_auc(runs, ablation, seed):
    (folder,) = (run for run in runs if (run.parent.name, run.name) == (ablation, f"seed-{seed}"))
    curve = pd.read_csv(folder / "evaluations.csv")
    return stats.area(curve["step"], curve["success"])


def sampling_noise(runs, *ablations):
    """Standard deviation of the difference of two AUCs, if only the sampling of answers varied: a seed's mean."""
    variances = []
    for run in runs:
        if run.parent.name in ablations:
            success = pd.read_csv(run / "evaluations.csv")["success"].to_numpy()[1:]  # step 0 is the same for both
            weights = np.array([2.0] * 11 + [1.0]) / 24
            variances.append(weights**2 @ (success * (1 - success)) / synthetic.PUZZLES)
    return math.sqrt(2 * np.mean(variances))


def test_tables(made, summary):
    tables = {path.stem: pd.read_csv(path) for path in summary.glob("*.csv")}
    evaluations = 6 * 3 * 13
    assert len(tables["trajectories"]) == evaluations and len(tables["metrics"]) == 6 * 3 * 120
    assert len(tables["curves"]) == 6 * 13 and (tables["curves"]["seeds"] == 3).all()
    row = tables["final"].set_index(["ablation", "seed"]).loc[("softmax-0.5", 1)]
    curve = pd.read_csv(made[0].parents[1] / "softmax-0.5" / "seed-1" / "evaluations.csv")
    assert row["final"] == pytest.approx(curve["success"].iloc[-1], rel=1e-5)
    assert row["auc"] == pytest.approx(stats.area(curve["step"], curve["success"]), rel=1e-5)
    assert row["base"] == 0.09 and row["tokens"] == 2_400_000
    compared = tables["comparisons"].set_index(["ablation", "endpoint"])
    assert set(compared.index.get_level_values("ablation")) == set(synthetic.ABLATIONS) - {"baseline"}
    primary = compared[compared["family"] == "primary"]
    assert set(primary.index) == {(name, "auc") for name in PRIMARY}
    np.testing.assert_allclose(primary["p_holm"], stats.holm(primary["p"]), rtol=1e-4)
    assert compared.loc[compared["family"] == "exploratory", "p_holm"].isna().all()
    assert compared.loc[("softmax-1.0", "final"), "delta"] == pytest.approx(-0.17, abs=0.01)
    assert tables["temperature"].query("scheme == 'softmax' and endpoint == 'auc'")["tau"].tolist() == [
        0.25,
        0.5,
        0.75,
        1.0,
    ]
    found = tables["verdicts"].set_index("claim")["verdict"]
    assert found["C3a τ=1.0"] == found["C3b τ=1.0"] == "supported"
    assert found["C4a"] == "not resolved"
    gate = tables["verdicts"].iloc[0]
    assert (gate["claim"], gate["verdict"], gate["unit"]) == ("gate", "supported", "points")
    # The sentence names the ablation that is most clearly above the base model: by half of its gain at the end.
    clearest = re.search(r"base model, (\S+): \+", gate["sentence"])[1]
    assert gate["effect"] == pytest.approx(100 * synthetic.GAINS[clearest] / 2, abs=0.7)
    others = gate["sentence"].partition("also better than the base model: ")[2]
    assert {clearest, *others.rstrip(".").split(", ")} == {"baseline", "softmax-0.25", "softmax-0.5"}
    fits = json.loads((summary / "temperature_fit.json").read_text())
    assert fits["softmax"]["auc"]["seeds"] == 3 and fits["softmax_centered"]["auc"]["ratio"] is None
    assert {"failures", "reported_training", "logged_weights", "logged_map", "puzzles", "negative_controls"} < set(
        tables
    )


def test_robust_figures_stand_beside_the_paired_ones(summary):
    table = pd.read_csv(summary / "robust.csv").set_index(["ablation", "endpoint"])
    final = pd.read_csv(summary / "final.csv").set_index("ablation")
    assert set(table.index) == {
        (ablation, endpoint) for ablation in synthetic.ABLATIONS for endpoint in ("auc", "final")
    }
    assert table.loc[("softmax-0.5", "final"), "iqm"] == pytest.approx(final.loc["softmax-0.5", "final"].mean())
    # Planted far apart: every run of one is above every run of the other.
    assert table.loc[("softmax-0.5", "auc"), ["improvement", "improvement_low"]].tolist() == [1, 1]
    assert table.loc[("softmax-1.0", "auc"), ["improvement", "improvement_high"]].tolist() == [0, 0]
    assert table.loc["baseline", "improvement"].isna().all()


def test_samples_are_the_smallest_seeds_ablations_side_by_side(summary):
    rows = [json.loads(line) for line in (summary / "samples.jsonl").read_text().splitlines()]
    assert [row["ablation"] for row in rows[:6]] == list(synthetic.ABLATIONS)
    assert {(row["step"], row["puzzle"]) for row in rows[:6]} == {(0, 0)}
    assert {row["seed"] for row in rows} == {0} and len(rows) == 6 * 13 * 8


def test_output_is_the_same_bytes_in_any_order_of_runs(made, summary, tmp_path, plan):
    again = summarize(made[::-1], tmp_path / "again", plan)
    for path in summary.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name
    assert {path.name for path in summary.iterdir()} == {path.name for path in again.iterdir()}


def test_provenance_holds_the_plan_and_every_run(summary):
    recorded = json.loads((summary / "provenance.json").read_text())
    assert recorded["plan_sha256"] == hashlib.sha256(b"the plan\n").hexdigest()
    assert recorded["seeds"] == [0, 1, 2] and len(recorded["runs"]) == 18
    assert recorded["runs"]["baseline/seed-0"] == "baseline-0" and recorded["device"] == ["cpu"]


def test_provenance_says_under_which_plan_the_runs_started(runs, tmp_path, plan):
    edit(runs[0] / "run.json", lambda record: record.update(plan="earlier"))
    edit(runs[1] / "run.json", lambda record: record.update(plan=hashlib.sha256(b"the plan\n").hexdigest()))
    edit(runs[2] / "run.json", lambda record: record.update(plan=None))  # there was no plan's file; the fourth is older
    recorded = json.loads((summarize(runs, tmp_path / "s", plan) / "provenance.json").read_text())
    assert recorded["runs_by_plan"] == {recorded["plan_sha256"]: 1, "earlier": 1, "unrecorded": 2}
    page = display.provenance(recorded).data
    assert "the plan that they are judged by: plan earlier: 1; no plan was recorded: 2.</p>" in page
    recorded["runs_by_plan"] = {recorded["plan_sha256"]: 4}
    assert "judged by" not in display.provenance(recorded).data
    del recorded["runs_by_plan"]  # of earlier code
    assert "judged by" not in display.provenance(recorded).data


def test_single_seed_resolves_nothing(made, tmp_path, plan):
    out = summarize([run for run in made if run.name == "seed-0"], tmp_path / "s", plan)
    assert set(pd.read_csv(out / "verdicts.csv")["verdict"]) == {"not resolved"}
    compared = pd.read_csv(out / "comparisons.csv")
    assert compared["low"].isna().all() and compared["mde"].isna().all() and compared["delta"].notna().all()


@pytest.mark.parametrize(
    ("baseline", "softmax", "spread", "expected"),
    [
        (0.10, 0.20, 0.004, "supported"),
        (0.10, 0.02, 0.004, "contradicted"),
        (0.10, 0.10, 0.004, "contradicted"),  # equivalent
        (0.50, 0.55, 0.08, "not resolved"),  # four seeds are too few for this spread
        (0.00, 0.30, 0.004, "supported"),  # the baseline did not learn, but a planned ablation did
        (-0.05, 0.00, 0.004, "not resolved"),  # none learned
    ],
)
def test_planted_effects(tmp_path, plan, baseline, softmax, spread, expected):
    ablations = {name: synthetic.ABLATIONS[name] for name in ("baseline", "softmax-0.5")}
    gains = {"baseline": baseline, "softmax-0.5": softmax}
    made = synthetic.write_experiment(
        tmp_path / "runs", ablations=ablations, gains=gains, spread=spread, seeds=4, steps=20
    )
    aggregate.write(made, tmp_path / "s", synthetic.experiment(ablations, ["softmax-0.5"]), plan)
    assert pd.read_csv(tmp_path / "s" / "verdicts.csv").set_index("claim").loc["C1", "verdict"] == expected


def test_equal_tokens_compare_up_to_the_smaller_count(tmp_path, plan):
    """The softmax ablation has the same curve over steps but spends twice the tokens: behind at equal tokens."""
    runs = [
        synthetic.write_run(
            tmp_path / "runs", name, seed, weighting, lambda step: 0.1 + 0.001 * step, tokens_a_step=tokens
        )
        for seed in (0, 1)
        for name, weighting, tokens in (
            ("baseline", {"scheme": "linear"}, 1000),
            ("softmax-0.5", synthetic.ABLATIONS["softmax-0.5"], 2000),
        )
    ]
    out = summarize(runs, tmp_path / "s", plan)
    delta = pd.read_csv(out / "comparisons.csv").dropna(subset="delta").set_index("endpoint")["delta"]
    assert delta["auc"] == 0 and delta["final"] == 0
    # At 120 000 tokens one ablation has done 120 steps, the other 60: means 0.16 and 0.13.
    assert delta["auc_tokens"] == pytest.approx(-0.03)


def test_auto_temperature_stands_once_in_the_sweep(tmp_path, plan):
    ablations = {
        "baseline": {"scheme": "linear"},
        "fixed": {"scheme": "softmax", "tau": 0.55},
        "auto": {"scheme": "softmax", "tau": "auto"},
        "annealed": {"scheme": "softmax", "tau": {"from": 0.75, "to": 0.25, "steps": 60}},
    }
    made = synthetic.write_experiment(
        tmp_path / "runs", ablations=ablations, gains=dict.fromkeys(ablations, 0.1), seeds=2, steps=20
    )
    aggregate.write(made, tmp_path / "s", synthetic.experiment(ablations), plan)
    sweep = pd.read_csv(tmp_path / "s" / "temperature.csv")
    assert sweep["ablation"].unique().tolist() == ["fixed"] and sweep["ratio"].unique().tolist() == [0.5]


def test_negative_controls(tmp_path, plan):
    ablations = {"baseline": {"scheme": "linear"}, "rloo": {"scheme": "rloo"}, "dr": {"scheme": "dr_grpo"}}
    made = synthetic.write_experiment(
        tmp_path / "runs", ablations=ablations, gains=dict.fromkeys(ablations, 0.3), seeds=3, steps=20
    )
    aggregate.write(made, tmp_path / "s", synthetic.experiment(ablations), plan)
    (row,) = pd.read_csv(tmp_path / "s" / "negative_controls.csv").to_dict("records")
    assert (row["ablation"], row["against"], row["equivalent"]) == ("rloo", "dr", True)


# --- refusals: one line that names the run, and nothing is written ----------------------------------------


def refuse(runs, tmp_path, plan, match: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        summarize(runs, tmp_path / "summary", plan)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "summary").exists()


def test_a_second_verdict_has_a_column_only_where_a_run_has_it(runs, summary, tmp_path, plan):
    assert "flexible" not in pd.read_csv(summary / "final.csv")
    for path in (run / "evaluation.json" for run in runs[1:]):  # the first run is an archived one of earlier code
        edit(path, lambda record: record.update(flexible=0.25))
    evaluations = runs[1] / "evaluations.csv"
    pd.read_csv(evaluations).assign(flexible=0.5).to_csv(evaluations, index=False)
    final = pd.read_csv(summarize(runs, tmp_path / "summary", plan) / "final.csv")
    assert final["flexible"].isna().sum() == 1 and (final["flexible"].dropna() == 0.25).all()


def test_refuses_a_missing_file(runs, tmp_path, plan):
    (runs[0] / "evaluation.json").unlink()
    refuse(runs, tmp_path, plan, r"baseline/seed-0: evaluation\.json missing")


def test_refuses_an_incomplete_run(runs, tmp_path, plan):
    path = runs[1] / "evaluations.csv"
    pd.read_csv(path).iloc[:-1].to_csv(path, index=False)
    refuse(
        runs,
        tmp_path,
        plan,
        r"baseline/seed-1: incomplete: evaluated at steps 0 to 110, training\.steps is 120",
    )


@pytest.mark.parametrize(
    ("key", "what"),
    [("trainer", "trainer code"), ("data", "data"), ("base", "base models"), ("code", "scheme softmax")],
)
def test_refuses_runs_that_do_not_belong_together(runs, tmp_path, plan, key, what):
    edit(runs[3] / "run.json", lambda record: record.update({key: "another"}))
    refuse(runs, tmp_path, plan, rf"different .*{what} .*softmax-0\.5/seed-0; softmax-0\.5/seed-1$")


@pytest.fixture
def two_bases(runs):
    """The same runs as those of an experiment with two base models."""
    for run in runs:
        edit(run / "run.json", lambda record: start_from(record, record["seed"] % 2))
    ablations = {name: synthetic.ABLATIONS[name] for name in ("baseline", "softmax-0.5")}
    return runs, synthetic.experiment(ablations, ["softmax-0.5"]) | {
        "bases": 2,
        "task": seeded(0)["task"],
        "model": seeded(0)["model"],
    }


def seeded(base: int) -> dict:
    model = synthetic.MODEL | {"seed": base, "warm_start": {"seed": 3 + base}}
    return {"task": synthetic.TASK | {"seed": 7 + base}, "model": model}


def start_from(record: dict, base: int) -> None:
    record.update(data=f"data {base}", base=f"base {base}")
    record["config"].update(seeded(base))


def test_runs_of_several_bases_are_summarized_over_bases(two_bases, tmp_path, plan):
    runs, experiment = two_bases
    aggregate.write(runs, tmp_path / "s", experiment, plan)
    table = pd.read_csv(tmp_path / "s/mixed.csv")
    assert table[["ablation", "endpoint", "bases", "seeds"]].values.tolist() == [
        ["softmax-0.5", "auc", 2, 2],
        ["softmax-0.5", "final", 2, 2],
    ]
    compared = pd.read_csv(tmp_path / "s/comparisons.csv").set_index("endpoint")
    assert table["delta"].tolist() == pytest.approx(compared.loc[["auc", "final"], "delta"].tolist())
    assert json.loads((tmp_path / "s/provenance.json").read_text())["base"] == ["base 0", "base 1"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda record: record.update(base="another"),
            r"different base models for base 1 .*: baseline/seed-1; softmax-0\.5/seed-1$",
        ),
        (
            lambda record: record.update(data="another"),
            r"different data for base 1 .*: baseline/seed-1; softmax-0\.5/seed-1$",
        ),
        # An archived run of the same ablation from an experiment with one base model.
        (lambda record: record["config"].update(seeded(0)), r"different softmax-0\.5 settings"),
    ],
)
def test_refuses_runs_of_one_seed_that_start_from_different_bases(two_bases, tmp_path, plan, change, match):
    runs, experiment = two_bases
    edit(runs[3] / "run.json", change)
    with pytest.raises(ValueError, match=match) as caught:
        aggregate.write(runs, tmp_path / "s", experiment, plan)
    assert "\n" not in str(caught.value)


def test_one_base_has_no_mixed_model(summary):
    assert (summary / "mixed.csv").read_text().splitlines() == [",".join(mixed.COLUMNS)]


def test_code_of_different_schemes_may_differ(runs, tmp_path, plan):
    for run in runs[2:]:
        edit(run / "run.json", lambda record: record.update(code="newer"))
    assert summarize(runs, tmp_path / "summary", plan).exists()


def test_runs_of_two_samplers_may_be_compared(runs, tmp_path, plan):
    def vllm(record):
        record["config"]["training"]["sampler"] = "vllm"
        record.update(code="with vllm", sampler="first")

    for run in runs[2:]:
        edit(run / "run.json", vllm)
    assert summarize(runs, tmp_path / "compared", plan).exists()
    edit(runs[3] / "run.json", lambda record: record.update(sampler="second"))
    refuse(runs, tmp_path, plan, r"different code of sampler vllm .*: softmax-0\.5/seed-0; softmax-0\.5/seed-1$")


def test_refuses_seeds_of_one_ablation_with_other_settings(runs, tmp_path, plan):
    edit(runs[3] / "run.json", lambda record: record["config"]["training"].update(learning_rate=1e-3))
    refuse(runs, tmp_path, plan, r"different softmax-0\.5 settings")


def test_refuses_unknown_double_and_absent_runs(runs, tmp_path, plan):
    refuse([*runs, runs[0]], tmp_path, plan, "a second run of ablation 'baseline', seed 0")
    refuse(runs[2:], tmp_path, plan, "no run of the baseline 'baseline' among the 2 runs given")
    refuse([], tmp_path, plan, "no run of the baseline")
    edit(runs[3] / "run.json", lambda record: record.update(ablation="softmax-0.6"))
    refuse(runs, tmp_path, plan, r"unknown ablation 'softmax-0\.6' \(nearest: 'softmax-0\.5'\)")


def test_curves_have_a_t_interval_over_seeds(made, summary):
    row = pd.read_csv(summary / "curves.csv").set_index(["ablation", "step"]).loc[("baseline", 120)]
    values = [pd.read_csv(run / "evaluations.csv")["success"].iloc[-1] for run in made if run.parent.name == "baseline"]
    expected = stats.mean_interval(values)
    assert (row["mean"], row["low"], row["high"]) == pytest.approx(expected[:3], rel=1e-4)
    assert not math.isnan(row["low"])
