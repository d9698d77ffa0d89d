"""Options: frozen dataclasses whose fields pydantic checks, made from the mappings of a config file.

    @option_class("task")
    class Options:
        numbers: int = Field(default=3, ge=2, le=6, description="Numbers in each puzzle.")

Types are strict: an integer serves as a float, but a boolean is no integer and text is no number. Every number is
finite. A field that is itself such a class is made from a mapping; the mapping's keys replace those of the field's
default. Whatever is wrong is refused by `ConfigError`, in one line (`common/option_errors.py`).

A rule across several keys is a method with `@model_validator(mode="after")`, which calls `need`.
"""

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, dataclass_transform

import pydantic.dataclasses
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from softmax_rewards.common.option_errors import ConfigError, Unfit, one_line, wrong

T = TypeVar("T")

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
# YAML has lists; what is frozen holds tuples.
Listed = Annotated[tuple[T, ...], BeforeValidator(lambda values: tuple(values) if isinstance(values, list) else values)]

_CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def option_class(section: str) -> Callable[[type[T]], type[T]]:
    """Class decorator. `section` is the key of a config that such objects stand for; "" is the file itself."""

    def decorate(cls: type[T]) -> type[T]:
        for name, hint in cls.__annotations__.items():
            plain = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
            if hasattr(plain, "__pydantic_validator__"):
                nested = BeforeValidator(functools.partial(_onto, plain, _default(cls, name)))
                cls.__annotations__[name] = Annotated[hint, nested]
        made: Any = pydantic.dataclasses.dataclass(cls, frozen=True, kw_only=True, config=_CONFIG)
        checked = made.__init__

        @functools.wraps(checked)
        def __init__(self: T, /, **values: Any) -> None:
            try:
                checked(self, **values)
            except ValidationError as error:
                raise ConfigError(one_line(error, made, section)) from None

        made.__init__ = __init__
        return made

    return decorate


def build(cls: type[T], values: Any, where: str, renamed: Mapping[str, Mapping[str, str]] | None = None) -> T:
    """Make an object of the options class `cls` from a mapping; `where` is the mapping's dotted key, for messages.

    `renamed` has the old keys: section → old key → new key. Errors: `ConfigError`.
    """
    if not isinstance(values, Mapping):
        raise wrong(where, values, "a mapping of keys")
    try:
        return _validated(cls, values)
    except ValidationError as error:
        raise ConfigError(one_line(error, cls, where, renamed)) from None


def need(values: Any, key: str, holds: bool, allowed: str) -> None:
    """A rule of an options class: raise `Unfit` for the field `key` of the object `values` unless the rule `holds`."""
    if not holds:
        raise Unfit(key, getattr(values, key), allowed)


def field_values(values: Any) -> dict[str, Any]:
    """Field → value of an options object; unlike `dataclasses.asdict`, nested objects stay objects."""
    return {item.name: getattr(values, item.name) for item in dataclasses.fields(values)}


def _validated(cls: type[T], values: Mapping[str, Any]) -> T:
    """`cls(**values)` with pydantic's own error."""
    made = object.__new__(cls)
    initialize: Any = cls.__init__
    initialize.__wrapped__(made, **values)  # the `__init__` that `option_class` found
    return made


def _default(cls: type, name: str) -> Any:
    """The default of a field of a class that is no dataclass yet; None if it has none."""
    default = cls.__dict__.get(name)
    return getattr(default, "default", default)


def _onto(cls: type[T], default: Any, value: Any) -> Any:
    """The object that the mapping `value` stands for; anything else is left to the check of its type."""
    if not isinstance(value, Mapping):
        return value
    return _validated(cls, (field_values(default) if isinstance(default, cls) else {}) | dict(value))
