"""Conditions: parts of an experiment that are judged apart, each with a baseline of its own."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from softmax_rewards.common import plugins
from softmax_rewards.common.option_errors import ConfigError, wrong
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


def _read(specs: Any) -> Any:
    """The conditions by name, from a mapping of mappings. Raises ConfigError, one line without the file."""
    if not isinstance(specs, Mapping):
        raise wrong("conditions", specs, "a mapping from names to baseline, primary, gate and predicted_gap")
    return {
        name: spec if isinstance(spec, Condition) else build(Condition, spec, f"conditions.{name}")
        for name, spec in specs.items()
    }


Conditions = Annotated[dict[str, Condition], BeforeValidator(_read)]


def check(
    conditions: Mapping[str, Condition], ablations: Collection[str], baseline: str, primary: Collection[str]
) -> None:
    """Raise ConfigError, one line without the file, for conditions that do not fit the experiment."""
    if not conditions:
        return
    if primary:
        raise ConfigError("primary: not allowed beside conditions; allowed: primary within each condition")
    first = next(iter(conditions.values())).baseline
    if first != baseline:
        raise ConfigError(f"baseline: {baseline!r}; allowed: the baseline of the first condition, {first!r}")
    seen: list[str] = []
    for name, condition in conditions.items():
        for key, members in (("baseline", [condition.baseline]), ("primary", condition.primary)):
            for member in members:
                where = f"conditions.{name}.{key}"
                if member not in ablations:
                    raise ConfigError(f"{where}: {plugins.unknown('ablation', member, ablations)}")
                if member in seen:
                    raise ConfigError(f"{where}: {member!r} is in the conditions already; allowed: each ablation once")
                seen.append(member)
