"""Number: the description of a scheme's hyperparameter, written beside it in the signature of `weights`.

    def weights(rewards, correct, *, q: Annotated[float, Number("Power of the success rate.", low=0, high=10)] = 0.5)

The description and the limits are used when a config is checked, when weights are computed, in `config/schema.json` and
in `docs/schemes.md`.
"""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Annotated, Any, Literal


@dataclass(frozen=True)
class Number:
    """What a hyperparameter means, and which values are allowed.

    low, high  smallest and largest value; `high="N"` is the group size
    above      the value must be larger than this
    whole      only whole numbers
    optional   None (in a config: null) is allowed too
    """

    description: str
    low: float | None = None
    high: float | Literal["N"] | None = None
    above: float | None = None
    whole: bool = False
    optional: bool = False

    def admits(self, value: Any, group_size: int | None = None) -> bool:
        """Whether `value` is allowed. Without a `group_size` the limit N is not checked."""
        if value is None:
            return self.optional
        if isinstance(value, bool) or not isinstance(value, Integral if self.whole else Real):
            return False
        high = group_size if self.high == "N" else self.high
        return (
            math.isfinite(value)
            and (self.low is None or float(value) >= self.low)
            and (high is None or float(value) <= high)
            and (self.above is None or float(value) > self.above)
        )

    def allowed(self, group_size: int | None = None) -> str:
        """What is allowed, for a message."""
        kind = "whole" if self.whole else "finite"
        text = f"a {kind} number"
        if self.high is not None and self.low is None:
            text += f" <= {self.high}"
        elif self.high is not None:
            high = f"N = {group_size}" if self.high == "N" and group_size is not None else self.high
            text += f" from {self.low} to {high}"
        elif self.low is not None:
            text += f" >= {self.low}"
        elif self.above is not None:
            text += f" > {self.above}"
        return text + (", or null for none" if self.optional else "")

    def schema(self) -> dict[str, Any]:
        """The JSON schema of an allowed value."""
        limits = {"minimum": self.low, "maximum": None if self.high == "N" else self.high}
        limits["exclusiveMinimum"] = self.above
        kind = {"type": "integer" if self.whole else "number", "description": self.description}
        return kind | {name: limit for name, limit in limits.items() if limit is not None}


Temperature = Annotated[
    float,
    Number("Temperature, in units of reward. A config may also say `auto`, a share or a schedule.", above=0),
]
"""The type of `tau` in the schemes that divide rewards by a temperature."""

UnitTemperature = Annotated[
    float,
    Number(
        "Temperature in units of the scores, which have no unit of reward. So it is not `tau`, and knows no `auto`.",
        above=0,
    ),
]
"""The type of `temperature` in the schemes that divide z-scores or normal scores by it."""
