"""`rloo`: REINFORCE with a leave-one-out baseline.

    w_i = r_i - mean of the other N - 1 rewards = N/(N-1) (r_i - mu)

Ahmadian et al., "Back to Basics", arXiv 2402.14740. Adam cancels a constant factor, so `rloo` is
a negative control.

Limit: `dr_grpo` times N/(N-1). `shrunk` with alpha = 0 and lambda = 1.
"""

import numpy as np

from softmax_rewards.weighting.schemes._groups import deviations


def weights(rewards: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """rewards, correct [Q, N] -> mean-zero weights [Q, N] in units of reward."""
    samples = rewards.shape[-1]
    return deviations(rewards) * (samples / (samples - 1))
