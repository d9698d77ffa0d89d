"""Parts of a gradient's signal: along success and along format, predicted from weights and marks.

`signal_noise` assumes that a score has one direction: that of success. Here it has one direction for each mark of an
answer (right or not, formatted or not). So the expected score of an answer is Σ_m (mark_m − rate_m) A_m with vectors
A_m, and that of a batch with weights w is n Σ_m slope_m A_m, slope_m = E[w (mark_m − rate_m)]. With the covariance C of
the marks, D_m = n Σ_l C_ml A_l is the gradient of mark m's rate. Only the products D_m·D_l have to be measured, once
for all schemes.
"""

import numpy as np

from softmax_rewards.weighting.study.populations import Population
from softmax_rewards.weighting.study.signal_noise import success_of_prompts


def slopes(w: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """E[(w − mean) (mark − its rate on the prompt)] for weights w [G, N] and 0/1 marks [M, G, N]: one per mark, [M]."""
    # A constant weight has no expected signal, but in a finite sample it has a random one. So it is left out.
    centered = w - w.mean()
    return np.array([np.mean(centered * (mark - _rates(mark))) for mark in marks])


def covariance(marks: np.ndarray) -> np.ndarray:
    """Mean covariance [M, M] of marks [M, G, N] within the answers to one prompt, without bias."""
    centered = marks - marks.mean(-1, keepdims=True)
    return np.einsum("agn,bgn->ab", centered, centered) / (marks.shape[1] * (marks.shape[2] - 1))


def signal(slope: np.ndarray, cov: np.ndarray, products: np.ndarray) -> tuple[float, np.ndarray]:
    """Square of the predicted expected gradient, and its product with the gradient of each mark's rate, [M].

    slope     [M], of one scheme, see `slopes`
    cov       [M, M], see `covariance`; a mark that is the same in all answers of each prompt is left out
    products  [M, M], the measured D_m·D_l
    """
    parts = np.linalg.pinv(cov, hermitian=True) @ slope
    return float(parts @ products @ parts), products @ parts


def _rates(mark: np.ndarray) -> np.ndarray:
    """Estimated rate of the mark on each group's prompt, [G, 1]."""
    return success_of_prompts(Population(mark.astype(float), mark.astype(bool), np.ones(len(mark))))
