"""Temperature: the softmax temperature tau of each step, from its description in a config.

    tau: 0.5                                                  a constant, in units of reward
    tau: auto                                                 half the task's declared reward range
    tau: {auto: 0.25}                                         that share of the reward range
    tau: {from: 0.75, to: 0.25, steps: 60}                    linear over 60 steps, then constant
    tau: {from: 0.75, to: 0.25, steps: 60, shape: cosine}     half a cosine period instead

Softmax weights depend on rewards/tau only, so a share of the range means the same for every reward scale.
"""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

AUTO_SHARE = 0.5


def validate(spec: Any) -> None:
    """Raise ValueError, naming the key and the value, unless `spec` is one of the forms above."""
    if isinstance(spec, Real) and not isinstance(spec, bool) and 0 < float(spec) < math.inf:
        return
    # Imported here, so that a trainer that uses a constant does not load pydantic.
    from softmax_rewards.weighting import tau_forms

    tau_forms.check(spec)


def is_schedule(spec: Any) -> bool:
    """Whether `spec`, one of the forms above or the None of a scheme without tau, changes with the step."""
    return isinstance(spec, Mapping) and "auto" not in spec


def resolve(spec: Any, step: int, reward_range: tuple[float, float]) -> float:
    """The temperature of update `step`, counted from 0: `from` at step 0, `to` at step `steps` and after.

    spec          a constant, "auto", {auto: share} or a schedule, as above
    reward_range  (lowest, highest) reward the task declares; used by "auto" only
    Raises ValueError for a wrong spec, a negative step, or "auto" on a task whose rewards are all equal.
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
            raise ValueError(f"tau: auto needs a reward range [low, high] with low < high, not {reward_range}")
        return float(spec["auto"]) * (float(highest) - float(lowest))
    start, end = float(spec["from"]), float(spec["to"])
    done = min(step / spec["steps"], 1.0)
    if spec.get("shape", "linear") == "cosine":
        done = (1.0 - math.cos(math.pi * done)) / 2.0
    # This form of the interpolation, unlike start + done * (end - start), ends exactly at `end`.
    return (1.0 - done) * start + done * end
