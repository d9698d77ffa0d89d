"""The forms of a temperature τ in a config, and their check. `temperature.py` says what they mean."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from softmax_rewards.common.option_errors import wrong
from softmax_rewards.common.options import Count, Positive, build, option_class


@option_class("tau")
class RangeShare:
    """A share of the task's reward range."""

    auto: Positive = Field(description="Share of the reward range that the task declares.")


@option_class("tau")
class Schedule:
    """A temperature that changes with the step."""

    start: Positive = Field(alias="from", description="Temperature at step 0, in units of reward.")
    to: Positive = Field(description="Temperature at step `steps` and after it, in units of reward.")
    steps: Count = Field(description="Number of steps of the change.")
    shape: Literal["linear", "cosine"] = Field(
        default="linear", description="Shape of the change; `cosine`: half a period."
    )


Tau = Positive | Literal["auto"] | RangeShare | Schedule


def check(spec: Any) -> None:
    """Raise `ConfigError` unless `spec` is one of the forms."""
    if isinstance(spec, Mapping):
        build(RangeShare if "auto" in spec else Schedule, spec, "tau")
    elif spec != "auto":
        raise wrong("tau", spec, "a finite number above 0, auto, {auto: share} or {from, to, steps, shape}")
