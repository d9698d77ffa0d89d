"""verl: every weighting scheme as an advantage estimator.

    VERL_USE_EXTERNAL_MODULES=softmax_rewards.integrations.verl_plugin
    algorithm.adv_estimator=softmax_rewards.softmax_centered
    +algorithm.softmax_rewards.tau=auto
    +algorithm.softmax_rewards.reward_range=[0,1.1]
    +algorithm.softmax_rewards.threshold=1.0

The keys of `algorithm.softmax_rewards` are the scheme's hyperparameters, `reward_range` (default [0, 1]) and
`threshold` (default: the highest reward). A sample with at least the threshold as reward is right. verl calls an
estimator once per batch and does not pass the step. So τ can be a number, `auto` or a share of the range, but not a
schedule. Leave `algorithm.use_kl_in_reward` off, because the scheme would treat the KL penalty as part of the reward.

This module does not import verl; `verl_plugin` registers the estimators. docs/other-trainers.md has the releases of
verl that import it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from softmax_rewards.integrations.scheme import Scheme
from softmax_rewards.weighting import temperature

PREFIX = "softmax_rewards."
VERDICT = "acc"  # key under which verl's reward functions return whether an answer is right

Estimator = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def advantages(
    token_level_rewards: torch.Tensor,
    response_mask: torch.Tensor,
    index: np.ndarray,
    scheme: Scheme,
    right: np.ndarray | None = None,
) -> torch.Tensor:
    """The response's weight at each of its tokens, 0 elsewhere: [B, T], with the rewards' dtype.

    token_level_rewards  [B, T]; their sum is the response's reward, as in verl's own estimators
    response_mask        [B, T], 1 at the response's tokens
    index                [B], uid of the prompt; responses of one prompt can be anywhere, and their number may differ
    right                [B], 0/1; None: `scheme` decides by the reward
    Raises ValueError for what `Scheme.weights` refuses.
    """
    rewards = token_level_rewards.double().sum(dim=-1).cpu().numpy()
    judged = scheme.right(rewards) if right is None else np.asarray(right)
    weights = torch.from_numpy(scheme.weights(rewards, judged, index)).to(token_level_rewards)
    return weights.unsqueeze(-1) * response_mask


def estimator(name: str) -> Estimator:
    """The scheme `name` with the signature of verl's estimators. It returns the weights [B, T] twice."""

    def estimate(
        token_level_rewards: torch.Tensor,
        response_mask: torch.Tensor,
        index: np.ndarray,
        config: Mapping[str, Any] | None = None,
        non_tensor_batch: Mapping[str, np.ndarray] | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        weights = advantages(
            token_level_rewards, response_mask, index, settings(name, config), (non_tensor_batch or {}).get(VERDICT)
        )
        return weights, weights  # verl expects advantages and returns; only critics use the latter

    return estimate


def settings(name: str, config: Mapping[str, Any] | None) -> Scheme:
    """The scheme `name` with the settings of `algorithm.softmax_rewards`. Raises ValueError for a schedule of τ."""
    options = dict((config or {}).get(PREFIX.rstrip(".")) or {})
    reward_range = tuple(options.pop("reward_range", (0.0, 1.0)))
    threshold = options.pop("threshold", None)
    tau = options.get("tau")
    if isinstance(tau, Mapping):
        options["tau"] = tau = dict(tau)
        if temperature.is_schedule(tau):
            raise ValueError(f"tau: {tau}; allowed: no schedule, because verl does not pass the step")
    return Scheme({"scheme": name, **options}, reward_range, threshold)
