"""Conditions: parts of an experiment that are judged apart, each with a baseline of its own."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from softmax_rewards.common import plugins
from softmax_rewards.common.option_errors import ConfigError, Unfit, wrong
from softmax_rewards.common.options import Listed, build, option_class


@option_class("condition")
class Condition:
    """A baseline, and the ablations that are planned to be compared with it."""

    baseline: str = Field(description="The ablation that the others of the condition are compared with.")
    primary: Listed[str] = Field(
        default=(), description="Ablations whose comparisons with this baseline are planned, adjusted together (Holm)."
    )
    gate: Literal["auc", "reward"] = Field(
        default="auc",
        description="What must rise above the base model, so that anything is compared: mean success over training, or "
        "mean reward where the baseline is expected to lose success.",
    )
    predicted_gap: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="The difference in success that is expected. A fifth of it counts as equal. `null`: a fifth of "
        "what the baseline gains.",
    )


def _named(specs: Any) -> dict[str, Condition]:
    """The conditions from their section in a config file."""
    if not isinstance(specs, Mapping) or not all(isinstance(name, str) for name in specs):
        raise Unfit("", specs, "a mapping from names to baseline and primary")
    return {
        name: spec if isinstance(spec, Condition) else build(Condition, spec, f"conditions.{name}")
        for name, spec in specs.items()
    }


Conditions = Annotated[dict[str, Condition], BeforeValidator(_named)]


def check(
    conditions: Mapping[str, Condition], ablations: Collection[str], baseline: str, primary: Collection[str]
) -> None:
    """Raise ConfigError, one line without the file, for comparisons that do not fit the experiment's ablations."""
    _check_members({"baseline": [baseline], "primary": primary}, ablations)
    if not conditions:
        return
    if primary:
        raise ConfigError("primary: not allowed beside conditions; allowed: primary within each condition")
    first = next(iter(conditions.values())).baseline
    if first != baseline:
        raise wrong("baseline", baseline, f"the baseline of the first condition, {first!r}")
    members: dict[str, Collection[str]] = {}
    for name, condition in conditions.items():
        members |= {
            f"conditions.{name}.baseline": [condition.baseline],
            f"conditions.{name}.primary": condition.primary,
        }
    _check_members(members, ablations)


def _check_members(members: Mapping[str, Collection[str]], ablations: Collection[str]) -> None:
    """Raise ConfigError for a name that is no ablation, and for an ablation that is named twice. `members` by key."""
    seen: list[str] = []
    for key, names in members.items():
        for name in names:
            if name not in ablations:
                raise ConfigError(f"{key}: {plugins.unknown('ablation', name, ablations)}")
            if name in seen:
                raise wrong(key, list(names), f"each ablation once, and not the baseline ({name!r} is named twice)")
            seen.append(name)
