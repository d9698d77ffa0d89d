import io
import math

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot
from matplotlib.collections import LineCollection
from scipy.stats import t
from seaborn.utils import relative_luminance

from softmax_rewards.common import files, provenance
from softmax_rewards.report import names
from softmax_rewards.report.plots import (
    bandit,
    comparisons,
    contrasts,
    gains,
    map_found,
    passes,
    scheme_map,
    sizes,
    temperature,
    training,
    trap,
    weights,
)
from softmax_rewards.report.plots.drawing import Missing
from softmax_rewards.report.plots.style import color, looks
from softmax_rewards.weighting.study import analysis, search_prediction

ABLATIONS = ["baseline", "softmax-0.25", "softmax-0.5", "softmax-1.0", "centered-0.5", "anneal-0.75-0.25", "maxrl"]


def runs(ablations=ABLATIONS, seeds=3, steps=(0, 10, 20)):
    rng = np.random.default_rng(0)
    rows = [
        {
            "ablation": ablation,
            "seed": seed,
            "step": step,
            "tokens": step * 1000.0 * (1 + place),
            "success": 0.09 + 0.001 * step * (place + rng.normal()),
            "entropy": rng.random(),
        }
        for place, ablation in enumerate(ablations)
        for seed in range(seeds)
        for step in steps
    ]
    return pd.DataFrame(rows)


def texts(figure):
    return [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]


def lines(figure):
    """label -> (x, y) of the lines of every panel."""
    found = {}
    for axes in figure.axes:
        for line in (line for line in axes.get_lines() if not line.get_label().startswith("_")):
            found.setdefault(line.get_label(), []).append((line.get_xdata(), line.get_ydata()))
    return found


def marks(axes):
    """The values of x at the marks of single points."""
    single = [
        line for line in axes.get_lines() if len(line.get_xdata()) == 1 and line.get_marker() not in ("x", "None")
    ]
    return [x for line in single for x in line.get_xdata() if math.isfinite(x)]


def whiskers(axes):
    """[low, high] of the horizontal whiskers."""
    found = [band.get_segments() for band in axes.collections if isinstance(band, LineCollection)]
    return [list(segment[:, 0]) for segments in found for segment in segments]


def described(slugs):
    return names.described(slugs)


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.permutations(ABLATIONS))
def test_an_ablation_looks_the_same_in_whatever_order_a_table_names_the_ablations(ablations):
    assert looks(described(ablations)) == looks(described(ABLATIONS))


def test_no_two_ablations_look_alike():
    many = [*ABLATIONS, "softmax-0.75", "softmax-2.0", "raft", "rloo", "uniform", "centered-1.0", "softmax-0.5-kl"]
    found = [(str(look["color"]), look["marker"], look["linestyle"]) for look in looks(described(many)).values()]
    assert len(found) == len(set(found)) == len(many)


def test_a_high_temperature_is_darker_and_a_scheme_has_one_hue():
    lightness = [relative_luminance(color("softmax", tau)) for tau in (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.0, 10.0)]
    assert lightness == sorted(lightness, reverse=True)
    assert color("softmax", "0.5") == color("softmax", 0.5) != color("softmax_centered", 0.5)


def test_trajectories_draw_the_mean_over_seeds_of_every_ablation_beside_the_baseline():
    frame = runs()
    drawn = lines(training.trajectories(frame))
    assert len(drawn["baseline"]) == 2  # one per panel: six ablations beside the baseline do not fit into one
    means = frame[frame["ablation"] == "softmax-0.5"].groupby("step")["success"].mean()
    [(x, y)] = drawn["τ = 0.5"]
    np.testing.assert_allclose(x, [0, 10, 20])
    np.testing.assert_allclose(y, means)


def test_trajectories_at_equal_tokens_are_placed_at_the_tokens_generated():
    [(x, _)] = lines(training.trajectories(runs(), x="tokens"))["τ = 0.25"]
    np.testing.assert_allclose(x, [0, 20_000, 40_000])


def test_bands_are_t_intervals_over_seeds():
    frame = runs(seeds=4)
    found = training.over_seeds(frame, "success").set_index(["ablation", "step"]).loc[("maxrl", 20)]
    values = frame[(frame["ablation"] == "maxrl") & (frame["step"] == 20)]["success"]
    low, high = t.interval(0.95, 3, values.mean(), values.std(ddof=1) / 2)
    assert (found["low"], found["high"]) == pytest.approx((low, high))


