"""Rules that hold for every figure of the report: what a panel shows can be told apart, and shares stay shares."""

import ast
import functools
import io
import json

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from test_pages import NOTEBOOKS

from softmax_rewards.report.plots import (
    bandit,
    comparisons,
    contrasts,
    gains,
    map_found,
    passes,
    scheme_map,
    signal,
    sizes,
    temperature,
    training,
    trap,
    weights,
)
from softmax_rewards.report.plots.drawing import Missing
from softmax_rewards.report.plots.style import MOST_LINES
from softmax_rewards.weighting.study import analysis, search_prediction

TAUS = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.0, 10.0)
SETTINGS = {"lr-1e-4": "learning_rate 0.0001", "skip-equal": "skip_equal True", "lr-4e-4": "learning_rate 0.0004"}


def ablations() -> pd.DataFrame:
    """As many ablations as the largest experiments have: two grids of τ, other schemes, and settings of training."""
    weightings = {"baseline": "linear", "anneal-0.75-0.25": "softmax τ 0.75→0.25", "ess-4": "softmax ess"}
    weightings |= {f"softmax-{tau}": f"softmax τ={tau}" for tau in TAUS}
    weightings |= {f"centered-{tau}": f"softmax centered τ={tau}" for tau in TAUS}
    others = ("dr grpo", "raft", "maxrl", "rloo", "passk", "best of n", "shrunk", "uniform", "one of a user")
    weightings |= {name.replace(" ", "-"): name for name in others}
    rows = [(slug, weighting, None) for slug, weighting in weightings.items()]
    for name, setting in SETTINGS.items():
        rows += [(f"{slug}-{name}", weightings[slug], setting) for slug in ("softmax-0.5", "dr-grpo", "raft", "maxrl")]
        rows.append((f"linear-{name}", "linear", setting))
    frame = pd.DataFrame(rows, columns=["ablation", "weighting", "setting"])
    planned = frame["ablation"].isin(["baseline", "softmax-0.5"])
    return frame.assign(condition=None, baseline="baseline", planned=planned)


ABLATIONS = ablations()
USUAL = ABLATIONS[ABLATIONS["setting"].isna()]


def runs(names=ABLATIONS["ablation"]) -> pd.DataFrame:
    """Evaluations near both ends of 0..1; with two or three seeds, t intervals are far wider than that."""
    rng = np.random.default_rng(0)
    rows = [
        {"ablation": name, "seed": seed, "step": step, "tokens": 1000 * step, "success": 0.2 * rng.random()}
        for name in names
        for seed in range(2 + (name in ("baseline", "softmax-0.5", "softmax-1.0")))
        for step in (0, 10, 20, 30)
    ]
    frame = pd.DataFrame(rows)
    frame["format"] = 1 - frame["success"]
    frame["length"] = 40 + 100 * frame["success"]
    frame["pass@1"], frame["pass@4"], frame["pass@16"] = frame["success"], 3 * frame["success"], frame["format"]
    frame["auc"], frame["final"], frame["base"] = frame["success"], frame["success"], 0.05
    return frame


def differences(names, **columns) -> pd.DataFrame:
    frame = pd.DataFrame({"ablation": list(names), "against": "baseline", "endpoint": "auc", **columns})
    delta = [0.01 * (place % 5 - 2) for place in range(len(frame))]
    return frame.assign(delta=delta, low=[x - 0.02 for x in delta], high=[x + 0.02 for x in delta], p_holm=0.01)


def found_pairs(question) -> pd.DataFrame:
    return differences(ABLATIONS.loc[ABLATIONS["setting"].notna(), "ablation"], question=question)


def law() -> pd.DataFrame:
    rows = [
        (slug, scheme, rate) for slug, scheme in (("baseline", "linear"), ("raft", "raft")) for rate in (1e-4, 2e-4)
    ]
    frame = pd.DataFrame(rows, columns=["ablation", "scheme", "learning_rate"])
    return frame.assign(rho=0.2, gain=0.05, low=0.01, high=0.09, predicted=0.03)


def sweep() -> pd.DataFrame:
    rows = [(scheme, tau) for scheme in ("softmax", "softmax_centered") for tau in TAUS]
    frame = pd.DataFrame(rows, columns=["scheme", "tau"])
    return frame.assign(ratio=frame["tau"] / 1.1, endpoint="auc", mean=0.1, low=-0.3, high=1.2)


