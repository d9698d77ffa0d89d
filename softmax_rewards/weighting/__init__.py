"""Weighting: turns the rewards of a batch of groups into the weight of each answer's log-likelihood.

`schemes/` has one module per scheme. Each has one function

    def weights(rewards, correct, *, <hyperparameters>) -> weights

rewards  float64 [Q, N]: Q prompts with N sampled answers each; one row is one group
correct  bool    [Q, N]: whether the verifier found the answer right
weights  float64 [Q, N]: the factor w of the loss `-w log pi(answer | prompt)`; w > 0 makes the answer more likely

The keyword-only parameters are the scheme's hyperparameters. `tau` is checked here, the others by their scheme. All
except `tau` need a default, because the weight analysis runs every scheme in the folder. A scheme whose weights in one
group depend on the other groups of the batch sets `COUPLES_GROUPS = True`.
"""

import inspect
from functools import cache
from numbers import Real
from types import ModuleType
from typing import Any

import numpy as np

from softmax_rewards.common import plugins

ALIASES = {"grpo": "linear"}
"""Other name → scheme. A config may use the other name; the resolved run has the scheme's own name."""


def scheme_of(name: str) -> str:
    """The scheme's own name, for a name that may be an alias."""
    return ALIASES.get(name, name)


def names() -> list[str]:
    """The names of all schemes, sorted."""
    return plugins.names(plugins.SCHEMES)


def hyperparameters(scheme: str) -> dict[str, Any]:
    """Hyperparameter → default; `inspect.Parameter.empty` if there is no default."""
    parameters = inspect.signature(_module(scheme).weights).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def couples_groups(scheme: str) -> bool:
    """Whether the weights of one group depend on the other groups of the batch."""
    return getattr(_module(scheme), "COUPLES_GROUPS", False)


def compute(scheme: str, rewards: np.ndarray, correct: np.ndarray, **hyperparameters: Any) -> np.ndarray:
    """Weights of `scheme`, float64 [Q, N]. Inputs and weights are checked.

    rewards  [Q, N], finite, N >= 2
    correct  [Q, N], false/true or 0/1
    tau      finite and > 0, if the scheme has a temperature
    Raises ValueError with the wrong value and its position.
    """
    rewards, correct = _checked(rewards, correct)
    _check_hyperparameters(scheme, hyperparameters)
    weights = _module(scheme).weights(rewards, correct, **hyperparameters)
    if not (isinstance(weights, np.ndarray) and weights.dtype == np.float64 and weights.shape == rewards.shape):
        raise ValueError(f"scheme {scheme!r} must return a float64 array of shape {rewards.shape}")
    # One NaN in the weights would turn all parameters into NaN at the next optimizer step.
    _check_finite(f"weights of scheme {scheme!r}", weights)
    return weights


@cache  # finding the module takes longer than computing most weights
def _module(scheme: str) -> ModuleType:
    return plugins.load(plugins.SCHEMES, scheme_of(scheme), "scheme")


def _checked(rewards: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rewards = np.asarray(rewards, dtype=np.float64)
    if rewards.ndim != 2:
        raise ValueError(f"rewards has shape {rewards.shape}; allowed: [prompts, samples]")
    if rewards.shape[1] < 2:
        raise ValueError(f"rewards has groups of N = {rewards.shape[1]}; a group needs N >= 2 samples")
    _check_finite("rewards", rewards)
    correct = np.asarray(correct)
    if correct.shape != rewards.shape:
        raise ValueError(f"correct has shape {correct.shape}, but rewards has shape {rewards.shape}")
    wrong = np.argwhere((correct != 0) & (correct != 1))
    if len(wrong):
        q, i = wrong[0]
        raise ValueError(f"correct[{q}, {i}] is {correct[q, i]}; allowed: 0 or 1")
    return rewards, correct.astype(bool)


def _check_finite(what: str, values: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        q, i = bad[0]
        raise ValueError(f"{what}: the value at [{q}, {i}] is {values[q, i]}; allowed: a finite number")


def _check_hyperparameters(scheme: str, chosen: dict[str, Any]) -> None:
    allowed = hyperparameters(scheme)
    for name in chosen:
        if name not in allowed:
            raise ValueError(plugins.unknown(f"hyperparameter of scheme {scheme!r}", name, allowed))
    missing = [name for name, default in allowed.items() if default is inspect.Parameter.empty and name not in chosen]
    if missing:
        raise ValueError(f"scheme {scheme!r} needs the hyperparameter {missing[0]!r}")
    tau = chosen.get("tau", 1.0)
    number = isinstance(tau, Real) and not isinstance(tau, bool)
    if not (number and np.isfinite(tau) and tau > 0):
        raise ValueError(f"scheme {scheme!r}: tau is {tau!r}; allowed: a finite number > 0")
