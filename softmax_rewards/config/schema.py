"""The JSON schema of an experiment file, for editors.

It says less than the check of a config does: rules across keys are not in it, and a file that extends another one may
leave out every key, or set it to null.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from softmax_rewards import weighting
from softmax_rewards.common import plugins
from softmax_rewards.config import experiments
from softmax_rewards.config.inheritance import INHERIT
from softmax_rewards.weighting.tau_forms import Tau

EXTENDS = {
    "type": "string",
    "description": "Name of the experiment that this file changes key by key: a file beside this one, or else an "
    "experiment of `config/experiments/`, even one with this file's name. A key set to `null` is removed; a list is "
    "replaced. That experiment may extend another one.",
    "default": None,
}


def described(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a class as a file has them: an experiment's name is not among its keys, but `extends` is."""
    keys = {name: key for name, key in properties.items() if name != "name"}
    return keys | {INHERIT: EXTENDS} if "ablations" in keys else keys


def experiment_file() -> dict[str, Any]:
    """The schema of a whole experiment file."""
    whole = TypeAdapter(experiments.Experiment).json_schema()
    definitions = whole["$defs"]
    properties = described(whole["properties"])
    properties["task"] |= {"anyOf": _plugins("name", plugins.TASKS, definitions)}
    properties["model"] |= {"anyOf": _plugins("source", plugins.SOURCES, definitions)}
    properties["ablations"]["propertyNames"] = {"pattern": f"^{experiments.NAME.pattern}$"}
    definitions["Ablation"]["properties"]["weighting"] |= {"anyOf": _weightings(definitions)}
    required = [key for key in whole["required"] if key != "name"]
    complete = {
        "required": required,
        "properties": {"task": {"required": ["name"]}, "model": {"required": ["source"]}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Experiment",
        "description": experiments.Experiment.__doc__,
        **_lenient({"type": "object", "properties": properties, "additionalProperties": False}),
        "if": {"not": {"required": [INHERIT]}},
        "then": complete,
        "$defs": {name: _lenient(definition) for name, definition in sorted(definitions.items())},
    }


def _plugins(key: str, package: str, definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """One schema per plug-in; `key` names the plug-in. What they refer to joins `definitions`."""
    kinds = []
    for name in plugins.names(package):
        keys = TypeAdapter(plugins.load(package, name).Options).json_schema()
        definitions |= keys.get("$defs", {})
        kinds.append(_closed({key: {"const": name}, **keys["properties"]}))
    return kinds


def _weightings(definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """One schema per scheme with its hyperparameters."""
    tau = TypeAdapter(Tau).json_schema()
    definitions |= tau.pop("$defs")
    kinds = []
    for scheme in weighting.names():
        names = [scheme, *(alias for alias, name in weighting.ALIASES.items() if name == scheme)]
        keys: dict[str, Any] = {"scheme": {"enum": names}}
        numbers = weighting.numbers(scheme)
        for name, default in weighting.hyperparameters(scheme).items():
            number = numbers[name].schema() if name in numbers else {"type": "number"}
            keys[name] = tau if name == "tau" else number
            if default is not inspect.Parameter.empty:
                keys[name] = keys[name] | {"default": default}
        kinds.append(_closed(keys))
    return kinds


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _lenient(node: Mapping[str, Any]) -> dict[str, Any]:
    """A schema in which no key is required and every key may be null, without pydantic's titles."""
    result = {key: value for key, value in node.items() if key not in ("title", "required", "inherited")}
    if "anyOf" in result:
        result["anyOf"] = [_lenient(kind) for kind in result["anyOf"]]
        result.pop("type", None)  # of a mapping of any keys, which is stricter below
        result.pop("additionalProperties", None)
    if "properties" in result:
        result["properties"] = {name: _nullable(key) for name, key in result["properties"].items()}
    elif isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = _nullable(result["additionalProperties"])
    return result


def _nullable(key: Mapping[str, Any]) -> dict[str, Any]:
    about = {name: key[name] for name in ("description", "default") if name in key}
    if "$ref" in key:  # the keys of a section have their own defaults
        about.pop("default", None)
    kind = {name: value for name, value in _lenient(key).items() if name not in ("description", "default")}
    kinds = kind["anyOf"] if kind.keys() == {"anyOf"} else [kind]
    if {"type": "null"} not in kinds:
        kinds = [*kinds, {"type": "null"}]
    return about | {"anyOf": kinds}
