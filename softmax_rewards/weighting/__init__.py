"""Weighting: turns the rewards of a batch of groups into the weight of each answer's log-likelihood.

`schemes/` has one module per scheme. Each has one function

    def weights(rewards, correct, *, <hyperparameters>) -> weights

rewards  float64 [Q, N]: Q prompts with N sampled answers each; one row is one group
correct  bool    [Q, N]: whether the verifier found the answer right
weights  float64 [Q, N]: the factor w of the loss `-w log pi(answer | prompt)`; w > 0 makes the answer more likely

The keyword-only parameters are the scheme's hyperparameters. Each is annotated with a `Number` (see `number.py`), which
describes it and says what is allowed. All except `tau` need a default, because the weight analysis runs every scheme in
the folder. A scheme whose weights in one group depend on the other groups of the batch sets `COUPLES_GROUPS = True`. If
such a scheme also works for groups of several sizes, it has a second function

    def unequal(rewards [B], correct [B], sizes [Q], *, <hyperparameters>) -> weights [B]

where the samples of a group stand side by side and `sizes` has the size (>= 2) of each group.
"""

import inspect
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from softmax_rewards.common import plugins
from softmax_rewards.weighting.number import Number

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
    return {p.name: p.default for p in _parameters(scheme)}


def numbers(scheme: str) -> dict[str, Number]:
    """Hyperparameter → what it means and what is allowed, for those whose annotation says so."""
    notes = {p.name: getattr(p.annotation, "__metadata__", ()) for p in _parameters(scheme)}
    return {name: note for name, found in notes.items() for note in found if isinstance(note, Number)}


def couples_groups(scheme: str) -> bool:
    """Whether the weights of one group depend on the other groups of the batch."""
    return getattr(_module(scheme), "COUPLES_GROUPS", False)


def takes_unequal_groups(scheme: str) -> bool:
    """Whether `compute_unequal` works for the scheme."""
    return hasattr(_module(scheme), "unequal")


def compute(scheme: str, rewards: np.ndarray, correct: np.ndarray, **hyperparameters: Any) -> np.ndarray:
    """Weights of `scheme`, float64 [Q, N]. Inputs and weights are checked.

    rewards  [Q, N], finite, N >= 2
    correct  [Q, N], false/true or 0/1
    Raises ValueError with the wrong value and its position, or with the hyperparameter and what is allowed.
    """
    rewards, correct = _checked(rewards, correct)
    _check_hyperparameters(scheme, hyperparameters, rewards.shape[1])
    weights = _module(scheme).weights(rewards, correct, **hyperparameters)
    if not (isinstance(weights, np.ndarray) and weights.dtype == np.float64 and weights.shape == rewards.shape):
        raise ValueError(f"scheme {scheme!r} must return a float64 array of shape {rewards.shape}")
    # One NaN in the weights would turn all parameters into NaN at the next optimizer step.
    _check_finite(f"weights of scheme {scheme!r}", weights)
    return weights


def compute_unequal(
    scheme: str, rewards: np.ndarray, correct: np.ndarray, sizes: np.ndarray, **hyperparameters: Any
) -> np.ndarray:
    """Weights [B] of a scheme that couples groups of several sizes; `takes_unequal_groups` must be true.

    rewards, correct  [B], finite and 0/1; the samples of a group stand side by side
    sizes             [Q], the size (>= 2) of each group; their sum is B
    Raises ValueError as `compute` does; a value at place i has the position [0, i].
    """
    rewards, correct = _checked(rewards[None], correct[None])
    _check_hyperparameters(scheme, hyperparameters, int(sizes.min()))
    weights = _module(scheme).unequal(rewards[0], correct[0], sizes, **hyperparameters)
    _check_finite(f"weights of scheme {scheme!r}", weights[None])
    return weights


@cache  # finding the module takes longer than computing most weights
def _module(scheme: str) -> ModuleType:
    return plugins.load(plugins.SCHEMES, scheme_of(scheme), "scheme")


@cache
def _parameters(scheme: str) -> list[inspect.Parameter]:
    """The parameters of `weights` that are hyperparameters."""
    parameters = inspect.signature(_module(scheme).weights).parameters.values()
    return [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


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


def _check_hyperparameters(scheme: str, chosen: dict[str, Any], group_size: int) -> None:
    allowed, numbers_of = hyperparameters(scheme), numbers(scheme)
    for name in chosen:
        if name not in allowed:
            raise ValueError(plugins.unknown(f"hyperparameter of scheme {scheme!r}", name, allowed))
    missing = [name for name, default in allowed.items() if default is inspect.Parameter.empty and name not in chosen]
    if missing:
        raise ValueError(f"scheme {scheme!r} needs the hyperparameter {missing[0]!r}")
    # A default may be too large for a small group, so it is checked too.
    for name, number in numbers_of.items():
        value = chosen.get(name, allowed[name])
        if not number.admits(value, group_size):
            raise ValueError(f"scheme {scheme!r}: {name} is {value!r}; allowed: {number.allowed(group_size)}")
