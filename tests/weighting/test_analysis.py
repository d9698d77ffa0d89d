"""Weight analysis: figures against brute force, the reported numbers, the simulation, the tables as files."""

import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from softmax_rewards import weighting
from softmax_rewards.weighting import concentration
from softmax_rewards.weighting.study import analysis, populations, reported, signal_noise

RANGE = (0.0, 1.1)
NAMES = ["collapse", "difficulty", "groups", "map", "ratios", "reported", "schemes"]
NAMES += ["search_predictions", "search_updates", "snr", "universal"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("analysis") / "new"
    analysis.write(out, 10**6, RANGE, 8, 0)
    return out


def one_by_one(success, format_share, samples, rng):
    """The same population as `simulate`, answer by answer."""
    right = rng.random((samples, 8)) < success
    formed = ~right & (rng.random((samples, 8)) < format_share)
    return np.where(right, 1.1, np.where(formed, 0.1, 0.0)), right


# ---- concentration ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("w", "effective_n", "entropy", "max_share"),
    [
        ([1, 1, 1, 1], 4, math.log(4), 0.25),
        ([8, 0, 0, 0], 1, 0, 1),
        ([-3, 0, 0, 0], 1, 0, 1),
        ([2, -2, 0, 0], 2, math.log(2), 0.5),
        ([0, 0, 0, 0], 0, 0, 0),
        ([1e300, 1e300, 1e300, 1e300], 4, math.log(4), 0.25),
        ([1e-300, -1e-300, 0, 0], 2, math.log(2), 0.5),
    ],
)
def test_concentration_of_known_weights(w, effective_n, entropy, max_share):
    w = np.array(w, dtype=float)
    assert concentration.effective_n(w) == pytest.approx(effective_n, rel=1e-14)
    assert concentration.entropy(w) == pytest.approx(entropy, rel=1e-14, abs=1e-15)
    assert concentration.max_share(w) == pytest.approx(max_share, rel=1e-14)


def test_concentration_against_scipy():
    w = np.random.default_rng(0).normal(size=(50, 8))
    share = np.abs(w) / np.abs(w).sum(1, keepdims=True)
    assert concentration.entropy(w) == pytest.approx(stats.entropy(share, axis=1))
    assert concentration.effective_n(w) == pytest.approx(np.abs(w).sum(1) ** 2 / (w**2).sum(1))


# ---- the reported figures -----------------------------------------------------------------------


def test_the_reported_figures_agree_but_for_one():
    table = reported.table().set_index("quantity")
    assert list(table.index[table["agrees"].eq(False)]) == ["effective N, linear"]
    assert {
        "2.62",
        "2.33",
        "4.33",
        "8.0",
        "2.8",
        "6.38",
        "3.10",
        "1.0",
        "1.65",
        "2.7",
        "7.4",
        "9.0",
        "7.39",
        "0.2",
    } == {figure for figure in table["reported"] if figure != reported.NO_FIGURE}
    odd = table.loc["effective N, linear"]
    assert odd["recomputed"] == pytest.approx(3.44, abs=0.005) and "2.83" in odd["why"]


def test_the_reported_figures_from_first_principles():
    table = reported.table().set_index("quantity")["recomputed"]
    rewards = [Decimal("1.1")] + [Decimal("0.1")] * 3 + [Decimal(0)] * 4
    for tau in ("1.0", "0.5", "0.1"):
        e = [(r / Decimal(tau)).exp() for r in rewards]
        kish = sum(e) ** 2 / sum(x * x for x in e)
        assert table[f"weight on the right answer, softmax tau={tau}"] == pytest.approx(float(8 * e[0] / sum(e)))
        assert table[f"effective N, softmax tau={tau}"] == pytest.approx(float(kish))
    z = stats.zscore([float(r) for r in rewards])
    assert table["weight on the right answer, linear"] == pytest.approx(z[0], rel=1e-3)
    assert table["effective N, linear"] == pytest.approx(np.abs(z).sum() ** 2 / (z**2).sum(), rel=1e-6)


def test_any_z_score_has_the_norm_that_was_reported_as_effective_n():
    for seed in range(5):
        rewards = np.random.default_rng(seed).normal(size=(1, 8)) * 100
        w = weighting.compute("linear", rewards, rewards > 0)
        assert np.linalg.norm(w) == pytest.approx(math.sqrt(8), rel=1e-4)


# ---- populations --------------------------------------------------------------------------------


def test_simulated_compositions_have_the_distribution_of_drawing_answer_by_answer():
    samples = 20_000
    drawn = populations.simulate(0.3, 0.5, samples, RANGE, 8, np.random.default_rng(1))
    rewards, right = one_by_one(0.3, 0.5, samples, np.random.default_rng(2))
    keys, counts = np.unique(right.sum(1) * 10 + (rewards == 0.1).sum(1), return_counts=True)
    ours = dict(zip(drawn.correct.sum(1) * 10 + np.isclose(drawn.rewards, 0.1).sum(1), drawn.counts, strict=True))
    common = [(ours[key], count) for key, count in zip(keys, counts, strict=True) if count >= 10 and key in ours]
    assert drawn.counts.sum() == samples and len(common) > 20
    assert stats.chi2_contingency(np.array(common).T).pvalue > 1e-3