def test_one_seed_has_a_line_and_no_band():
    figure = training.trajectories(runs(seeds=1))
    bands = [path for axes in figure.axes for band in axes.collections for path in band.get_paths()]
    assert len(lines(figure)) == len(ABLATIONS)
    assert not any(len(path.vertices) for path in bands)


def test_over_training_averages_steps_in_bins_and_names_units():
    frame = runs(steps=range(1, 121))
    figure = training.over_training(frame, {"entropy": "entropy (nats/token)", "missing": "absent"}, points=30)
    [(x, y)] = lines(figure)["MaxRL"]
    assert list(x) == list(range(4, 121, 4))
    first = frame[(frame["ablation"] == "maxrl") & (frame["step"] <= 4)]["entropy"].mean()
    assert y[0] == pytest.approx(first)
    assert "entropy (nats/token)" in texts(figure)
    assert "absent" not in texts(figure)


def comparison(**changes):
    row = {"ablation": "softmax-0.5", "against": "baseline", "endpoint": "auc", "delta": 0.016, "low": 0.011}
    return {**row, "high": 0.021, "p_holm": 0.014, "family": "primary", "margin": 0.01, **changes}


def test_forest_writes_effects_in_points_with_holms_p_and_hollow_marks_are_exploratory():
    rows = [comparison(), comparison(ablation="maxrl", family="exploratory", p_holm=math.nan, delta=-0.03)]
    figure = comparisons.forest(pd.DataFrame(rows), "auc")
    assert "+1.6 [+1.1, +2.1]  p = 0.014" in texts(figure)
    assert "−3.0 [+1.1, +2.1]" in texts(figure)  # exploratory: no p
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["softmax τ = 0.5", "MaxRL"]
    faces = [line.get_markerfacecolor() for line in figure.axes[0].get_lines() if line.get_marker() in "sP"]
    assert [face == "white" for face in faces] == [False, True]


def test_forest_without_interval_draws_the_effect_alone():
    frame = pd.DataFrame([comparison(low=math.nan, high=math.nan, p_holm=math.nan)])
    assert "+1.6" in texts(comparisons.forest(frame, "auc"))


def test_pass_at_k_is_drawn_against_k():
    frame = pd.DataFrame(
        {
            "ablation": ["baseline", "maxrl"],
            "seed": 0,
            "pass@1": [0.1, 0.2],
            "pass@4": [0.3, 0.5],
            "pass@16": 0.9,
        }
    )
    [(x, y)] = lines(passes.pass_at_k(frame))["MaxRL"]
    assert list(x) == [1, 4, 16]
    assert list(y) == [0.2, 0.5, 0.9]


def sweep():
    row = {"scheme": "softmax", "tau": [0.2, 0.5, 0.9, 1.8], "ratio": [0.2, 0.5, 0.9, 1.8], "endpoint": "auc"}
    return pd.DataFrame({**row, "mean": [0.1, 0.2, 0.1, 0.0], "low": 0.0, "high": 0.3})


def fit(**changes):
    found = {"coefficients": [0.1, -0.2, -0.3], "interior": True, "low": 0.4, "high": 0.6, "ratio": 0.5}
    found["means"] = [0.1, 0.2, 0.1, 0.0]
    return {"softmax": {"auc": {**found, **changes}}}


def test_temperature_draws_the_parabola_of_the_fit():
    [(x, y)] = lines(temperature.temperature(sweep(), fit()))["parabola, for the eye"]
    np.testing.assert_allclose(y, 0.1 - 0.2 * np.log(x) - 0.3 * np.log(x) ** 2)
    assert (x[0], x[-1]) == pytest.approx((0.2, 1.8))


def test_temperature_shades_a_maximum_only_if_the_fit_has_one_inside_the_grid():
    def legend(fits):
        return texts(temperature.temperature(sweep(), fits))

    assert "maximum, 95 %" in legend(fit())
    assert "maximum, 95 %" not in legend(fit(interior=False, low=None, high=None, ratio=None))
    assert "parabola, for the eye" not in legend(fit(coefficients=[None] * 3, interior=False))
    assert "claimed: τ/range = ½" in legend({})


