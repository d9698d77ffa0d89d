"""`softmax_scaled`: risk-sensitive GRPO.

    w_i = tau (N softmax(r/tau)_i - 1)

It is the gradient of the exponential utility with beta = 1/tau: "Risk-Sensitive RL", arXiv 2509.24261. The limit
tau -> infinity is r - mu, which is `dr_grpo`. With Adam and constant tau it should train like `softmax_centered`.
"""

import numpy as np

from softmax_rewards.weighting.schemes._groups import softmax_contrast


def weights(rewards: np.ndarray, correct: np.ndarray, *, tau: float) -> np.ndarray:
    """rewards, correct [Q, N], tau > 0 in units of reward -> mean-zero weights [Q, N] in units of reward."""
    return tau * softmax_contrast(rewards, tau)