@pytest.mark.parametrize("scheme", weighting.names())
def test_figures_of_counted_groups_equal_those_of_single_groups(scheme):
    rewards, right = one_by_one(0.2, 0.4, 3000, np.random.default_rng(3))
    packed = np.unique(-np.sort(-rewards, axis=1), axis=0, return_counts=True)
    counted = populations.Population(packed[0], packed[0] > 1, packed[1])
    single = populations.Population(rewards, right, np.ones(len(rewards)))
    chosen = {"tau": 0.5} if "tau" in weighting.hyperparameters(scheme) else {}
    figures = populations.summarize(counted, scheme, chosen)
    assert figures == pytest.approx(populations.summarize(single, scheme, chosen), rel=1e-9, nan_ok=True)

    w = weighting.compute(scheme, rewards, right, **chosen)
    assert figures["weight_right"] == pytest.approx(w[right].mean())
    assert figures["weight_wrong"] == pytest.approx(w[~right].mean(), abs=1e-12)
    assert figures["second_moment"] == pytest.approx((w**2).sum(1).mean())
    some = np.any(w != 0, axis=1)
    assert figures["zero_groups"] == pytest.approx(1 - some.mean())
    assert figures["effective_n"] == pytest.approx(concentration.effective_n(w[some]).mean())


def test_a_coupled_scheme_gets_a_batch_of_single_groups():
    drawn = populations.simulate(0.09, 0.5, 10**6, RANGE, 8, np.random.default_rng(0))
    figures = populations.summarize(drawn, "softmax_matched", {"tau": 0.5})
    assert figures["groups"] == populations.COUPLED_BATCH
    assert figures["rms"] == pytest.approx(populations.summarize(drawn, "linear", {})["rms"], rel=0.01)


# ---- signal to noise ----------------------------------------------------------------------------


def test_predicted_signal_to_noise_is_that_of_the_plan():
    table = analysis.snr(8)
    stated = table[table["stated"].notna()]
    assert len(stated) == 5
    assert stated["snr"].to_numpy() == pytest.approx(stated["stated"].to_numpy(), abs=8e-4)
    centered = table[(table["scheme"] == "softmax_centered") & (table["success"] == 0.09)]["snr"]
    assert centered.between(0.25, 0.27).all()
    assert (table["snr"] <= table["bound"] + 1e-12).all()
    assert (table.loc[table["scheme"] == "uniform", "snr"] == 0).all()


def test_signal_to_noise_against_a_simulation_of_scores():
    rng = np.random.default_rng(4)
    right = rng.random((200_000, 8)) < 0.09
    for scheme, chosen in (("linear", {}), ("softmax", {"tau": 0.5})):
        w = weighting.compute(scheme, right.astype(float), right, **chosen)
        signal, noise = signal_noise.at_success(scheme, chosen, 0.09, 8)
        assert np.mean(w * (right - 0.09)) == pytest.approx(signal, rel=0.02)
        assert np.sqrt(np.mean(w**2)) == pytest.approx(noise, rel=0.02)


# ---- tables -------------------------------------------------------------------------------------


def test_write_stores_every_table_and_nothing_else(folder):
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.csv" for name in NAMES]


def test_equal_arguments_give_equal_bytes(folder, tmp_path):
    analysis.write(tmp_path, 10**6, RANGE, 8, 0)
    assert all((tmp_path / f"{n}.csv").read_bytes() == (folder / f"{n}.csv").read_bytes() for n in NAMES)


def test_every_scheme_is_in_every_table_of_schemes(folder):
    for name in ("schemes", "collapse", "difficulty", "snr"):
        assert set(pd.read_csv(folder / f"{name}.csv")["scheme"]) == set(weighting.names())


def test_a_million_groups(folder):
    groups = pd.read_csv(folder / "groups.csv")
    simulated = groups[groups["population"] == "simulated"].groupby(["success", "format_share"])
    assert (simulated["count"].sum() == 10**6).all() and len(simulated) == 9
    rate = simulated.apply(lambda part: (part["right"] * part["count"]).sum() / 8e6).reset_index()
    assert rate[0].to_numpy() == pytest.approx(rate["success"].to_numpy(), abs=1e-3)


def test_ratios_are_those_of_the_formula(folder):
    ratios = pd.read_csv(folder / "ratios.csv")
    assert ratios["ratio"].to_numpy() == pytest.approx(ratios["formula"].to_numpy(), rel=1e-5)
    half = ratios[(ratios["tau"] == 0.55) & (ratios["pair"] == "right : nothing")]
    assert half["ratio"].item() == pytest.approx(math.e**2, rel=1e-5)


def test_one_curve_for_every_reward_range():
    table = analysis.universal()
    keys = ["group_size", "right", "format_share", "tau_over_range"]
    spread = table.groupby(keys)[["weight_right", "contrast", "effective_n", "entropy", "max_share"]]
    assert (spread.max() - spread.min()).to_numpy().max() < 1e-9
    assert (spread.size() == len(analysis.RANGES)).all()
    # Both ends of the range are attained, so the ratio is e^(range/tau) whatever the group.
    steep = np.exp(1 / table["tau_over_range"])
    assert table["ratio"].to_numpy() == pytest.approx(steep.to_numpy(), rel=1e-9)