def test_temperature_shows_the_means_of_equal_seeds_only_where_they_differ():
    label = "the same seeds at every τ"
    assert label not in lines(temperature.temperature(sweep(), fit()))
    [(x, y)] = lines(temperature.temperature(sweep(), fit(means=[0.1, 0.2, 0.15, 0.0])))[label]
    assert list(x) == [0.2, 0.5, 0.9, 1.8] and list(y) == [0.1, 0.2, 0.15, 0.0]


def test_gains_are_mean_success_minus_base_in_points():
    frame = pd.DataFrame({"ablation": "baseline", "seed": [0, 1], "auc": [0.19, 0.21], "base": [0.1, 0.1]})
    assert marks(comparisons.gains(frame).axes[0]) == pytest.approx([10.0])


def test_a_name_is_no_formula():
    """matplotlib would refuse to draw the first as a formula, and set the others in italics."""
    ablations = ["baseline", r"$\frac$", "a $x$ b", r"softmax-$\sum_{0}$"]
    frame = pd.DataFrame([{"ablation": ablation, "seed": 0, "auc": 0.2, "base": 0.1} for ablation in ablations])
    for figure in (comparisons.gains(frame), training.trajectories(runs(ablations))):
        figure.savefig(io.BytesIO(), format="png")
        assert {text for text in texts(figure) if "$" in text} >= {*ablations[1:3], r"softmax, $\sum_{0}$"}


def test_improvements_are_the_probabilities_of_the_endpoint_without_the_baseline():
    rows = {"ablation": ["baseline", "maxrl", "maxrl"], "endpoint": ["auc", "auc", "final"]}
    values = {"improvement": [math.nan, 0.75, 0.1], "improvement_low": [math.nan, 0.5, 0.0], "improvement_high": 0.9}
    axes = comparisons.improvement(pd.DataFrame({**rows, **values}), "auc").axes[0]
    assert marks(axes) == [0.75]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["MaxRL"]
    assert [0.5, 0.9] in whiskers(axes)


