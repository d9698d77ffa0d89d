"""Options: frozen dataclasses that hold the settings of a config file. Pydantic checks their fields.

    @option_class("task")
    class Options:
        numbers: int = Field(default=3, ge=2, le=6, description="Numbers in each puzzle.")

Types are strict. An integer is accepted as a float, but a boolean is not accepted as an integer, nor text as a number.
Numbers must be finite. A field can have an options class as its type. In a config file its value is then a mapping, and
keys that the mapping omits keep the values of the field's default. Wrong input raises `ConfigError`, with a message of
one line (`common/option_errors.py`).

To check several keys together, write a method with `@model_validator(mode="after")` that calls `need`.
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
# A config file has lists. Options store tuples, because a frozen object must not change.
Listed = Annotated[tuple[T, ...], BeforeValidator(lambda values: tuple(values) if isinstance(values, list) else values)]

_CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def option_class(section: str) -> Callable[[type[T]], type[T]]:
    """Class decorator: make an options class.

    `section` is the class's key in a config file, or "" for the whole file. Error messages put it before the field when
    an object is made by a direct call, without `build`.
    """

    def decorate(cls: type[T]) -> type[T]:
        for name, hint in cls.__annotations__.items():
            plain = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
            if hasattr(plain, "__pydantic_validator__"):  # the field's type is an options class
                # Strict pydantic accepts only an object here, and would not keep the values of the field's default.
                nested = BeforeValidator(functools.partial(_onto, plain, _default(cls, name)))
                cls.__annotations__[name] = Annotated[hint, nested]
        made: Any = pydantic.dataclasses.dataclass(cls, frozen=True, kw_only=True, config=_CONFIG)
        checked = made.__init__

        # A direct call must raise ConfigError too. `wraps` keeps `checked` as `__wrapped__`, for `_validated`.
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
    """Make an object of the options class `cls` from the mapping `values`.

    Args:
        cls: the options class.
        values: the mapping.
        where: the dotted key of the mapping, for messages.
        renamed: keys that have a new name: section → old key → new key.

    Raises ConfigError if a key or a value is not allowed.
    """
    if not isinstance(values, Mapping):
        raise wrong(where, values, "a mapping of keys")
    try:
        return _validated(cls, values)
    except ValidationError as error:
        raise ConfigError(one_line(error, cls, where, renamed)) from None


def need(values: Any, key: str, holds: bool, allowed: str) -> None:
    """Raise `Unfit` for the field `key` of the options object `values`, unless the rule `holds`.

    `allowed` says in words what the rule allows.
    """
    if not holds:
        raise Unfit(key, getattr(values, key), allowed)


def field_values(values: Any) -> dict[str, Any]:
    """The fields of an options object: name → value. Unlike in `dataclasses.asdict`, nested objects stay objects."""
    return {item.name: getattr(values, item.name) for item in dataclasses.fields(values)}


def _validated(cls: type[T], values: Mapping[str, Any]) -> T:
    """Like `cls(**values)`, but raises pydantic's ValidationError."""
    # A ConfigError is only text. Pydantic puts the outer keys before the keys of an inner ValidationError, so the
    # message can name the whole key: `training.learning_rate`.
    made = object.__new__(cls)
    initialize: Any = cls.__init__
    initialize.__wrapped__(made, **values)  # pydantic's `__init__`, without the wrapper of `option_class`
    return made


def _default(cls: type, name: str) -> Any:
    """The default of the field `name`. Without a default: None, or pydantic's `PydanticUndefined`."""
    # `cls` is not a dataclass yet, so the default is still in the class body, as a value or in a `Field`.
    default = cls.__dict__.get(name)
    return getattr(default, "default", default)


def _onto(cls: type[T], default: Any, value: Any) -> Any:
    """Make a `cls` from the mapping `value`. Keys that it omits come from the object `default`, if there is one.

    A value that is not a mapping is returned unchanged. Pydantic checks its type next.
    """
    if not isinstance(value, Mapping):
        return value
    return _validated(cls, (field_values(default) if isinstance(default, cls) else {}) | dict(value))
