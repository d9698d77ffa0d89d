import pandas as pd
import pytest

from softmax_rewards.report import contrast_table, model_sizes, names
from softmax_rewards.report.plots import grouping


@pytest.mark.parametrize(
    ("weighting", "setting", "label"),
    [
        ("linear", None, "GRPO (z-score)"),
        ("linear", "skip_unfinished True", "GRPO (z-score), cut answers left out"),
        ("softmax centered τ=1.0", None, "centered softmax τ = 1"),
        ("softmax τ 0.75→0.25", None, "softmax τ 0.75 → 0.25"),
        ("softmax τ=auto", None, "softmax τ = auto"),
        ("dr grpo", "learning_rate 0.0016, skip_equal True", "Dr. GRPO, rate 1.6e-3, equal groups left out"),
        ("raft", "prompts_per_step 32, group_size 16", "RAFT, groups of 16"),
        ("raft", "injection {'reward': 1.0, 'from': 'x'}", "RAFT, injection {'reward': 1.0, 'from': 'x'}"),
        ("top half", "lr_decay cosine", "top half, lr decay cosine"),
    ],
)
def test_a_label_comes_from_scheme_temperature_and_settings(weighting, setting, label):
    table = pd.DataFrame({"ablation": ["any-slug"], "weighting": weighting, "setting": setting})
    assert names.described(["any-slug"], table)["any-slug"].label == label


@pytest.mark.parametrize(
    ("slug", "label"),
    [
        ("baseline", "baseline"),
        ("linear-skip-unfinished", "GRPO (z-score), skip unfinished"),
        ("softmax-0.5-lr-1e-4", "softmax τ = 0.5, lr 1e 4"),
        ("centered-0.5", "centered softmax τ = 0.5"),
        ("anneal-0.75-0.25", "softmax τ 0.75 → 0.25"),
        ("dr-grpo", "Dr. GRPO"),
        ("linear-groups-of-16", "GRPO (z-score), groups of 16"),
        ("my own", "my own"),
    ],
)
def test_without_a_table_the_slug_says_what_an_ablation_is(slug, label):
    assert names.described([slug])[slug].label == label


def test_ablations_with_the_same_weights_and_setting_keep_different_labels():
    slugs = ["anneal-0.75-0.25", "anneal-0.75-0.25-cosine"]
    table = pd.DataFrame({"ablation": slugs, "weighting": "softmax τ 0.75→0.25", "setting": None})
    labels = [ablation.label for ablation in names.described(slugs, table).values()]
    assert labels == ["softmax τ 0.75 → 0.25", "softmax τ 0.75 → 0.25, cosine"]


def frame(**seeds):
    rows = [(slug.replace("_", "-"), seed) for slug, count in seeds.items() for seed in range(count)]
    return pd.DataFrame(rows, columns=["ablation", "seed"])


def groups(table):
    return grouping.groups(table, names.described(table["ablation"]), "baseline")


def test_a_table_has_names_instead_of_slugs_and_conditions_where_there_are_several():
    ablations = pd.DataFrame(
        {
            "ablation": ["baseline", "raft", "baseline-room"],
            "weighting": ["linear", "raft", "linear"],
            "setting": None,
            "condition": ["trap", "trap", "room"],
        }
    )
    pairs = pd.DataFrame({"ablation": ["raft"], "against": ["baseline"], "delta": [0.1]})
    assert names.labeled(pairs, ablations).values.tolist() == [["RAFT", "GRPO (z-score), trap", 0.1]]
    runs = names.labeled(ablations[["ablation"]], ablations)
    assert runs["ablation"].tolist() == ["GRPO (z-score), trap", "RAFT", "GRPO (z-score), room"]


def test_few_ablations_share_one_panel_and_many_have_panels_of_their_family():
    [alone] = groups(frame(baseline=3, raft=3, maxrl=3))
    assert alone.title == "" and set(alone.ablations) == {"raft", "maxrl"} and alone.seeds == {0, 1, 2}
    grid = {f"softmax-{tau}": 3 for tau in (0.05, 0.1, 0.25, 0.5, 0.75, 1.0)}
    first, second, others = groups(frame(baseline=3, raft=3, **grid))
    assert first.title == "softmax, τ = 0.05 to 0.25" and first.ablations == [
        "softmax-0.05",
        "softmax-0.1",
        "softmax-0.25",
    ]
    assert second.title == "softmax, τ = 0.5 to 1" and others.ablations == ["raft"]


def test_ablations_with_other_seeds_have_a_panel_of_their_own():
    made = groups(frame(baseline=10, raft=3, maxrl=10))
    assert [(group.ablations, len(group.seeds)) for group in made] == [(["maxrl"], 10), (["raft"], 3)]
    assert [group.title for group in made] == ["MaxRL, 10 seeds", "RAFT, 3 seeds"]


def test_the_table_of_contrasts_is_short_and_says_what_it_leaves_out():
    rows = [("the weights", f"raft-{i}", endpoint, i / 100) for i in range(20) for endpoint in ("auc", "final")]
    table = pd.DataFrame(rows, columns=["question", "ablation", "endpoint", "delta"])
    table = table.assign(against="linear", low=0.0, high=0.1, p=0.5, seeds=3, mde=0.1)
    ablations = pd.DataFrame({"ablation": table["ablation"].unique()}).assign(
        weighting="raft", setting="kl_coef 0.02", condition=None
    )
    page = contrast_table.show(table, ablations).data
    assert page.count("<tr>") == 1 + contrast_table.MOST_ROWS and "+19.0" in page and "+11.0" not in page
    assert f"{40 - contrast_table.MOST_ROWS} more rows" in page and "summary/contrasts.csv" in page
    assert "No two ablations" in contrast_table.show(table[:0], ablations).data


def test_sizes_of_models_come_from_the_names_of_experiments(tmp_path):
    for size in ("0.4m", "6m", "large"):
        folder = tmp_path / f"countdown-mini-scale-{size}/summary"
        folder.mkdir(parents=True)
        compared = pd.DataFrame({"ablation": ["raft", "raft"], "endpoint": ["auc", "final"]})
        compared.assign(against="baseline", delta=0.01, low=0.0, high=0.02).to_csv(folder / "comparisons.csv")
        described = pd.DataFrame({"ablation": ["raft"], "weighting": "raft", "setting": None, "baseline": "baseline"})
        described.to_csv(folder / "ablations.csv")
    assert model_sizes.table(tmp_path)["size"].tolist() == [0.4, 6.0]
    assert model_sizes.table(tmp_path / "none").empty