def test_contrasts_are_the_pairs_of_one_question_in_points_one_panel_per_setting():
    pairs = {"question": ["the weights"] * 2 + ["the setting"], "ablation": ["softmax-0.5-kl", "raft-ppo", "linear-kl"]}
    table = pd.DataFrame({**pairs, "endpoint": "auc", "delta": [-0.01, 0.1, 0.2], "low": [-0.03, 0, 0.1], "high": 0.3})
    weightings = ["softmax τ=0.5", "raft", "linear"]
    settings = ["kl_coef 0.02", "updates_per_batch 4", "kl_coef 0.02"]
    ablations = pd.DataFrame({"ablation": pairs["ablation"], "weighting": weightings, "setting": settings})
    first, second = contrasts.contrasts(table, "the weights", ablations).axes
    assert [axes.get_title(loc="left") for axes in (first, second)] == ["4 updates per batch", "KL 0.02"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["softmax τ = 0.5", "RAFT"]
    assert whiskers(first) == [[0, 30.0]] and whiskers(second) == [[-3.0, 30.0]]


def test_each_other_setting_has_a_panel_with_the_baseline_in_its_own():
    ablations = ["baseline", "linear-kl", "softmax-0.5-kl", "linear-ppo"]
    settings = [None, "kl_coef 0.02", "kl_coef 0.02", "updates_per_batch 4"]
    table = pd.DataFrame(
        {"ablation": ablations, "weighting": ["linear", "linear", "softmax τ=0.5", "linear"], "setting": settings}
    ).assign(baseline="baseline")
    figure = training.by_setting(runs(ablations), table)
    shown = {
        axes.get_title(loc="left"): {line.get_label() for line in axes.get_lines() if line.get_label()[0] != "_"}
        for axes in figure.axes
    }
    assert shown == {
        "KL 0.02": {"usual setting", "GRPO (z-score)", "softmax τ = 0.5"},
        "4 updates per batch": {"usual setting", "GRPO (z-score)"},
    }


def test_measured_and_predicted_agreement_of_gradients_stand_side_by_side():
    table = pd.DataFrame({"ablation": ["baseline", "anneal"], "cosine": [0.02, 0.01], "predicted_cosine": [0.03, None]})
    described = pd.DataFrame(
        {"ablation": table["ablation"], "weighting": ["linear", "softmax τ 1→0.3"], "setting": None}
    )
    figure = comparisons.signal_noise(table.assign(cosine_low=-0.01, cosine_high=0.05), described)
    [predicted] = [line for line in figure.axes[0].get_lines() if line.get_label() == "predicted"]
    assert predicted.get_xdata()[0] == 0.03 and math.isnan(predicted.get_xdata()[1])
    assert marks(figure.axes[0]) == [0.02, 0.01]
    assert {"measured", "predicted"} <= set(texts(figure))


def test_coinciding_schemes_share_a_line_and_schemes_without_contrast_have_none():
    success = np.arange(1, 8) / 8
    shapes = {
        "dr_grpo": 1.0 + 0 * success,
        "rloo": 8 / 7 + 0 * success,
        "maxrl": 1 / success,
        "uniform": 0 * success,
    }
    frame = pd.concat(
        pd.DataFrame({"scheme": scheme, "tau": math.nan, "success": success, "g": g}) for scheme, g in shapes.items()
    )
    drawn = lines(weights.difficulty(frame))
    assert set(drawn) == {"Dr. GRPO = RLOO", "MaxRL"}
    np.testing.assert_allclose(drawn["Dr. GRPO = RLOO"][0][1], 1)


def test_states_are_drawn_from_where_they_begin_to_the_next():
    rows = [("softmax", 0.1, "best of one"), ("softmax", 0.2, "best of one"), ("softmax", 0.4, "between")]
    rows += [("softmax", 10.0, "between"), ("uniform", math.nan, "flat")]
    figure = weights.states(pd.DataFrame(rows, columns=["scheme", "tau_over_range", "state"]))
    bars = [band.get_paths()[0].get_extents() for band in figure.axes[0].collections if band.get_paths()]
    spans = [(bar.x0, bar.x1) for bar in bars if np.isfinite(bar.x0)]
    assert spans == [pytest.approx(span) for span in [(0.1, 0.4), (0.4, 10.0), (0.1, 10.0)]]


def test_groups_without_a_right_answer_have_no_contrast_and_are_drawn_all_the_same(tmp_path):
    for right, said in ((0, True), (1, False)):
        groups = pd.DataFrame({"rewards": ["1.1 0 0" if right else "0.1 0 0"], "right": [right], "count": [3]})
        files.write_csv(analysis.logged(groups), tmp_path / "logged_weights.csv")
        figure = weights.by_temperature(pd.read_csv(tmp_path / "logged_weights.csv"))
        figure.savefig(io.BytesIO())  # ticks are placed only now
        assert ("no group has right\nand wrong answers" in texts(figure)) == said
        low, high = figure.axes[2].get_xlim()
        assert 0 < low < min(analysis.TAUS) and high > max(analysis.TAUS)


def test_no_logged_groups_give_a_table_that_can_be_read_and_no_figure(tmp_path):
    files.write_csv(analysis.logged(pd.DataFrame(columns=["rewards", "right", "count"])), tmp_path / "l.csv")
    assert weights.by_temperature(pd.read_csv(tmp_path / "l.csv")) == Missing("no groups were logged")


def test_every_group_size_has_its_own_lines():
    groups = pd.DataFrame({"rewards": ["1.1 0", "1.1 0 0 0"], "right": 1, "count": 3})
    figure = weights.by_temperature(analysis.logged(groups))
    assert [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()] == ["N = 2", "N = 4"]
    for axes in figure.axes:
        [softmax] = [line for line in axes.get_lines() if line.get_label() == "softmax"]
        assert list(softmax.get_xdata()) == sorted(set(softmax.get_xdata()))
        assert "GRPO (z-score)" in [line.get_label() for line in axes.get_lines()]


def places(*rows):
    """Rows of the map's table. No setting has a hyperparameter, which a csv file reads back as missing."""
    frame = pd.DataFrame(rows, columns=["scheme", "rho", "tilt", "x"])
    return frame.assign(setting=math.nan, paid=0.1)


def test_the_map_names_few_settings_and_draws_the_line_of_the_rewards():
    rows = [
        ("linear", 0.05, 1.5, 0.95),
        ("dr_grpo", 0.12, 1.0, 0.1),
        ("raft", 0.14, 1.0, 0.0),
        ("rloo", 0.12, 1.0, 0.1),
    ]
    rows += [("group_soft", 0.04, math.nan, 0.001), ("uniform", 0.0, math.nan, math.nan)]
    figure = scheme_map.scheme_map(places(*rows))
    figure.savefig(io.BytesIO())  # ticks are placed only now
    axes = figure.axes[0]
    others, named = (points.get_offsets().data.tolist() for points in axes.collections)
    assert named == [[0.95, 0.05], [0.1, 0.12], [0.0, 0.14]] and others == [[0.1, 0.12], [0.001, 0.04]]
    assert {"GRPO (z-score)", "Dr. GRPO", "RAFT", "the rewards say 0.1; pays more →"} <= set(texts(figure))
    assert not {"rloo", "uniform", "group soft"} & set(texts(figure)) and len(scheme_map.NAMED) <= 12
    [line] = axes.get_lines()
    assert line.get_xdata() == [0.1, 0.1]
    assert axes.get_xlim()[1] > 0.95


def test_names_on_the_map_do_not_hide_each_other():
    """Three points in one place, as for schemes that differ little."""
    figure = scheme_map.scheme_map(places(*[(name, 0.1, 1.0, 0.03) for name in ("linear", "dr_grpo", "raft")]))
    boxes = [
        text.get_window_extent()
        for text in figure.axes[0].texts
        if text.get_text() in ("GRPO (z-score)", "Dr. GRPO", "RAFT")
    ]
    assert len(boxes) == 3 and not any(
        box.count_overlaps([other for other in boxes if other is not box]) for box in boxes
    )


def test_a_map_without_x_says_so():
    drawn = scheme_map.scheme_map(places(("linear", 0.1, 1.5, math.nan)))
    assert drawn == Missing("no format reward, or no right answer")


def bandit_rows(**columns):
    """Two schemes with a temperature and the linear one, with the columns of the bandit's tables."""
    settings = [("linear", math.nan)] + [(scheme, tau) for scheme in SOFTMAXES for tau in (0.5, 0.25)]
    frame = pd.DataFrame(settings, columns=["scheme", "tau"])
    return frame.assign(formed=0.0, **columns)


SOFTMAXES = ("softmax", "softmax_centered")


def test_the_bandits_signal_is_a_line_of_exact_figures_in_the_order_of_temperature():
    rows = bandit_rows(success=0.09, snr=[0.3, 0.1, 0.2, 0.3, 0.3], snr_sampled=0.2, snr_error=0.01, predicted=0.2)
    drawn = lines(bandit.signal_to_noise(rows))
    [(x, y)] = drawn["softmax"]
    assert (list(x), list(y)) == ([0.25, 0.5], [0.2, 0.1])
    assert list(drawn["GRPO (z-score)"][0][1]) == [0.3, 0.3]


def test_the_bandits_curves_have_a_row_of_panels_a_share_and_linear_in_each():
    parts = [
        bandit_rows(optimizer="adam", step=step, mean=0.1 * step).assign(formed=f) for step in (0, 5) for f in (0, 1)
    ]
    drawn = lines(bandit.curves(pd.concat(parts), "adam"))
    assert len(drawn["GRPO (z-score)"]) == 6
    assert len(drawn["τ = 0.5"]) == 4
    np.testing.assert_allclose(drawn["τ = 0.5"][0], [[0, 5], [0, 0.5]])


def test_the_bandits_success_over_training_has_a_panel_an_optimizer():
    parts = [bandit_rows(optimizer=name, mean=0.5, low=0.4, high=0.6) for name in ("sgd", "adam")]
    figure = bandit.over_training(pd.concat(parts))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        f"{name}, 0% of wrong arms formed" for name in ("plain ascent", "Adam")
    ]


