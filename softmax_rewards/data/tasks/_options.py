"""Checks of the options of a task, each refused in one line: the key, the value, what is allowed."""

from dataclasses import fields
from typing import Any


def check_types(options: Any) -> None:
    """Raise ValueError for the first field of a dataclass that is not of its type; a float may be an int."""
    for field in fields(options):
        value = getattr(options, field.name)
        if type(value) is not field.type and not (field.type is float and type(value) is int):
            raise ValueError(f"task.{field.name}: {value!r}; allowed: {field.type.__name__}")


def need(options: Any, key: str, holds: bool, allowed: str) -> None:
    """Raise ValueError for `task.<key>` unless `holds`."""
    if not holds:
        raise ValueError(f"task.{key}: {getattr(options, key)!r}; allowed: {allowed}")
