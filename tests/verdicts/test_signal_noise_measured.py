"""Signal-to-noise of a batch from the cosine of two halves, beside its prediction."""

import math

import numpy as np
import pandas as pd
import pytest
import synthetic

from softmax_rewards.verdicts import finished, signal_noise

RANGE = (0.0, 1.1)


@pytest.mark.parametrize("snr", [0.3, 1.0, 3.0])
def test_the_cosine_of_halves_tells_the_ratio_of_the_whole(snr):
    """Halves are signal + noise, in so many dimensions and pairs that their mean cosine has hardly any spread."""
    rng = np.random.default_rng(0)
    dimensions, cosines = 20_000, []
    # The whole is the mean of the halves: its noise is √½ of theirs.
    deviation = math.sqrt(2) / snr / math.sqrt(dimensions)
    for _ in range(200):
        halves = deviation * rng.normal(size=(2, dimensions))
        halves[:, 0] += 1.0
        first, second = halves / np.linalg.norm(halves, axis=1, keepdims=True)
        cosines.append(first @ second)
    assert signal_noise.of_cosine(np.mean(cosines)) == pytest.approx(snr, rel=0.03)


def test_a_cosine_below_zero_is_no_signal_and_one_of_one_no_noise():
    assert signal_noise.of_cosine(-0.1) == 0
    assert signal_noise.of_cosine(1.0) == math.inf
    assert math.isnan(signal_noise.of_cosine(math.nan))


@pytest.fixture
def runs(tmp_path):
    ablations = {
        "baseline": {"scheme": "linear"},
        "softmax-auto": {"scheme": "softmax", "tau": "auto"},
        "anneal": {"scheme": "softmax", "tau": {"from": 0.75, "to": 0.25, "steps": 60}},
        "silent": {"scheme": "rloo"},
    }
    folders = synthetic.write_experiment(tmp_path, ablations=ablations, gains=dict.fromkeys(ablations, 0.1), seeds=3)
    for folder in folders:
        if folder.parent.name != "silent":
            metrics = pd.read_csv(folder / "metrics.csv")
            cosines = 0.1 + 0.01 * int(folder.name[-1]) + 0.2 * (-1.0) ** metrics["step"]
            metrics.assign(gradient_cosine=cosines).to_csv(folder / "metrics.csv", index=False)
    return finished.load(folders, synthetic.experiment(ablations))


def test_measured_beside_predicted(runs):
    table = signal_noise.measured(runs, RANGE).set_index("ablation")
    assert list(table.index) == ["baseline", "softmax-auto", "anneal"]
    row = table.loc["softmax-auto"]
    assert row["tau"] == pytest.approx(0.55)
    assert row["cosine"] == pytest.approx(0.11)
    assert row["snr"] == pytest.approx(math.sqrt(2 * 0.11 / 0.89))
    assert row["snr_low"] < row["snr"] < row["snr_high"]
    assert row["seeds"] == 3
    assert 0 < row["predicted"] < table.loc["baseline", "predicted"]
    assert math.isnan(table.loc["anneal", "predicted"])
    assert math.isnan(table.loc["anneal", "predicted_cosine"])
    assert math.isnan(table.loc["anneal", "tau"])


def test_the_prediction_is_scaled_by_least_squares_over_the_ablations(runs):
    """Squares of the ratios of halves: what is left of them is orthogonal to what is predicted."""
    table = signal_noise.measured(runs, RANGE).dropna(subset=["predicted"])
    odds, predicted = (table[name] / (1 - table[name]) for name in ("cosine", "predicted_cosine"))
    assert (odds - predicted) @ table["predicted"] ** 2 == pytest.approx(0, abs=1e-12)
    ratio = np.sqrt(predicted / predicted.iloc[0])
    assert ratio.tolist() == pytest.approx((table["predicted"] / table["predicted"].iloc[0]).tolist())


def test_steps_without_a_gradient_make_the_mean_too_high_and_are_not_passed_over(tmp_path):
    ablations = {"baseline": {"scheme": "linear"}}
    folders = synthetic.write_experiment(tmp_path, ablations=ablations, seeds=2)
    for missing, folder in zip((2, 12), folders, strict=True):
        metrics = pd.read_csv(folder / "metrics.csv").assign(gradient_cosine=0.1)
        metrics.loc[: missing - 1, "gradient_cosine"] = math.nan
        metrics.to_csv(folder / "metrics.csv", index=False)
    loaded = finished.load(folders, synthetic.experiment(ablations))
    both, first = signal_noise.measured(loaded, RANGE), signal_noise.measured(loaded[:1], RANGE)
    assert both["undefined"][0] == pytest.approx(7 / 120)
    assert both[["cosine", "snr", "predicted_cosine"]].isna().all(axis=None)
    assert first["cosine"][0] == pytest.approx(0.1)


def test_ablations_of_another_setting_are_measured_and_not_predicted(tmp_path):
    ablations = {"baseline": {"scheme": "linear"}, "taught": {"scheme": "linear"}}
    training = {"baseline": synthetic.TRAINING, "taught": synthetic.TRAINING | {"imitation": 1.0}}
    for name in ablations:
        for seed in range(2):
            folder = synthetic.write_run(
                tmp_path, name, seed, ablations[name], lambda steps: 0.1 + 0 * steps, training=training[name]
            )
            metrics = pd.read_csv(folder / "metrics.csv").assign(gradient_cosine=0.5 if name == "taught" else 0.1)
            metrics.to_csv(folder / "metrics.csv", index=False)
    loaded = finished.load(sorted(tmp_path.glob("*/*")), synthetic.experiment(ablations))
    table = signal_noise.measured(loaded, RANGE).set_index("ablation")
    assert table.loc["taught", "cosine"] == pytest.approx(0.5)
    assert math.isnan(table.loc["taught", "predicted"])
    assert table.loc["baseline", "predicted_cosine"] == pytest.approx(0.1)


def test_runs_that_measured_nothing_give_an_empty_table(tmp_path):
    ablations = {"baseline": {"scheme": "linear"}}
    folders = synthetic.write_experiment(tmp_path, ablations=ablations, seeds=2)
    table = signal_noise.measured(finished.load(folders, synthetic.experiment(ablations)), RANGE)
    assert table.empty
    assert list(table) == signal_noise.COLUMNS
