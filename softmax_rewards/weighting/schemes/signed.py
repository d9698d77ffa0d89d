"""`signed`: one weight for right samples and another one for wrong samples, without a baseline.

    w_i = right   if c_i = 1,   wrong   if c_i = 0

"The Surprising Effectiveness of Negative Reinforcement", arXiv 2506.01347. The default is their W-REINFORCE with
lambda = 0.1. PSR is right = 1, wrong = 0; NSR is right = 0, wrong = -1.

Limit: PSR is `raft`. In mixed groups right = 1, wrong = -1 is `reinforce_rej`.
"""

from typing import Annotated

import numpy as np

from softmax_rewards.weighting.number import Number


def weights(
    rewards: np.ndarray,
    correct: np.ndarray,
    *,
    right: Annotated[float, Number("Weight of a right sample, lambda in the paper.", low=0)] = 0.1,
    wrong: Annotated[float, Number("Weight of a wrong sample; 0 leaves wrong samples out.", high=0)] = -1.0,
) -> np.ndarray:
    """rewards (unused), correct [Q, N] -> weights [Q, N] in {wrong, right}."""
    return np.where(correct, float(right), float(wrong))