def robust() -> pd.DataFrame:
    frame = differences(USUAL["ablation"][1:], improvement=0.9)
    return frame.assign(improvement_low=0.4, improvement_high=1.0)


def map_places() -> pd.DataFrame:
    frame = analysis.canonical_map(8, (0.0, 1.1))
    return frame[frame["success"] == frame["success"].iloc[0]]


def bandit_table() -> pd.DataFrame:
    settings = [("linear", np.nan), ("raft", np.nan), ("maxrl", np.nan), ("rloo", np.nan), ("passk", np.nan)]
    settings += [(scheme, tau) for scheme in ("softmax", "softmax_centered", "softmax_masked") for tau in TAUS[1:7]]
    frame = pd.DataFrame(settings, columns=["scheme", "tau"]).assign(success=0.09, snr=0.2, snr_sampled=0.2)
    frame = frame.assign(snr_error=0.01, predicted=0.2, mean=0.5, low=-0.1, high=1.1, optimizer="adam")
    return pd.concat([frame.assign(formed=share, step=step) for share in (0.0, 0.5) for step in (0, 20)])


def logged() -> pd.DataFrame:
    groups = pd.DataFrame({"rewards": ["1.1 0 0", "1.1 0.1", "1.1 0 0 0"], "right": 1, "count": 3})
    return analysis.logged(groups)


def model_sizes() -> pd.DataFrame:
    shown = USUAL[:8]
    frames = [differences(shown["ablation"]).merge(shown, on="ablation").assign(size=size) for size in (0.1, 1.6)]
    return pd.concat(frames)


def measured_signal() -> pd.DataFrame:
    columns = [f"{name}{end}" for name in ("rho", "success", "adam_success") for end in ("", "_error")]
    frame = pd.DataFrame({"scheme": ["linear", "softmax"], "setting": ["", "tau = 0.5"]})
    return frame.assign(**dict.fromkeys([*columns, "predicted_rho", "predicted_success"], 0.1))


FIGURES = {
    "trajectories": lambda: training.trajectories(runs(), ablations=ABLATIONS),
    "trajectories of a few": lambda: training.trajectories(runs(USUAL["ablation"][:5]), ablations=ABLATIONS),
    "trajectories by slugs alone": lambda: training.trajectories(runs()),
    "tokens": lambda: training.trajectories(runs(), x="tokens", ablations=ABLATIONS),
    "by_setting": lambda: training.by_setting(runs(), ABLATIONS),
    "over_training": lambda: training.over_training(
        runs(), {"success": "s", "format": "f", "length": "l"}, ablations=ABLATIONS
    ),
    "pass_at_k": lambda: passes.pass_at_k(runs().query("step == 30"), ablations=ABLATIONS),
    "frontier": lambda: passes.frontier(runs(USUAL["ablation"]), ablations=ABLATIONS),
    "forest": lambda: comparisons.forest(
        differences(USUAL["ablation"][1:], family="primary", margin=0.01), "auc", ablations=ABLATIONS
    ),
    "gate": lambda: comparisons.gains(runs().query("step == 30"), ablations=ABLATIONS),
    "improvement": lambda: comparisons.improvement(robust(), "auc", ablations=ABLATIONS),
    "signal_noise": lambda: comparisons.signal_noise(
        differences(USUAL["ablation"], cosine=0.1, cosine_low=0, cosine_high=0.2, predicted_cosine=0.1), ABLATIONS
    ),
    "the setting": lambda: contrasts.contrasts(found_pairs("the setting"), "the setting", ABLATIONS),
    "law": lambda: gains.gains(law(), ABLATIONS),
    "map_found": lambda: map_found.found(map_places(), runs(), runs(), ABLATIONS),
    "scheme_map": lambda: scheme_map.scheme_map(map_places()),
    "signal": lambda: signal.measured(measured_signal()),
    "sizes": lambda: sizes.sizes(model_sizes()),
    "temperature": lambda: temperature.temperature(sweep(), {}),
    "trap": lambda: trap.trap(search_prediction.example(), search_prediction.example_curves()),
    "universal": lambda: weights.universal(analysis.universal()),
    "states": lambda: weights.states(analysis.collapse()),
    "difficulty": lambda: weights.difficulty(analysis.difficulty(8, (0.0, 1.1))),
    "snr": lambda: weights.signal_to_noise(analysis.snr(8)),
    "logged": lambda: weights.by_temperature(logged()),
    "bandit snr": lambda: bandit.signal_to_noise(bandit_table().query("step == 0")),
    "bandit curves": lambda: bandit.curves(bandit_table(), "adam"),
    "bandit means": lambda: bandit.over_training(bandit_table().query("step == 0")),
}
SHARES = ("trajectories", "by_setting", "pass_at_k", "frontier", "improvement", "temperature", "bandit means")


