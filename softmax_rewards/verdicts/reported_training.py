"""The training figures of the earlier notes, with the uncertainty that the notes did not print.

They come from one seed of Qwen2.5-3B-Instruct on Countdown, evaluated every 10 steps on 128 puzzles. The runs have
unequal numbers of steps. A binomial interval covers only the sampling of puzzles. The spread between training seeds
comes on top, so a difference that is not clear here is not clear at all.
"""

import math

import pandas as pd

from softmax_rewards.common.stats import two_proportion_z, wilson

PUZZLES = 128
EVERY = 10

# Success in percent at steps 10, 20, …. The notes' "+73 % at step 20" is 19 against 11, so the first figure is step 10.
CURVES = {
    "linear": (12, 11, 12, 14, 14, 17, 17),
    "softmax τ=0.5": (16, 19, 22, 31, 38),
    "softmax τ=0.25": (20, 30, 27),
}
# One final figure each; the step is not given. The notes later say that τ=0.25 reached about 38 too.
FINALS = {"softmax τ=0.75": 3, "softmax τ=1.0": 0, "softmax τ 0.75→0.25": 33, "softmax τ=0.25 (later)": 38}
# Relative gains over the baseline, in percent, as printed.
GAINS = (73, 124, 59, 94)
# Differences that get a z score: (ablation, percent, baseline percent).
DIFFERENCES = (("softmax τ=0.5", 19, 11), ("softmax τ=0.5", 38, 17))

COLUMNS = [
    "kind",  # figure | difference | gain
    "ablation",
    "step",
    "success",
    "low",
    "high",
    "against_step",
    "against_success",
    "z",
    "gain_reported",
    "gain",
    "note",
]


def table() -> pd.DataFrame:
    """Every reported figure with its 95 % Wilson interval, the z scores of DIFFERENCES, and the reported gains.

    A gain has one row for each pair of figures that rounds to it, or one row that says that no pair does. Rates are
    fractions, gains are percent.
    """
    return pd.DataFrame(_figures() + _differences() + _gains(), columns=COLUMNS)


def _points(ablation: str) -> list[tuple[float, int]]:
    """(step, percent) of an ablation; the step of a final-only figure is NaN."""
    if ablation in CURVES:
        return [(EVERY * (i + 1), percent) for i, percent in enumerate(CURVES[ablation])]
    return [(math.nan, FINALS[ablation])]


def _figures() -> list[dict]:
    rows = []
    for ablation in (*CURVES, *FINALS):
        for step, percent in _points(ablation):
            low, high = wilson(percent / 100 * PUZZLES, PUZZLES)
            rate = {"success": percent / 100, "low": low, "high": high}
            rows.append({"kind": "figure", "ablation": ablation, "step": step, **rate})
    return rows


def _z(first: int, second: int) -> float:
    return two_proportion_z(first / 100, PUZZLES, second / 100, PUZZLES)


def _differences() -> list[dict]:
    return [
        {
            "kind": "difference",
            "ablation": ablation,
            "success": first / 100,
            "against_success": second / 100,
            "z": _z(first, second),
            "note": f"{first} % against {second} %",
        }
        for ablation, first, second in DIFFERENCES
    ]


def _gains() -> list[dict]:
    rows = []
    for gain in GAINS:
        pairs = {  # if the baseline has a figure twice, the later step is kept
            (ablation, step, percent, base): base_step
            for ablation in (*CURVES, *FINALS)
            if ablation != "linear"
            for step, percent in _points(ablation)
            for base_step, base in _points("linear")
            if round(100 * (percent / base - 1)) == gain
        }
        rows += [_gain(gain, *pair, base_step) for pair, base_step in pairs.items()]
        if not pairs:
            rows.append({"kind": "gain", "gain_reported": gain, "note": "no pair of figures gives it"})
    return rows


def _gain(gain: int, ablation: str, step: float, percent: int, base: int, base_step: float) -> dict:
    same = dict(_points("linear")).get(step)
    if step == base_step:
        note = "reproduced, both at the same step"
    elif same is None:
        note = "reproduced, but the step of the ablation's figure is not given"
    else:
        fair = 100 * (percent / same - 1)
        note = f"reproduced from different steps; at step {step:g} the baseline has {same} % ({fair:+.0f} %)"
    return {
        "kind": "gain",
        "ablation": ablation,
        "step": step,
        "success": percent / 100,
        "against_step": base_step,
        "against_success": base / 100,
        "z": _z(percent, base),
        "gain_reported": gain,
        "gain": 100 * (percent / base - 1),
        "note": note,
    }
