"""Settings: the pairs of scheme and hyperparameters that a study looks at."""

from collections.abc import Iterable
from typing import Any

from softmax_rewards import weighting

TAUS = (0.1, 0.25, 0.5, 0.55, 0.75, 1.0, 2.0)  # the temperatures of the training sweep, in units of reward


def settings(group_size: int, taus: Iterable[float] = TAUS) -> list[tuple[str, dict[str, Any]]]:
    """(scheme, hyperparameters) of every scheme. Schemes with a temperature appear once per τ in `taus`."""
    pairs = []
    for scheme in weighting.names():
        allowed, limits = weighting.hyperparameters(scheme), weighting.numbers(scheme)
        # A hyperparameter such as the k of pass@k is at most the group size.
        fixed = {name: min(allowed[name], group_size) for name, limit in limits.items() if limit.high == "N"}
        temperatures = [{"tau": float(tau)} for tau in taus] if "tau" in allowed else [{}]
        pairs += [(scheme, fixed | temperature) for temperature in temperatures]
    return pairs


def label(scheme: str, hyperparameters: dict[str, Any]) -> str:
    """The hyperparameters of a setting as text, defaults included: "tau = 0.5"; "" for a scheme without any."""
    complete = weighting.hyperparameters(scheme) | hyperparameters
    return ", ".join(f"{name} = {value:g}" for name, value in complete.items() if value is not None)