def test_the_bandits_optima_are_in_brackets_unless_half_the_range_is_beaten():
    row = {"optimizer": "adam", "scheme": "softmax", "range": 1.0, "base": 0.1}
    frame = pd.DataFrame({**row, "group_size": [4, 8], "best_ratio": [0.25, 2.0], "lead_low": [0.01, -0.01]})
    figure = bandit.optima(frame)
    assert {"0.25", "(2)"} <= set(texts(figure))
    assert bandit.optima(frame, span=3.0) == Missing("no cell with the range 3")


def test_only_the_report_imports_seaborn_and_matplotlib():
    """They are slow to import, and training and judging need no figure."""
    for file in provenance.PACKAGE.rglob("*.py"):
        if provenance.PACKAGE / "report" not in file.parents:
            assert not {"seaborn", "matplotlib"} & {name.split(".")[0] for name in provenance.read(file).imports}, file


def test_pyplot_keeps_no_figure_and_the_process_keeps_its_style():
    before = dict(matplotlib.rcParams)
    training.trajectories(runs())
    assert not pyplot.get_fignums()
    assert dict(matplotlib.rcParams) == before


EMPTY_COLUMNS = ["endpoint", "question", "setting", "weighting", "delta", "improvement", "scheme", "final", "base"]
EMPTY_COLUMNS += ["pass@1", "optimizer", "range", "against", "size", "rho", "tilt", "x", "planned", "baseline"]
EMPTY = pd.DataFrame(columns=[*runs().columns, *EMPTY_COLUMNS])