@functools.cache
def drawn(name):
    figure = FIGURES[name]()
    assert not isinstance(figure, Missing), figure
    figure.savefig(io.BytesIO(), format="png", dpi=40)  # what fails while it is drawn fails here
    return figure


def look(handle) -> tuple:
    """(color, line style, marker) of an entry of a legend."""
    line = handle[0] if isinstance(handle, tuple) else handle
    if not hasattr(line, "get_marker"):
        return (str(line),)  # a strip or a set of points
    return matplotlib.colors.to_hex(line.get_color()), str(line.get_linestyle()), str(line.get_marker())


@pytest.mark.parametrize("name", FIGURES)
def test_a_panel_has_few_lines_and_no_two_look_alike(name):
    for axes in drawn(name).axes:
        handles, labels = axes.get_legend_handles_labels()
        looks = [look(handle) for handle in handles]
        assert len(looks) <= MOST_LINES, labels
        assert len(set(looks)) == len(looks), sorted(zip(looks, labels, strict=True))
        assert len(set(labels)) == len(labels), labels


@pytest.mark.parametrize("name", SHARES)
def test_intervals_of_shares_lie_inside_them(name):
    limits = []
    for axes in drawn(name).axes:
        for band in (shown for shown in axes.collections if not isinstance(shown, PathCollection)):
            across = isinstance(band, LineCollection) and name == "improvement"
            limits += [vertex[0 if across else 1] for path in band.get_paths() for vertex in path.vertices]
        limits += [y for line in axes.get_lines() if name == "frontier" for y in line.get_ydata()]
    known = [limit for limit in limits if np.isfinite(limit)]
    assert known and min(known) >= 0 and max(known) <= 1


@pytest.mark.parametrize("name", [name for name in FIGURES if "slugs" not in name])
def test_names_are_no_slugs(name):
    texts = {text.get_text() for text in drawn(name).findobj(match=lambda artist: hasattr(artist, "get_text"))}
    assert not texts & {*ABLATIONS["ablation"]} - {"shrunk"}  # a scheme that is called as its slug
    assert not any("τ=" in text or "_" in text for text in texts)


def test_the_lines_of_a_panel_have_the_same_seeds():
    frame = runs(["baseline", "softmax-0.5", "softmax-1.0", "softmax-0.25", "softmax-2.0", "softmax-0.1", "raft"])
    figure = training.trajectories(frame, ablations=ABLATIONS)
    grpo = {}
    for axes in figure.axes:
        [line] = [line for line in axes.get_lines() if line.get_label() == "GRPO (z-score)"]
        grpo[axes.get_title(loc="left")] = line.get_ydata()[-1]
    own = frame[(frame["ablation"] == "baseline") & (frame["step"] == 30)].set_index("seed")["success"]
    assert {round(value, 9) for value in grpo.values()} == {round(own.mean(), 9), round(own.loc[[0, 1]].mean(), 9)}
    assert all(title.endswith(("2 seeds", "3 seeds")) for title in grpo)


def test_an_ablation_has_one_color_in_all_figures():
    colors = {}
    for name in ("trajectories", "tokens", "pass_at_k", "over_training"):
        for axes in drawn(name).axes:
            for line in axes.get_lines():
                if line.get_label() in ("GRPO (z-score)", "Dr. GRPO", "RAFT", "MaxRL"):
                    colors.setdefault(line.get_label(), set()).add(matplotlib.colors.to_hex(line.get_color()))
    assert len(colors) == 4 and all(len(found) == 1 for found in colors.values())


@pytest.mark.parametrize("path", sorted([*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("overview/*.ipynb")]))
def test_every_figure_of_a_notebook_has_an_alternative_text(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            for call in (node for node in ast.walk(ast.parse("".join(cell["source"]))) if isinstance(node, ast.Call)):
                called = ast.unparse(call.func)
                if called in ("display.figure", "conditions.figures"):
                    texts = [node.value for node in call.args if isinstance(node, ast.Constant)]
                    assert texts and all(len(text) > 30 for text in texts), ast.unparse(call)
                    if path.stem not in ("index", "reasoning"):
                        assert len(texts) == 2, f"no caption: {ast.unparse(call)}"