def test_softmax_collapses_when_sharp_and_flattens_when_warm():
    table = analysis.collapse()
    softmax = table[table["scheme"] == "softmax"].sort_values("tau")
    states = softmax["state"].tolist()
    assert states == sorted(states, key=["best of one", "between", "flat"].index) and len(set(states)) == 3
    sharp = softmax.loc[softmax["state"] == "best of one", "tau"].max()
    assert 0.1 < sharp < 0.2
    others = table.set_index("scheme")["state"]
    assert (others["best_of_n"], others["uniform"]) == ("best of one", "flat")


@pytest.mark.parametrize("reward_range", [(0.0, 1.0), (-1.0, 1.0), (0.0, 1.1)])
def test_difficulty_weighting(reward_range):
    table = analysis.difficulty(8, reward_range)
    span = reward_range[1] - reward_range[0]
    mean_zero = table[table["mean_zero"]]
    found = set(mean_zero["scheme"])
    assert {"linear", "softmax_centered", "softmax_scaled", "dr_grpo", "rloo", "maxrl", "passk"} <= found
    assert not {"softmax", "softmax_masked", "linear_plus_one", "uniform", "raft", "best_of_n"} & found
    rate = mean_zero["success"]
    assert (mean_zero["g"] * span * (1 - rate)).to_numpy() == pytest.approx(mean_zero["weight_right"], abs=1e-12)
    g = table.set_index(["scheme", "right"])["g"]
    for right in range(1, 8):
        p = right / 8
        assert g["dr_grpo", right] == pytest.approx(1)
        assert g["maxrl", right] == pytest.approx(1 / (p * span))
        assert g["linear", right] == pytest.approx(1 / (span * math.sqrt(p * (1 - p)) + 1e-4))


def test_logged_groups_give_the_same_figures():
    log = pd.DataFrame(
        {
            "step": [1, 2, 2, 3],
            "ablation": ["a", "a", "b", "b"],
            "rewards": ["1.1 0.1 0.1 0.1 0 0 0 0", "1.1 0.1 0.1 0.1 0 0 0 0", "0 0 0 0 0 0 0 0", "1.1 0 0 0"],
            "right": [1, 1, 0, 1],
            "count": [3, 2, 4, 1],
        }
    )
    table = analysis.logged(log, [("linear", {}), ("softmax", {"tau": 0.5})]).set_index(["group_size", "scheme"])
    assert table.loc[(8, "linear"), "groups"] == 9 and table.loc[(4, "linear"), "groups"] == 1
    assert table.loc[(8, "softmax"), "weight_right"] == pytest.approx(4.326, abs=1e-3)
    assert table.loc[(8, "linear"), "zero_groups"] == pytest.approx(4 / 9)
    assert table.loc[(8, "linear"), "effective_n"] == pytest.approx(3.4397, abs=1e-4)
    apart = analysis.logged(log, [("linear", {})], by=["ablation"])
    assert apart[["ablation", "group_size", "groups"]].to_numpy().tolist() == [
        ["a", 8, 5],
        ["b", 4, 1],
        ["b", 8, 4],
    ]
    assert set(analysis.logged(log)["scheme"]) == set(weighting.names())


@pytest.mark.parametrize("change", [{"right": 9}, {"right": -1}, {"count": -1}, {"rewards": "0 1.1 0 0"}])
def test_impossible_logged_groups_are_named(change):
    row = {"step": 1, "rewards": "1.1 0 0 0", "right": 1, "count": 1} | change
    with pytest.raises(
        ValueError, match=f"logged group '{row['rewards']}', right={row['right']}, count={row['count']}"
    ):
        analysis.logged(pd.DataFrame([row]))


def test_no_logged_groups_give_the_columns_and_no_rows():
    log = pd.DataFrame(columns=["step", "rewards", "right", "count"])
    some = analysis.logged(pd.DataFrame({"rewards": ["1.1 0"], "right": [1], "count": [1]}))
    assert analysis.logged(log).empty
    assert list(analysis.logged(log)) == list(some)
    assert set(populations.FIGURES) == set(populations.summarize(populations.canonical(), "linear", {}))


@pytest.mark.parametrize("group_size", [2, 3, 16])
def test_other_group_sizes(group_size, tmp_path):
    analysis.write(tmp_path, 1000, (-1.0, 1.0), group_size, 1)
    assert pd.read_csv(tmp_path / "snr.csv")["stated"].isna().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, RANGE, 8), "samples 0"),
        ((10, RANGE, 1), "group_size 1"),
        ((10, (1.0, 1.0), 8), r"reward_range: \(1\.0, 1\.0\)"),
        ((10, (0.0, math.inf), 8), r"reward_range: \(0\.0, inf\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        analysis.write(tmp_path / "none", *arguments, 0)
    assert not (tmp_path / "none").exists()
