"""Errors of options: what pydantic found wrong, as one line that names the key, the value and what is allowed."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from softmax_rewards.common import plugins
from softmax_rewards.common.terminal import plain

if TYPE_CHECKING:
    from pydantic import ValidationError

SHOWN = 200  # characters of a value that a message shows


class ConfigError(ValueError):
    """Wrong input: one line that a terminal can show safely."""

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


class Unfit(ValueError):
    """A value that breaks a rule. A validator raises it; `key` is relative to what is validated, "" for its value."""

    def __init__(self, key: str, value: Any, allowed: str) -> None:
        super().__init__(f"{key}: {allowed}")
        self.key, self.value, self.allowed = key, value, allowed


def wrong(key: str, value: Any, allowed: str, hint: str = "") -> ConfigError:
    """The usual message: the dotted key, the value as JSON, and what is allowed."""
    return ConfigError(f"{key}: {json.dumps(value, default=repr)[:SHOWN]} is not allowed{hint}; allowed: {allowed}")


def dotted(where: str, *keys: str | int) -> str:
    """The dotted name of a key below the mapping `where` ("" at the top): `dotted("seeds", 0)` is `seeds[0]`."""
    for key in keys:
        where = f"{where}[{key}]" if isinstance(key, int) else f"{where}.{key}" if where and key else where or key
    return where


def one_line(
    error: "ValidationError", cls: type, where: str, renamed: Mapping[str, Mapping[str, str]] | None = None
) -> str:
    """What is wrong with a mapping that should become a `cls`; of several mistakes one is named.

    `where` is the dotted key of the mapping. `renamed` has old keys: section → old key → new key.
    """
    found = error.errors(include_url=False)
    # First the unknown keys: a key that seems to be missing may be misspelled.
    first = next((one for one in found if one["type"] == "unexpected_keyword_argument"), found[0])
    location = first["loc"]
    key = dotted(where, *location)
    if first["type"] == "unexpected_keyword_argument":
        return f"{key}: {_unknown(cls, where, location, renamed or {})}"
    if first["type"].startswith("missing"):
        return f"{key}: missing; it has no default"
    if first["type"] == "value_error":
        return _rule(first["ctx"]["error"], where, location)
    schema = schema_at(cls, location)
    wanted = allowed(schema)
    if first["type"] == "finite_number":
        wanted = wanted.replace("a number", "a finite number")
    return str(wrong(key, first["input"], wanted, plugins.nearest(first["input"], schema.get("enum", []))))


def _rule(cause: ValueError, where: str, location: Sequence[str | int]) -> str:
    """The message of a validator's error, with the whole key in front."""
    key = dotted(where, *location)
    if isinstance(cause, Unfit):
        return str(wrong(dotted(key, cause.key), cause.value, cause.allowed))
    # A validator may have named its field itself, and what lies below it.
    if location and not re.match(rf"{re.escape(str(location[-1]))}[.:]", str(cause)):
        return f"{key}: {cause}"
    return dotted(where, *location[:-1], str(cause))


def _unknown(cls: type, where: str, location: Sequence[str | int], renamed: Mapping[str, Mapping[str, str]]) -> str:
    *parents, name = location
    section = dotted(where, *parents)
    for old_section, keys in renamed.items():
        if f".{section}".endswith(f".{old_section}") and name in keys:
            return f"this key is now {dotted(section, keys[str(name)])}"
    return plugins.unknown("key", name, schema_at(cls, parents)["properties"])


def schema_at(cls: type, location: Sequence[str | int]) -> dict[str, Any]:
    """The JSON schema of what lies at `location` in an object of the options class `cls`."""
    from pydantic import TypeAdapter

    whole = TypeAdapter(cls).json_schema()
    here = whole
    for key in location:
        here = here["items"] if isinstance(key, int) else here["properties"][key]
        if "$ref" in here:
            here = whole["$defs"][here["$ref"].rpartition("/")[2]]
    return here


_NAMES = {
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "object": "a mapping of keys",
    "array": "a list",
}
_BOUNDS = {
    "exclusiveMinimum": "above",
    "minimum": "at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
}


def allowed(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words: `an integer from 2 to 6`, `a number above 0, or null for none`, `device, host`."""
    if "anyOf" in schema:
        kinds = [allowed(kind) for kind in schema["anyOf"] if kind.get("type") != "null"]
        return " or ".join(kinds) + ", or null for none" * (len(kinds) < len(schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    kind = _NAMES.get(schema.get("type", "object"), "a value")
    if "items" in schema:
        return f"{kind}, each entry {allowed(schema['items'])}"
    if "minimum" in schema and "maximum" in schema:
        return f"{kind} from {schema['minimum']:g} to {schema['maximum']:g}"
    bounds = " and ".join(f"{word} {schema[bound]:g}" for bound, word in _BOUNDS.items() if bound in schema)
    return f"{kind} {'of ' * bounds.startswith('at')}{bounds}".strip()
