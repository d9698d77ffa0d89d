"""verl: every weighting scheme as an advantage estimator.

    VERL_USE_EXTERNAL_MODULES=softmax_rewards.integrations.verl_plugin
    algorithm.adv_estimator=softmax_rewards.softmax_centered
    +algorithm.softmax_rewards.tau=auto
    +algorithm.softmax_rewards.reward_range=[0,1.1]
    +algorithm.softmax_rewards.threshold=1.0

What stands below `algorithm.softmax_rewards` are the scheme's hyperparameters, the range of a sample's reward
([0, 1] by default) and the reward from which a sample is right (the highest by default). verl calls an estimator
once per batch and does not tell it the step: τ is a number, `auto` or a share of the range, no schedule. Penalties that
verl adds to the rewards (`algorithm.use_kl_in_reward`) would be weighed as rewards; keep them in the loss.

This module is free of verl; `verl_plugin` registers the estimators. Written for verl 0.9, which calls them
as all versions from 0.5 on do.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from softmax_rewards.integrations.scheme import Scheme
from softmax_rewards.weighting import temperature

PREFIX = "softmax_rewards."
VERDICT = "acc"  # under which verl's reward functions return whether an answer is right

Estimator = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def advantages(
    token_level_rewards: torch.Tensor,
    response_mask: torch.Tensor,
    index: np.ndarray,
    scheme: Scheme,
    right: np.ndarray | None = None,
) -> torch.Tensor:
    """The weight of each response on each of its tokens, 0 elsewhere; [B, T], in the rewards' type.

    token_level_rewards  [B, T]; a response's reward is their sum, as for verl's own estimators
    response_mask        [B, T] 1 on the response's tokens
    index                [B] the uid of the prompt; the responses of a prompt may stand anywhere, and differ in number
    right                [B] 0/1; without it a response is right by its reward
    Raises ValueError for what `Scheme.weights` refuses.
    """
    rewards = token_level_rewards.double().sum(dim=-1).cpu().numpy()
    judged = scheme.right(rewards) if right is None else np.asarray(right)
    weights = torch.from_numpy(scheme.weights(rewards, judged, index)).to(token_level_rewards)
    return weights.unsqueeze(-1) * response_mask


def estimator(name: str) -> Estimator:
    """The scheme `name` with the signature of verl's estimators: (advantages [B, T], returns [B, T], the same)."""

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
        return weights, weights

    return estimate


def settings(name: str, config: Mapping[str, Any] | None) -> Scheme:
    """The scheme as `algorithm.softmax_rewards` of verl's config has it. ValueError for a schedule of τ."""
    options = dict((config or {}).get(PREFIX.rstrip(".")) or {})
    reward_range = tuple(options.pop("reward_range", (0.0, 1.0)))
    threshold = options.pop("threshold", None)
    tau = options.get("tau")
    if isinstance(tau, Mapping):
        options["tau"] = tau = dict(tau)
        if temperature.is_schedule(tau):
            raise ValueError(f"tau: {tau}; allowed: no schedule, because verl does not say at which step it is")
    return Scheme({"scheme": name, **options}, reward_range, threshold)
