"""The softmax temperature tau of each training step, computed from its description in a config.

    tau: 0.5                                                  a constant, in units of reward
    tau: auto                                                 half the reward range that the task declares
    tau: {auto: 0.25}                                         a quarter of the reward range
    tau: {from: 0.75, to: 0.25, steps: 60}                    linear over 60 steps, then constant
    tau: {from: 0.75, to: 0.25, steps: 60, shape: cosine}     along half a period of a cosine

Softmax weights depend only on rewards/tau. So the same share of the range gives the same weights when all rewards are
scaled by one factor.
"""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

AUTO_SHARE = 0.5  # of the reward range: the rule that `study/tau_rule.py` tests


def validate(spec: Any) -> None:
    """Raise ValueError, naming the key and the value, unless `spec` is one of the forms above."""
    if isinstance(spec, Real) and not isinstance(spec, bool) and 0 < float(spec) < math.inf:
        return
    # Imported here, so that a trainer with a constant tau does not load pydantic.
    from softmax_rewards.weighting import tau_forms

    tau_forms.check(spec)


def is_schedule(spec: Any) -> bool:
    """Whether `spec` changes with the step. It is one of the forms above, or None for a scheme without tau."""
    return isinstance(spec, Mapping) and "auto" not in spec


def resolve(spec: Any, step: int, reward_range: tuple[float, float]) -> float:
    """The temperature at a training step. A schedule has `from` at step 0, and `to` at step `steps` and after it.

    spec          a constant, "auto", {auto: share} or a schedule, as above
    step          training step, counted from 0
    reward_range  (lowest, highest) reward that the task declares; only the forms with "auto" use it
    Raises ValueError for a wrong spec or a negative step, and for "auto" if the range is empty or not finite.
    """
    validate(spec)
    if step < 0:
        raise ValueError(f"step: {step} is not allowed; steps count from 0")
    if spec == "auto":
        spec = {"auto": AUTO_SHARE}
    if not isinstance(spec, Mapping):
        return float(spec)
    if "auto" in spec:
        lowest, highest = reward_range
        if not (math.isfinite(lowest) and math.isfinite(highest) and lowest < highest):
            raise ValueError(f"tau: auto needs a finite reward range (low, high) with low < high, not {reward_range}")
        return float(spec["auto"]) * (float(highest) - float(lowest))
    start, end = float(spec["from"]), float(spec["to"])
    done = min(step / spec["steps"], 1.0)
    if spec.get("shape", "linear") == "cosine":
        done = (1.0 - math.cos(math.pi * done)) / 2.0
    # This form ends exactly at `end`. The form start + done * (end - start) can miss it by a rounding error.
    return (1.0 - done) * start + done * end