@pytest.mark.parametrize(
    "draw",
    [
        training.trajectories,
        lambda frame: training.over_training(frame, {"entropy": "entropy"}),
        passes.pass_at_k,
        passes.frontier,
        lambda frame: comparisons.forest(frame, "auc"),
        lambda frame: comparisons.improvement(frame, "auc"),
        lambda frame: temperature.temperature(frame, {}),
        comparisons.gains,
        gains.gains,
        sizes.sizes,
        lambda frame: contrasts.contrasts(frame, "the constant", frame),
        lambda frame: training.by_setting(frame, frame),
        lambda frame: map_found.found(frame, frame, frame, frame),
        comparisons.signal_noise,
        weights.by_temperature,
        bandit.signal_to_noise,
        lambda frame: bandit.curves(frame, "adam"),
        bandit.over_training,
        bandit.optima,
    ],
)
def test_an_empty_table_gives_no_figure_but_a_reason(draw):
    drawn = draw(EMPTY)
    assert isinstance(drawn, Missing) and drawn.reason


def test_a_missing_value_of_a_heat_map_has_no_text():
    from matplotlib.figure import Figure

    from softmax_rewards.report.plots.drawing import heatmap

    axes = Figure().subplots()
    heatmap(axes, pd.DataFrame({"a": [0.0, np.nan], "b": [np.nan, 1.0]}), annot=True)
    # viridis is dark at 0 and light at 1
    assert [(text.get_text(), text.get_color()) for text in axes.texts] == [("0", "white"), ("1", "black")]


def test_the_trap_marks_where_each_push_ends_and_what_is_achieved_there():
    predictions, updates = search_prediction.example(), search_prediction.example_curves()
    figure = trap.trap(predictions, updates)
    drawn = " ".join(texts(figure))
    assert "An example" in drawn and "GRPO (z-score)" in drawn and "base: 14.8%" in drawn
    rests = predictions.set_index("scheme")["go_on"]
    expected = [rests["linear"].iloc[0], rests["dr_grpo"], rests["softmax"].iloc[0]]
    assert marks(figure.axes[0]) == pytest.approx(expected)
    curves = [line.get_ydata() for line in figure.axes[0].get_lines() if len(line.get_xdata()) > 2]
    assert len(curves) == 3 and all(np.abs(curve).max() == 1 for curve in curves)
    assert trap.trap(predictions.iloc[:0], updates.iloc[:0]) == Missing("no base model was measured")


def test_the_law_of_gains_has_a_panel_per_scheme_with_found_and_predicted_gains():
    rates = [1e-4, 2e-4, 4e-4]
    cells = pd.DataFrame(
        [
            (slug, scheme, rate, rho, 0.05, 0.04, 0.06, 0.03)
            for slug, scheme, rho in (("linear", "linear", 0.1), ("raft", "raft", 0.4))
            for rate in rates
        ],
        columns=["ablation", "scheme", "learning_rate", "rho", "gain", "low", "high", "predicted"],
    )
    figure = gains.gains(cells)
    assert [axes.get_title("left") for axes in figure.axes] == ["GRPO (z-score)\nρ = 0.10", "RAFT\nρ = 0.40"]
    [dashed] = [line for line in figure.axes[0].get_lines() if line.get_label() == "predicted"]
    assert dashed.get_xdata() == pytest.approx(rates) and dashed.get_ydata() == pytest.approx([3, 3, 3])
