"""Signal figures: measured and predicted signal-to-noise of every scheme, from the products of batch gradients.

The vectors of a batch are, in this order: the gradient of each scheme, the gradient of the rate of each of MARKS, and
AdamW's step for each scheme.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from softmax_rewards import weighting
from softmax_rewards.training.gradient_moments import Products
from softmax_rewards.weighting.study import analysis, signal_noise, signal_parts
from softmax_rewards.weighting.study.populations import Population
from softmax_rewards.weighting.study.scheme_map import FURTHER, TAU

MARKS = ("success", "format")
PREDICTED = ("predicted", "predicted_rho", "predicted_success")
MEASURED = ("rho", "success", "format", "plane", "adam_rho", "adam_success", "adam_format")


class Scheme(NamedTuple):
    """A scheme with all its hyperparameters."""

    name: str
    hyperparameters: dict[str, Any]

    @property
    def setting(self) -> str:
        return ", ".join(f"{name} = {value:g}" for name, value in self.hyperparameters.items() if value is not None)


class Batch(NamedTuple):
    """Q groups of N answers, and the weights of K schemes."""

    rewards: np.ndarray  # [Q, N]
    marks: np.ndarray  # [M, Q, N] bool, by MARKS
    weights: np.ndarray  # [K, Q, N]


def schemes(group_size: int) -> list[Scheme]:
    """Every scheme once, at TAU if it has a temperature, and the settings of FURTHER."""
    every = [*analysis.settings(group_size, (TAU,)), *FURTHER]
    complete = [Scheme(name, weighting.hyperparameters(name) | chosen) for name, chosen in every]
    distinct = {(scheme.name, scheme.setting): scheme for scheme in complete}
    return [distinct[key] for key in sorted(distinct)]


def weights(chosen: Sequence[Scheme], rewards: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """The weights of the schemes, then those whose gradient is that of the rate of each mark, `[K + M, Q, N]`."""
    size = rewards.shape[1]
    rows = [weighting.compute(scheme.name, rewards, marks[0], **scheme.hyperparameters) for scheme in chosen]
    # The mean of the other answers is a baseline that leaves the gradient of the rate without bias.
    rows += [(mark - mark.mean(1, keepdims=True)) * size / (size - 1) for mark in marks.astype(float)]
    return np.stack(rows)


def table(chosen: Sequence[Scheme], batches: Sequence[Batch], products: Products) -> pd.DataFrame:
    """One row per scheme, from the highest measured ratio to the lowest.

    Ratios are those of one batch. `…_error` are standard errors (jackknife over blocks of batches).

    rho              |E g| over the noise sqrt(E|g − E g|²), g the raw gradient; negative if the estimate of |E g|² is
    success, format  part of E g along the gradient of the success rate or of the formatted rate, over the same noise
    plane            share of |E g|² in the plane of these two gradients
    adam_…           the same with AdamW's step instead of g; the directions are still the raw gradients
    predicted        by `signal_noise.of_groups`: along success, up to one factor that all schemes share
    predicted_rho, predicted_success  by `signal_parts`, without a free factor: four measured numbers serve all schemes,
                     the three products of the two gradients and the noise of `uniform`
    noise            measured noise over the predicted one, sqrt(E w²) times the noise of `uniform`
    """
    rows = pd.DataFrame([(scheme.name, scheme.setting) for scheme in chosen], columns=["scheme", "setting"])
    values, errors = products.jackknife(lambda kept: _measured(kept, len(chosen)))
    for name, value, error in zip(MEASURED, values, errors, strict=True):
        rows = rows.assign(**{name: value, f"{name}_error": error})
    rows = rows.assign(**_predicted(chosen, batches, products))
    return rows.sort_values("rho", ascending=False, kind="stable").reset_index(drop=True)


def facts(batches: Sequence[Batch], products: Products, rows: pd.DataFrame) -> dict[str, Any]:
    """What is shared by all schemes, and how well the predictions order the schemes (Spearman's rank correlation)."""
    count = len(batches[0].weights)

    @np.errstate(invalid="ignore", divide="ignore")
    def of_marks(kept: Products) -> np.ndarray:
        gram = kept.expected()[count : count + len(MARKS), 1:]
        noise = np.sqrt(kept.mean_squares()[count : count + len(MARKS)] - gram.diagonal())
        return np.array([*np.sqrt(gram.diagonal()) / noise, gram[0, 1] / np.sqrt(gram.diagonal().prod())])

    values, errors = products.jackknife(of_marks)
    names = (*(f"{mark}_gradient" for mark in MARKS), "cosine")
    pairs = [(of, by) for of in ("rho", "success", "adam_rho", "adam_success") for by in PREDICTED]
    numbers = dict(zip(names, values, strict=True)) | {
        f"{name}_error": error for name, error in zip(names, errors, strict=True)
    }
    return {
        "batches": len(batches),
        "answers": int(batches[0].rewards.size),
        **{mark: float(np.mean([batch.marks[index] for batch in batches])) for index, mark in enumerate(MARKS)},
        **{name: _finite(value) for name, value in numbers.items()},
        "rank_correlations": {f"{of}, {by}": _finite(rows[of].corr(rows[by], "spearman")) for of, by in pairs},
    }


def _finite(value: float) -> float | None:
    """`value`, or None instead of NaN, which JSON does not have."""
    return float(value) if np.isfinite(value) else None


@np.errstate(invalid="ignore", divide="ignore")  # NaN where a base has no such signal, or where batches are too few
def _measured(products: Products, count: int) -> np.ndarray:
    """MEASURED of each of `count` schemes, `[figures, count]`."""
    expected = products.expected()
    noise = np.sqrt(products.mean_squares() - expected[:, 0])
    ratio = np.sign(expected[:, 0]) * np.sqrt(np.abs(expected[:, 0])) / noise
    gram = expected[count : count + len(MARKS), 1:]
    along = expected[:, 1:] / np.sqrt(gram.diagonal()) / noise[:, None]
    inside = np.einsum("km,mn,kn->k", expected[:, 1:], np.linalg.pinv(gram), expected[:, 1:])
    plane = inside / expected[:, 0]
    adam = slice(count + len(MARKS), None)
    figures = np.stack([ratio[:count], *along[:count].T, plane[:count], ratio[adam], *along[adam].T])
    # Where no answer was right, there is no direction along success, and some schemes have no gradient at all.
    return np.where(np.isfinite(figures), figures, np.nan)


@np.errstate(invalid="ignore", divide="ignore")
def _predicted(chosen: Sequence[Scheme], batches: Sequence[Batch], products: Products) -> dict[str, np.ndarray]:
    """The columns PREDICTED and `noise`."""
    rewards = np.concatenate([batch.rewards for batch in batches])
    marks = np.concatenate([batch.marks for batch in batches], 1)
    w = np.concatenate([batch.weights for batch in batches], 1)
    count, answers = len(chosen), batches[0].rewards.size
    expected = products.expected()
    noise = np.sqrt(products.mean_squares() - expected[:, 0])[:count]
    gram, cov = expected[count : count + len(MARKS), 1:], signal_parts.covariance(marks)
    # All weights of `uniform` are 1, so its noise is that of the scores themselves.
    scores = noise[[scheme.name for scheme in chosen].index("uniform")]
    deviations = np.sqrt(np.mean(w**2, axis=(1, 2))) * scores
    groups = Population(rewards, marks[0], np.ones(len(rewards)))
    parts = [signal_parts.signal(signal_parts.slopes(row, marks), cov, gram) for row in w]
    first = [signal_noise.of_groups(scheme.name, scheme.hyperparameters, groups) for scheme in chosen]
    return {
        "predicted": np.array(first) * np.sqrt(answers),
        "predicted_rho": np.sqrt([max(square, 0.0) for square, _ in parts]) / deviations,
        "predicted_success": np.array([along[0] for _, along in parts]) / np.sqrt(gram[0, 0]) / deviations,
        "noise": noise / deviations,
    }
