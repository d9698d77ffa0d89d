"""Strict reading: YAML files and mappings become typed values, and every error is one line.

Each message names the dotted key, the value and what is allowed; the caller puts the file in front.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from softmax_rewards.common import plugins
from softmax_rewards.config.renamed import RENAMED
from softmax_rewards.config.run import ConfigError, wrong

T = TypeVar("T")

LARGEST = 10**6  # bytes of a file


def read(path: Path) -> dict[str, Any]:
    """A YAML file's mapping. Keys must be text and stand once; `4e-4` is a number, as in YAML 1.2."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise ConfigError(f"{path}: {size} bytes; allowed: {LARGEST}, more than any experiment needs")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        value = _parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: the file is {type(value).__name__}; allowed: a mapping of keys")
    return value


def value(text: str, where: str) -> Any:
    """One value, as `read` would read it in a file; `where` is its key, for messages."""
    try:
        return _parse(text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def build(cls: type[T], values: Any, where: str, default: T | None = None) -> T:
    """Make the dataclass `cls` from a mapping read from YAML; keys that it leaves out come from `default`.

    `where` is the dotted key of the mapping, for messages. Every key must be a field, every field without a
    default must be given, and every value must have its field's type: an integer serves as a float, but a
    boolean is no integer and text is no number. A field that is itself a dataclass is built from a mapping too; its
    keys replace those of the field's default. Errors: `ConfigError`. A `__post_init__` raises ValueError, and its
    message may leave `where` out.
    """
    if not isinstance(values, Mapping):
        raise wrong(where, values, "a mapping of keys")
    known = [item for item in dataclasses.fields(cls) if item.init]
    refuse_unknown(values, [item.name for item in known], where)
    hints, arguments = typing.get_type_hints(cls), {}
    for item in known:
        otherwise = _default(item) if default is None else getattr(default, item.name)
        key = dotted(where, item.name)
        if item.name not in values:
            if otherwise is dataclasses.MISSING:
                raise ConfigError(f"{key}: missing; it has no default")
            arguments[item.name] = otherwise
        elif dataclasses.is_dataclass(hints[item.name]):
            nested = None if otherwise is dataclasses.MISSING else otherwise
            arguments[item.name] = build(hints[item.name], values[item.name], key, nested)
        else:
            arguments[item.name] = typed(values[item.name], hints[item.name], key)
    try:
        return cls(**arguments)
    except ValueError as error:
        message = str(error)
        if where and not message.startswith(f"{where}."):
            names_field = re.split("[.:]", message)[0] in arguments
            message = dotted(where, message) if names_field else f"{where}: {message}"
        raise ConfigError(message) from None


def _default(item: dataclasses.Field) -> Any:
    """The default of a field, MISSING if it has none."""
    return item.default if item.default_factory is dataclasses.MISSING else item.default_factory()


_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "text", dict: "a mapping"}


def typed(value: Any, hint: Any, where: str) -> Any:
    """`value` as the annotation `hint` wants it: scalar, Literal, X | None, tuple[X, ...], list[X], dict."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return typed(value, hint, where)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool) != any(value is item for item in (True, False)):
            raise wrong(where, value, ", ".join(map(str, arguments)))
        return value
    if origin in (tuple, list):
        if not isinstance(value, (list, tuple)):
            raise wrong(where, value, f"a list, each entry {_NAMES.get(arguments[0], arguments[0])}")
        return origin(typed(item, arguments[0], f"{where}[{index}]") for index, item in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    expected = origin or hint
    if not isinstance(value, expected) or (expected is not bool and isinstance(value, bool)):
        raise wrong(where, value, _NAMES.get(expected, str(expected)))
    if expected is float and not -float("inf") < value < float("inf"):
        raise wrong(where, value, "a finite number")
    return value


def refuse_unknown(values: Mapping[str, Any], known: Iterable[str], where: str, what: str = "key") -> None:
    """Raise ConfigError for the first name that is not `known`, with its new name or the nearest known one."""
    known = list(known)
    for name in values:
        if name not in known:
            if name in (new := RENAMED.get(where, {})):
                raise ConfigError(f"{dotted(where, name)}: this key is now {dotted(where, new[name])}")
            raise ConfigError(f"{dotted(where, str(name))}: {plugins.unknown(what, name, known)}")


def dotted(where: str, key: str) -> str:
    """The dotted name of `key` in the mapping `where` ("" at the top)."""
    return f"{where}.{key}" if where else key


class _Loader(yaml.SafeLoader):
    """The safe loader, with numbers such as 4e-4 read as numbers (YAML 1.1 wants 4.0e-4 and reads text)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _parse(text: str) -> Any:
    """The value of a YAML document, None for an empty one."""
    try:
        loader = _Loader(text)
        loader.deep_construct = True  # so that PyYAML refuses an alias inside its own anchor
        node = loader.get_single_node()
        if node is None:
            return None
        _check_keys(node, "", set())
        return loader.construct_document(node)
    except ConfigError:
        raise
    except RecursionError:
        raise ConfigError("nested too deeply; allowed: a few levels") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}") from None
    except Exception as error:  # a value that is not what its tag says, such as a date of month 13
        raise ConfigError(f"not YAML: {type(error).__name__}: {' '.join(str(error).split())}") from None


def _check_keys(node: yaml.Node, where: str, seen: set[yaml.Node]) -> None:
    """Raise ConfigError for a key below `node` that is not text, or that stands twice in its mapping."""
    if node in seen:  # behind an alias
        return
    seen.add(node)
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _check_keys(child, f"{where}[{index}]", seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, child in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                shown = key.value if isinstance(key, yaml.ScalarNode) else f"a {key.id}"
                raise ConfigError(f"{dotted(where, shown)}: the key is not text; allowed: text (quote it)")
            name, line = dotted(where, key.value), key.start_mark.line + 1
            if key.value in lines:
                raise ConfigError(f"{name}: given twice (lines {lines[key.value]} and {line}); allowed: each key once")
            lines[key.value] = line
            _check_keys(child, name, seen)
