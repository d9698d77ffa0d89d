"""`softmax_scaled`: risk-sensitive GRPO.

    w_i = tau (N softmax(r/tau)_i - 1)

It is the gradient of the exponential utility with beta = 1/tau: "Risk-Sensitive RL", arXiv 2509.24261. With
Adam and constant tau it should train like `softmax_centered`.

Limit: tau -> infinity: `dr_grpo`.
"""

import numpy as np

from softmax_rewards.weighting.number import Temperature
from softmax_rewards.weighting.schemes._groups import softmax_contrast


def weights(rewards: np.ndarray, correct: np.ndarray, *, tau: Temperature) -> np.ndarray:
    """rewards, correct [Q, N], tau > 0 in units of reward -> mean-zero weights [Q, N] in units of reward."""
    return tau * softmax_contrast(rewards, tau)
