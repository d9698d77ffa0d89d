"""The law of gains, tested: gain = a·lr·ρ − b·lr², over schemes and learning rates.

A step of Adam has a fixed length, lr. The share ρ of it that points along the true gradient gains a·lr·ρ. Noise of the
whole length costs b·lr². So a scheme gains most at lr = a·ρ/2b, and it falls below its base model from lr = a·ρ/b on.
The cells (a scheme at a rate) are halved like a chessboard. a and b are fitted to one half and predict the other.
"""

import numpy as np
import pandas as pd

from softmax_rewards.verdicts import paired
from softmax_rewards.verdicts.evidence import Evidence, label
from softmax_rewards.weighting.study.log_map import Figures

FEWEST = 3  # rates and schemes; a chessboard of fewer cells has no half that could fit two numbers and test them
COLUMNS = ["ablation", "scheme", "learning_rate", "rho", "gain", "low", "high", "seeds", "predicted"]
SCORED = ["a", "b", "cells", "explained", "rank", "below", "foreseen", "warned"]


def table(evidence: Evidence) -> pd.DataFrame:
    """One row per cell, columns COLUMNS; empty with fewer than FEWEST schemes at FEWEST rates.

    gain       mean success over training minus the base model's, mean over seeds with its interval (`paired.gain`)
    predicted  by the a and b of the half of the cells that this one does not belong to
    """
    rows = []
    for name, place in evidence.map.items():
        weighting = evidence.configs[name]["weighting"]
        rates = sorted(evidence.rates(weighting).items())
        rows += [_cell(evidence, ablation, label(weighting), rate, place) for rate, ablation in rates]
    cells = pd.DataFrame(rows, columns=COLUMNS[:-1])
    cells = cells[cells.groupby("scheme")["learning_rate"].transform("nunique") >= FEWEST].reset_index(drop=True)
    if cells["scheme"].nunique() < FEWEST:
        return pd.DataFrame(columns=COLUMNS)
    return cells.assign(predicted=_crossed(cells))


def scored(cells: pd.DataFrame) -> pd.DataFrame:
    """How well the predictions of `table` came true: one row, columns SCORED; none for an empty table.

    a, b       fitted to all cells, in success per unit of lr·ρ and of lr²
    cells      number of cells
    explained  1 − (squared error of the predictions)/(squared distance of the gains from their mean); below 0, the mean
               gain predicts better than the law
    rank       Spearman's rank correlation of predicted and found gain
    below      cells that are clearly below their base model
    foreseen   those of them with a predicted gain below 0
    warned     cells with a predicted gain below 0
    """
    if cells.empty:
        return pd.DataFrame(columns=SCORED)
    found, predicted = cells["gain"], cells["predicted"]
    explained = 1 - ((found - predicted) ** 2).sum() / ((found - found.mean()) ** 2).sum()
    below, warned = cells["high"] < 0, predicted < 0
    order = found.corr(predicted, method="spearman")
    row = (*_fit(cells), len(cells), explained, order, below.sum(), (below & warned).sum(), warned.sum())
    return pd.DataFrame([row], columns=SCORED)


def _cell(evidence: Evidence, ablation: str, scheme: str, rate: float, place: Figures) -> tuple:
    gain = paired.gain(evidence, ablation, "auc")
    return ablation, scheme, rate, place.rho, gain.estimate, gain.low, gain.high, gain.n


def _crossed(cells: pd.DataFrame) -> np.ndarray:
    """The predicted gain of every cell, by the fit to the other half of the chessboard."""
    row, column = (pd.factorize(cells[name], sort=True)[0] for name in ("scheme", "learning_rate"))
    black = (row + column) % 2 == 0
    terms, predicted = _terms(cells), np.empty(len(cells))
    for half in (black, ~black):
        predicted[half] = terms[half] @ _fit(cells[~half])
    return predicted


def _terms(cells: pd.DataFrame) -> np.ndarray:
    """[cells, 2]: lr·ρ and −lr²."""
    rate = cells["learning_rate"].to_numpy(float)
    return np.column_stack([rate * cells["rho"].to_numpy(float), -(rate**2)])


def _fit(cells: pd.DataFrame) -> np.ndarray:
    """a and b by least squares."""
    terms = _terms(cells)
    size = np.abs(terms).max(axis=0)  # the terms are of different orders of magnitude
    return np.linalg.lstsq(terms / size, cells["gain"].to_numpy(float), rcond=None)[0] / size
