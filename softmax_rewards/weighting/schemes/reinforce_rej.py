"""`reinforce_rej`: REINFORCE with rewards +1 and -1, without the groups that are all right or all wrong.

    w_i = 2 c_i - 1   if the group has right and wrong samples, else 0

Xiong et al., "A Minimalist Approach to LLM Reasoning", arXiv 2504.11343. There is no baseline.

Limit: for 0/1 rewards, in a group with as many right as wrong samples, twice `dr_grpo`.
"""

import numpy as np


def weights(rewards: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """rewards (unused), correct [Q, N] -> weights [Q, N] in {-1, 0, 1}."""
    mixed = correct.any(axis=-1, keepdims=True) & ~correct.all(axis=-1, keepdims=True)
    return np.where(mixed, np.where(correct, 1.0, -1.0), 0.0)
