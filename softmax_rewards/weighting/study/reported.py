"""Reported: every figure of the earlier offline notes, the same figure recomputed, and why the two differ.

The notes describe a group of N = 8 with one right answer (1.1) and seven wrong ones (0 or 0.1). The group
(1.1, 0.1 x 3, 0 x 4) with Kish's effective N reproduces them.
"""

import math
from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from softmax_rewards import weighting
from softmax_rewards.weighting import concentration
from softmax_rewards.weighting.study.populations import canonical

KISH = "Kish's (sum |w|)^2 / sum w^2"
NO_FIGURE = "named, no figure"

Row = tuple[str, str, float, str]
"""Quantity, reported figure, recomputed figure, why they agree or differ."""


def table() -> pd.DataFrame:
    """One row per reported figure; columns: quantity, reported (as written), recomputed, agrees, why.

    A figure agrees if the recomputed one, rounded to the reported digits, is equal to it. `agrees` is None where the
    notes name a failure without a figure.
    """
    linear = _weights("linear")
    softmax = {tau: _weights("softmax", tau=tau) for tau in (0.1, 0.2, 0.5, 0.55, 1.0, 2.0)}
    rows = [*_concentrations(linear, softmax), *_ratios(linear, softmax), *_failures(linear, softmax)]
    return pd.DataFrame(
        [
            {
                "quantity": name,
                "reported": figure,
                "recomputed": float(x),
                "agrees": _agrees(figure, x),
                "why": why,
            }
            for name, figure, x, why in rows
        ]
    )


def _concentrations(linear: np.ndarray, softmax: dict[float, np.ndarray]) -> list[Row]:
    """The weight on the right answer and the effective N."""
    rows = [("weight on the right answer, linear", "2.62", linear[0], "z-score with the population sigma")]
    for tau, figure in ((1.0, "2.33"), (0.5, "4.33"), (0.1, "8.0")):
        rows.append((f"weight on the right answer, softmax tau={tau}", figure, softmax[tau][0], "N softmax(r/tau)"))
    norm = (
        f"{KISH} gives all the other figures, and {_kish(linear):.2f} here. 2.8 is the norm ||w|| = "
        f"{np.linalg.norm(linear):.2f}, sqrt(N) for any z-score: it says nothing about concentration"
    )
    rows.append(("effective N, linear", "2.8", _kish(linear), norm))
    for tau, figure in ((1.0, "6.38"), (0.5, "3.10"), (0.1, "1.0")):
        rows.append((f"effective N, softmax tau={tau}", figure, _kish(softmax[tau]), KISH))
    return rows


def _ratios(linear: np.ndarray, softmax: dict[float, np.ndarray]) -> list[Row]:
    """Ratios between weights, and the temperature at which one sample gets all the weight."""
    half_range = "e^2 in any group that attains both ends of the range; an identity, no evidence for range/2"
    collapse = (
        f"where the effective N falls below 1.1; gradual: the largest share is {softmax[0.2][0] / 8:.2f} "
        f"at tau=0.2 and passes 0.99 only at {_collapse(concentration.max_share, 0.99):.2f}"
    )
    return [
        ("softmax tau=0.5 : linear, right answer", "1.65", softmax[0.5][0] / linear[0], "4.33 / 2.62"),
        ("right : format-only, softmax tau=1.0", "2.7", softmax[1.0][0] / softmax[1.0][1], "e^(1.0/tau)"),
        ("right : format-only, softmax tau=0.5", "7.4", softmax[0.5][0] / softmax[0.5][1], "e^(1.0/tau)"),
        ("right : nothing, softmax tau=0.5", "9.0", softmax[0.5][0] / softmax[0.5][-1], "e^(1.1/tau)"),
        ("best : worst, softmax tau=range/2", "7.39", softmax[0.55][0] / softmax[0.55][-1], half_range),
        ("collapse to best-of-one below tau", "0.2", _collapse(concentration.effective_n, 1.1), collapse),
    ]


def _failures(linear: np.ndarray, softmax: dict[float, np.ndarray]) -> list[Row]:
    """The failures that the notes name without a figure."""
    return [
        (
            "too peaked: effective N, softmax tau=0.1",
            NO_FIGURE,
            _kish(softmax[0.1]),
            "one sample has all the weight",
        ),
        (
            "too flat: effective N, softmax tau=2.0",
            NO_FIGURE,
            _kish(softmax[2.0]),
            "of N = 8: close to uniform",
        ),
        (
            "gradient-scale mismatch: ||w||, softmax tau=0.5 : linear",
            NO_FIGURE,
            float(np.linalg.norm(softmax[0.5]) / np.linalg.norm(linear)),
            "`softmax_matched` removes it",
        ),
        (
            "softmax overflow below tau, float32",
            NO_FIGURE,
            1.1 / math.log(np.finfo(np.float32).max),
            "of a naive exp(1.1/tau); float64 with the maximum subtracted never overflows",
        ),
    ]


def _agrees(figure: str, recomputed: float) -> bool | None:
    if figure == NO_FIGURE:
        return None
    digits = len(figure.partition(".")[2])
    return round(Decimal(float(recomputed)), digits) == Decimal(figure)


def _weights(scheme: str, **hyperparameters: float) -> np.ndarray:
    """Weights [8] of the canonical group. The right answer comes first."""
    group = canonical()
    return weighting.compute(scheme, group.rewards, group.correct, **hyperparameters)[0]


def _kish(weights: np.ndarray) -> float:
    return float(concentration.effective_n(weights))


def _collapse(figure: Callable[[np.ndarray], np.ndarray], threshold: float) -> float:
    """The tau at which softmax's `figure` of the canonical group crosses `threshold`."""
    return brentq(lambda tau: float(figure(_weights("softmax", tau=tau))) - threshold, 0.05, 1.0)
